"""Computes moving statistics anew from data (precise batch normalization)."""

import keras
import numpy as np

from keras_bn4.common.models import name_of
from keras_bn4.common.tables import some
from keras_bn4.layers.mixing import mix
from keras_bn4.layers.moments import (
    Moments,
    batch_moments,
    element_mask,
    example_moments,
    with_count,
)
from keras_bn4.moving_statistics.recorder import (
    Recorder,
    input_batches,
    preserved,
    training_layers,
)


def recalibrate(
    model: keras.Model,
    data,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    verbose: str | int = "auto",
) -> None:
    """Replaces the moving statistics of batch normalization by those of the data.

    This is precise batch normalization (Wu and Johnson, 2021). Moving averages are
    taken over many steps of training, while the weights of the network change. This
    function computes mean and variance over all examples of the data, each counted
    once, for the weights as they are now. Use it after weights were averaged or
    quantized, after training on other data or with a high momentum, or before inference
    on another kind of images.

    Batch normalization runs as in training, with its ghosts and channel groups; dropout
    and everything else run as at inference. Moments are pooled exactly over batches of
    any sizes. Only the moving statistics change, and no weight, optimizer, metric or
    example weight does. Layers with `trainable=False` keep their statistics and run as
    at inference.

    The first normalizer of a network gets the same statistics however the data are
    split into batches. The inputs of later normalizers were normalized by the
    statistics of a batch, so theirs depend a little on the split. With ghosts they do
    not depend on it if `ghost_batch_size` divides the size of every batch, because the
    ghosts are then the same. Without ghosts, use the batch size of the training.

    Pass data as in training, augmentation included. A ResNet-8 for CIFAR-100 that was
    trained on images shifted within a black margin keeps its accuracy of 64.1 % with
    statistics of such images, and has 58.6 % with statistics of the original images.
    (The paper, App. C, reports a loss of about half a point.)

    The variance is that of all examples, around the mean of all examples. The moving
    variance of Keras' layer averages the variances of batches, which are smaller by the
    variance of the batch means. That is very little for large batches drawn at random,
    and much for batches that are not.

    Reference:

    - [Wu and Johnson, 2021](https://arxiv.org/abs/2105.07576), "Rethinking 'Batch' in
      BatchNorm".
    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), App. C.

    Args:
        model: A built `keras.Model`. It need not be compiled.
        data: Inputs of the model: arrays with the examples along their first axis (a
            list of arrays for a model with several inputs), a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, or another iterable of batches. Labels in batches
            are ignored.
        batch_size: Positive integer, or `None` for 32. Only used if `data` is arrays.
        steps: Positive integer, how many batches to use, or `None` for all.
        verbose: 0 or `"auto"`/1, whether to show a progress bar.

    Raises:
        ValueError: if there is too little data (no examples, fewer batches than
            `steps`, or layers that received fewer than two numbers per channel), if the
            statistics are not finite, or if no layer trains. The model is then
            unchanged.

    Example:

    >>> import keras
    >>> inputs = keras.Input((1,))
    >>> model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    >>> recalibrate(model, np.array([[1.0], [2.0], [6.0]]), batch_size=2, verbose=0)
    >>> [round(float(v[0]), 4) for v in model.layers[-1].non_trainable_variables]
    [3.0, 4.6667]
    """
    layers = training_layers(model)
    population = [None] * len(layers)
    with preserved(layers):
        recorder = Recorder(model, layers, _moments, training=True)
        for x in input_batches(data, batch_size, steps, verbose):
            for i, places in enumerate(recorder.record(x)):
                for moments in places:
                    population[i] = pooled(population[i], Moments(*moments))
    _check(model, layers, population)
    for layer, moments in zip(layers, population):
        if moments is not None:
            _assign(layer, moments)


def pooled(population, batch):
    """Pools the moments of earlier batches with those of one more, in float64.

    By the law of total variance, this is their mixture (`mix`) in proportion to counts.

    Args:
        population: `Moments` of NumPy arrays, or `None` before the first batch.
        batch: `Moments` of NumPy arrays.
    """
    batch = Moments(*(np.asarray(t, "float64") for t in batch))
    if population is None:
        return batch
    count = population.count + batch.count
    share = batch.count / np.maximum(count, 1)
    mixture = mix(batch._replace(count=None), population, share)
    return mixture._replace(count=count)


def _moments(layer, inputs, mask):
    axis = layer.axis % len(inputs.shape)
    if mask is not None:
        mask = element_mask(mask, inputs, axis)
    examples = with_count(example_moments(inputs, axis, mask), inputs)
    return tuple(batch_moments(examples))


def _check(model, layers, population):
    if all(moments is None for moments in population):
        raise ValueError(
            "The data set is empty, or the model called none of its batch "
            "normalization layers. The model is unchanged. Pass at least two examples."
        )
    seen = [(x, m) for x, m in zip(layers, population) if m is not None]
    for problem, wrong in (
        ("received fewer than two numbers per channel", lambda m: m.count.min() < 2),
        (
            "received NaN or infinity",
            lambda m: not np.isfinite([m.mean, m.variance]).all(),
        ),
    ):
        names = [f"'{name_of(layer)}'" for layer, moments in seen if wrong(moments)]
        if names:
            raise ValueError(
                f"{len(names)} of {len(layers)} batch normalization layers of model "
                f"'{model.name}' {problem}: {some(names)}. The model is unchanged. "
                "Pass data with at least two numbers per channel, all of them finite."
            )


def _assign(layer, moments):
    layer.moving_mean.assign(moments.mean)
    layer.moving_variance.assign(moments.variance)
    if layer.renorm:
        deviation = np.sqrt(moments.variance + layer.epsilon)
        layer.moving_stddev.assign(deviation)
        layer.renorm_mean.assign(moments.mean)
        layer.renorm_stddev.assign(deviation)

"""Moving statistics anew, from data."""

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


def recalibrate(model, data, *, batch_size=None, steps=None, verbose="auto"):
    """Replaces the moving statistics of batch normalization by those of the data.

    A moving average is of what the network saw over many steps of training, when its
    weights were others. This computes the mean and variance over all examples given,
    each counted once, for the weights as they are: after the weights were averaged
    or quantized, after training on other data or with a high momentum, or before
    inference on another kind of images.

    Batch normalization runs as in training, with its ghosts and groups; dropout and
    everything else as at inference. Moments are pooled exactly over batches of any
    sizes. Nothing but the moving statistics changes: no weight, optimizer, metric or
    example weight. Layers with `trainable=False` keep their statistics and run as at
    inference.

    The first normalizer of a network gets the same statistics however the data are
    cut into batches. Deeper ones receive what those before them normalized by the
    statistics of a batch, so theirs depend on the cut, a little. With ghosts they
    don't, if `ghost_batch_size` divides the size of every batch: then the ghosts are
    the same. Without, use the batch size of the training.

    Give the data as in training, augmentation included: a ResNet-8 for CIFAR-100 that
    was trained on images shifted within a black margin keeps its accuracy of 64.1 %
    with statistics of such images, and has 58.6 % with those of the plain ones. (The
    paper, App. C, saw a loss of half a point.)

    The variance is that of all examples, around the mean of all. What training moves in
    Keras' layer is the mean of the variances of batches, which is smaller by the
    variance of batch means: next to nothing for large batches drawn at random, much
    for batches that are not.

    Args:
        model: A built `keras.Model`. It need not be compiled.
        data: Inputs of the model: arrays with the examples along their first axis (a
            list of arrays is the inputs of a model that has several), a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, or another iterable of
            batches. Labels in batches are ignored.
        batch_size: Positive integer, 32 by default, where `data` is arrays.
        steps: Positive integer, how many batches to use, or `None` for all.
        verbose: 0 or `"auto"`/1, whether to show a progress bar.

    Raises:
        ValueError: if there is too little data (no examples, fewer batches than
            `steps`, or layers that received fewer than two numbers a channel), if the
            statistics are not finite, or if no layer trains. The model is then as it
            was.

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
    """Moments of what was seen before and of one batch more, in float64.

    The mixture of two by their counts (`mix`) is the law of total variance.

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
            "The data set is empty, or the model ran none of its layers. Give at least "
            "two examples."
        )
    seen = [(x, m) for x, m in zip(layers, population) if m is not None]
    for problem, wrong in (
        ("received fewer than two numbers a channel", lambda m: m.count.min() < 2),
        (
            "received NaN or infinity",
            lambda m: not np.isfinite([m.mean, m.variance]).all(),
        ),
    ):
        names = [f"'{name_of(layer)}'" for layer, moments in seen if wrong(moments)]
        if names:
            raise ValueError(
                f"{len(names)} of {len(layers)} batch normalization layers of model "
                f"'{model.name}' {problem}: {some(names)}. Nothing was "
                "changed. Give more data, and finite ones."
            )


def _assign(layer, moments):
    layer.moving_mean.assign(moments.mean)
    layer.moving_variance.assign(moments.variance)
    if layer.renorm:
        deviation = np.sqrt(moments.variance + layer.epsilon)
        layer.moving_stddev.assign(deviation)
        layer.renorm_mean.assign(moments.mean)
        layer.renorm_stddev.assign(deviation)

"""Computes moving statistics anew from data (precise batch normalization)."""

import keras
import numpy as np
from keras import ops

from keras_bn4.common.arguments import check_number
from keras_bn4.common.models import name_of
from keras_bn4.common.tables import listed
from keras_bn4.layers.mixing import mix
from keras_bn4.layers.moments import (
    Moments,
    element_mask,
    example_moments,
    with_count,
)
from keras_bn4.layers.pooling import batch_moments
from keras_bn4.moving_statistics.recorder import (
    Recorder,
    check_statistics,
    input_batches,
    kept_recorder,
    one_at_a_time,
    statistics_of,
    training_layers,
)


def recalibrate(
    model: keras.Model,
    data,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    prior: float | None = None,
    verbose: str | int = "auto",
) -> None:
    """Replaces the moving statistics of a model by those of data, or mixes the two.

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

    Pass data as in training, augmentation included: without it a ResNet-8 for CIFAR-100
    lost 5.5 points (the paper's networks, App. C, about half a point).

    With a `prior` of N examples, the statistics of the n examples given are mixed with
    those that the model had before, as n to N, the spread between the two means
    included as in Eq. 3. This adapts a trained model to shifted data of which few
    examples can be had and no labels, such as the first images of a new camera: one
    example moves the statistics a little, and of more than N the data decide (Schneider
    et al., 2020, without the spread). Layers run on each batch as at inference, with
    its own examples mixed in so, and with the example weight that they have. The
    example weight, which adapts to every single example, goes on acting on the mixed
    statistics.

    The variance is that of all examples, around the mean of all examples. The moving
    variance of Keras' layer averages the variances of batches, which are smaller by the
    variance of the batch means. That is very little for large batches drawn at random,
    and much for batches that are not.

    Reference:

    - [Wu and Johnson, 2021](https://arxiv.org/abs/2105.07576), "Rethinking 'Batch' in
      BatchNorm".
    - [Schneider et al., 2020](https://arxiv.org/abs/2006.16971), "Improving robustness
      against common corruptions by covariate shift adaptation".
    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), App. C.

    Args:
        model: A built `keras.Model`. It need not be compiled.
        data: Inputs of the model: arrays with the examples along their first axis (a
            list of arrays for a model with several inputs), a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, or another iterable of batches. Labels in batches
            are ignored.
        batch_size: Positive integer. Only used if `data` is arrays. `None` for 32, and
            with a `prior` for all examples in one batch, so that the inputs of every
            layer were normalized by just the statistics that the layers before it get.
        steps: Positive integer, how many batches to use, or `None` for all.
        prior: Positive number, how many examples the statistics that the model has
            count for, or `None` to replace them.
        verbose: 0 or `"auto"`/1, whether to show a progress bar.

    Raises:
        ValueError: if there is too little data (no examples, fewer batches than
            `steps`, or layers that received fewer than two numbers per channel, with a
            `prior` fewer than one), if an argument is not as above, if the
            statistics are not finite, or if no layer trains. The model is then
            unchanged.

    Example:

    >>> import keras
    >>> inputs = keras.Input((1,))
    >>> model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    >>> recalibrate(model, np.array([[1.0], [2.0], [6.0]]), batch_size=2, verbose=0)
    >>> [round(float(v[0]), 4) for v in model.layers[-1].non_trainable_variables]
    [3.0, 4.6667]
    >>> recalibrate(model, np.array([[9.0]]), prior=2, verbose=0)
    >>> [round(float(v[0]), 4) for v in model.layers[-1].non_trainable_variables]
    [5.0, 11.1111]
    """
    layers = training_layers(model)
    if prior is not None and not check_number("prior", prior, least=0):
        raise ValueError(
            "Argument `prior` must be positive, or None to replace the statistics. "
            f"Received: prior={prior!r}."
        )
    if prior is not None and batch_size is None:
        batch_size = _size_of_arrays(data)
    with one_at_a_time:
        check_statistics(model, but=layers if prior is None else ())
        if prior is None:
            recorder = kept_recorder(model, layers, _replacing)
        else:
            recorder = kept_recorder(model, layers, _mixing)
            recorder.prior.assign(prior)
        before = [Moments(*statistics_of(layer)) for layer in layers]
        population, examples = [None] * len(layers), 0
        for x in input_batches(data, batch_size, steps, verbose):
            examples += len(keras.tree.flatten(x)[0])
            for i, places in enumerate(recorder.record(x)):
                for moments in places:
                    population[i] = pooled(population[i], Moments(*moments))
        _check(model, layers, population, least=2 if prior is None else 1)
        for layer, old, moments in zip(layers, before, population):
            if moments is not None:
                if prior is not None:
                    share = examples / (prior + examples)
                    moments = mix(moments._replace(count=None), old, share)
                _assign(layer, moments)


def _size_of_arrays(data):
    """The number of examples where the data are arrays, else `None`."""
    leaves = keras.tree.flatten(data)
    is_arrays = leaves and all(getattr(leaf, "shape", ()) for leaf in leaves)
    return max(1, leaves[0].shape[0]) if is_arrays else None


def _replacing(model, layers):
    """A recorder of the moments that replace the moving statistics."""
    return Recorder(model, layers, _moments, training=True)


def _mixing(model, layers):
    """A recorder that mixes the moments of a batch into the statistics of layers.

    How many examples these count for is set in its variable `prior`.
    """
    # A variable, because constants would be traced anew for every value.
    prior = keras.Variable(0.0, trainable=False, dtype="float32", name="prior")

    def summarize(layer, inputs, mask):
        batch = _moments(layer, inputs, mask)
        n = ops.cast(ops.shape(inputs)[0], "float32")
        # Where everything is masked, nothing counts.
        share = ops.where(batch[2] > 0, n / (prior + n), 0.0)
        old = (layer.moving_mean, layer.moving_variance)
        old = Moments(*(ops.cast(variable, "float32") for variable in old))
        mixture = mix(Moments(*batch)._replace(count=None), old, share)
        layer.moving_mean.assign(mixture.mean)
        layer.moving_variance.assign(mixture.variance)
        return batch

    recorder = Recorder(model, layers, summarize, training=False)
    recorder.prior = prior
    return recorder


def pooled(population, batch):
    """Pools the `Moments` of earlier batches, or `None`, with those of one more.

    In float64. By the law of total variance, this is their mixture (`mix`) in
    proportion to counts.
    """
    batch = Moments(*(np.asarray(t, "float64") for t in batch))
    if population is None:
        return batch
    count = population.count + batch.count
    share = batch.count / np.maximum(count, 1)
    mixture = mix(batch._replace(count=None), population, share)
    return mixture._replace(count=count)


def _moments(layer, inputs, mask):
    examples, _ = moments_of_examples(layer, inputs, mask)
    return tuple(batch_moments(examples))


def moments_of_examples(layer, inputs, mask):
    """The `Moments` of every example and channel, and the mask by elements."""
    axis = layer.axis % len(inputs.shape)
    if mask is not None:
        mask = element_mask(mask, inputs, axis)
    return with_count(example_moments(inputs, axis, mask), inputs), mask


def _check(model, layers, population, least):
    if all(moments is None for moments in population):
        raise ValueError(
            "The data set is empty, or the model called none of its batch "
            "normalization layers. The model is unchanged. Pass at least two examples."
        )
    seen = [(x, m) for x, m in zip(layers, population) if m is not None]
    few = "two numbers" if least == 2 else "one number"
    for problem, wrong in (
        (f"received fewer than {few} per channel", lambda m: m.count.min() < least),
        (
            "received NaN or infinity",
            lambda m: not np.isfinite([m.mean, m.variance]).all(),
        ),
    ):
        names = [f"'{name_of(layer)}'" for layer, moments in seen if wrong(moments)]
        if names:
            raise ValueError(
                f"{len(names)} of {len(layers)} batch normalization layers of model "
                f"'{model.name}' {problem}: {listed(names)}. The model is unchanged. "
                f"Pass data with at least {few} per channel, all of them finite, and "
                f"see that the weights before {names[0]} are."
            )


def _assign(layer, moments):
    layer.moving_mean.assign(moments.mean)
    layer.moving_variance.assign(moments.variance)
    if layer.renorm:
        deviation = np.sqrt(moments.variance + layer.epsilon)
        layer.moving_stddev.assign(deviation)
        layer.renorm_mean.assign(moments.mean)
        layer.renorm_stddev.assign(deviation)

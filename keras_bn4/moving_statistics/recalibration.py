"""Recalibration of moving statistics (precise batch normalization)."""

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
    """Recomputes the moving statistics of a model from data, or adapts them to data.

    This is precise batch normalization (Wu and Johnson, 2021). Moving averages are
    taken over many steps of training, while the weights of the network change. This
    function computes mean and variance over all examples of the data, each counted
    once, for the current weights. Use it after weights were averaged or quantized,
    after training on other data or with a high momentum, or before inference on another
    kind of images.

    Batch normalization runs as in training, with its ghosts and channel groups; dropout
    and everything else run as at inference. Moments are pooled exactly over batches of
    any sizes. Only the moving statistics change. Layers with `trainable=False` keep
    theirs and run as at inference.

    The first normalizer of a network gets the same statistics however the data are
    split into batches. The inputs of later normalizers were normalized by the
    statistics of a batch, so theirs depend slightly on the split. With ghosts they do
    not if `ghost_batch_size` divides the size of every batch. Without ghosts, use the
    batch size of training.

    Pass data as in training, augmentation included: without it a ResNet-8 for CIFAR-100
    lost 5.5 points (the paper's networks, App. C, about half a point).

    With a `prior` of N examples, the statistics of the n given examples are mixed with
    those that the model had before, as n to N, including the spread between the two
    means as in Eq. 3. This adapts a trained model to shifted data when only a few
    examples are available and no labels, such as the first images of a new camera
    (Schneider et al., 2020, without the spread). A prior of 256 served two ImageNet
    networks with 16 to 256 images: corrupted ones gained 6.0 to 9.6 points of accuracy,
    and 16 clean ones cost nothing measurable. Layers run on each batch as at
    inference, with its own examples mixed in, and with their example weight, which goes
    on acting on the mixed statistics.

    The variance is that of all examples, around the mean of all examples. The moving
    variance of Keras' layer averages the variances of batches, which are smaller by the
    variance of the batch means. That matters where batches are not drawn at random.

    Reference:

    - [Wu and Johnson, 2021](https://arxiv.org/abs/2105.07576), "Rethinking 'Batch' in
      BatchNorm".
    - [Schneider et al., 2020](https://arxiv.org/abs/2006.16971), "Improving robustness
      against common corruptions by covariate shift adaptation".
    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), App. C.

    Args:
        model: A built `keras.Model`. It does not have to be compiled.
        data: Inputs of the model: arrays with the examples along their first axis (a
            list of arrays for a model with several inputs), a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, or another iterable of batches. Labels in batches
            are ignored.
        batch_size: Positive integer. Only used if `data` is arrays. `None` for 32, and
            with a `prior` for all examples in one batch, so that the inputs of each
            layer are normalized by exactly the statistics that the layers before it
            get.
        steps: Positive integer, how many batches to use, or `None` for all.
        prior: Positive number, how many examples the statistics of the model count for,
            or `None` to replace them.
        verbose: 0 or `"auto"`/1, whether to show a progress bar.

    Raises:
        ValueError: if there are too few data (no examples, fewer batches than `steps`,
            or fewer than two numbers per channel in a layer, with a `prior` fewer than
            one), if an argument is not as above, if the statistics are not finite, or
            if no layer trains. The model is then unchanged.

    Examples:
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
    check_prior(prior)
    if prior is not None and batch_size is None:
        batch_size = _size_of_arrays(data)
    with one_at_a_time:
        if prior is None:
            check_statistics(model, unused=layers)
            recorder = kept_recorder(model, layers, _moments, training=True)
        else:
            check_statistics(model)
            recorder = kept_recorder(model, layers, _mixing_moments, training=False)
            recorder.prior.assign(prior)
        before = [Moments(*statistics_of(layer)) for layer in layers]
        population, examples = [None] * len(layers), 0
        for x in input_batches(data, batch_size, steps, verbose):
            examples += len(keras.tree.flatten(x)[0])
            for i, places in enumerate(recorder.record(x)):
                for moments in places:
                    population[i] = pooled(population[i], Moments(*moments))
        check_received(model, layers, population, least=2 if prior is None else 1)
        for layer, old, moments in zip(layers, before, population):
            if moments is not None:
                if prior is not None:
                    share = examples / (prior + examples)
                    moments = mix(moments._replace(count=None), old, share)
                _assign(layer, moments)


def check_prior(prior):
    """Raises `ValueError` unless this is a positive number or `None`."""
    if prior is not None and not check_number("prior", prior, least=0):
        raise ValueError(
            "Argument `prior` must be positive, or None to replace the statistics. "
            f"Received: prior={prior!r}."
        )


def _size_of_arrays(data):
    """The number of examples where the data are arrays, else `None`."""
    leaves = keras.tree.flatten(data)
    is_arrays = leaves and all(getattr(leaf, "shape", ()) for leaf in leaves)
    return max(1, leaves[0].shape[0]) if is_arrays else None


def _mixing_moments(recorder, layer, inputs, mask):
    """The moments of a batch, which are mixed into the statistics of the layer."""
    batch = _moments(recorder, layer, inputs, mask)
    n = ops.cast(ops.shape(inputs)[0], "float32")
    # Where everything is masked, nothing counts.
    share = ops.where(batch[2] > 0, n / (recorder.prior + n), 0.0)
    old = (layer.moving_mean, layer.moving_variance)
    old = Moments(*(ops.cast(variable, "float32") for variable in old))
    mixture = mix(Moments(*batch)._replace(count=None), old, share)
    layer.moving_mean.assign(mixture.mean)
    layer.moving_variance.assign(mixture.variance)
    return batch


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


def _moments(recorder, layer, inputs, mask):
    examples, _ = moments_of_examples(layer, inputs, mask)
    return tuple(batch_moments(examples))


def moments_of_examples(layer, inputs, mask):
    """The `Moments` of every example and channel, and the mask by elements."""
    axis = layer.axis % len(inputs.shape)
    if mask is not None:
        mask = element_mask(mask, inputs, axis)
    return with_count(example_moments(inputs, axis, mask), inputs), mask


def check_received(model, layers, population, least):
    """Raises `ValueError` unless layers received finite data, at least so many numbers.

    Args:
        model: The model, for messages.
        layers: List of its recorded layers.
        population: List of the `Moments` that each received, or `None`.
        least: Integer, the least count of numbers per channel.
    """
    seen = [(x, m) for x, m in zip(layers, population) if m is not None]
    if not seen:
        raise ValueError(
            "The data set is empty, or the model called none of its batch "
            "normalization layers. The model is unchanged. Pass at least two examples."
        )
    few = "two numbers" if least == 2 else "one number"
    short = [x for x, m in seen if m.count.min() < least]
    unfit = [x for x, m in seen if not np.isfinite([m.mean, m.variance]).all()]
    for problem, wrong in (
        (f"received fewer than {few} per channel", short),
        ("received NaN or infinity", unfit),
    ):
        if wrong:
            names = [f"'{name_of(layer)}'" for layer in wrong]
            raise ValueError(
                f"{len(names)} of {len(layers)} batch normalization layers of model "
                f"'{model.name}' {problem}: {listed(names)}. The model is unchanged. "
                f"Pass at least {few} per channel, all of them finite, and check that "
                f"the weights before {names[0]} are finite."
            )


def _assign(layer, moments):
    layer.moving_mean.assign(moments.mean)
    layer.moving_variance.assign(moments.variance)
    if layer.renorm:
        deviation = np.sqrt(moments.variance + layer.epsilon)
        layer.moving_stddev.assign(deviation)
        layer.renorm_mean.assign(moments.mean)
        layer.renorm_stddev.assign(deviation)

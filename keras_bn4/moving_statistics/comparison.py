"""Comparison of batch normalization in training and at inference (App. A and B)."""

import math

import keras
import numpy as np
from keras import ops

from keras_bn4.layers.mixing import mix
from keras_bn4.layers.moments import Moments
from keras_bn4.layers.pooling import batch_moments, ghost_moments, group_moments
from keras_bn4.moving_statistics.comparison_result import Discrepancy
from keras_bn4.moving_statistics.recalibration import (
    check_received,
    moments_of_examples,
    pooled,
)
from keras_bn4.moving_statistics.recorder import (
    check_statistics,
    input_batches,
    kept_recorder,
    one_at_a_time,
    training_layers,
)

# The weight that closes the gap is interpolated between these.
WEIGHTS = (
    *(0.0, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4),
    *(0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)


def discrepancy(
    model: keras.Model,
    data,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    verbose: str | int = "auto",
) -> Discrepancy:
    """Compares the outputs of batch normalization in training and at inference.

    In training an example is part of the statistics that it is normalized by. So before
    γ and β no output is further from 0 than `√(B - 1)`, where `B` is the number of
    elements that are normalized together (Eq. 2, App. A). At inference there is no such
    bound. This function runs the data through the model twice: once with batch
    normalization as in training, with its ghosts and channel groups, and once as at
    inference, at the example weight of each layer. Dropout is off both times. The model
    is left unchanged.

    The result shows two gaps between training and inference. First, outputs have a
    wider range at inference. Each row has the example weight that would close this gap
    in its layer, given the inputs that the layer currently receives. It is only a hint:
    `keras_bn4.sweep_example_weight` finds the weight for the whole model that is best
    for a loss or metric. Second, a mean far from 0 or a standard deviation far from 1
    at inference means that the moving statistics are not those of the data, and
    `keras_bn4.recalibrate` closes that gap.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Eq. 2, App. A and
      B (Fig. 6).

    Args:
        model: A built `keras.Model`. It does not have to be compiled.
        data: Inputs of the model: arrays with the examples along their first axis (a
            list of arrays for a model with several inputs), a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, or another iterable of batches. Labels in batches
            are ignored.
        batch_size: Positive integer, or `None` for 32. Only used if `data` is arrays.
            The result depends on it: without ghosts, use that of training.
        steps: Positive integer, how many batches to use, or `None` for all.
        verbose: 0 or `"auto"`/1, whether to show a progress bar.

    Returns:
        A `Discrepancy` with one row for every batch normalization layer that is not
        frozen. It prints as a table, and has `plot()` and `to_csv(path)`.

    Raises:
        ValueError: if no layer trains, or the data are empty, aren't finite or have
            fewer batches than `steps`.

    Examples:
        >>> import keras, keras_bn4
        >>> inputs = keras.Input((4,))
        >>> layer = keras_bn4.GhostBatchNormalization(ghost_batch_size=2, name="bn")
        >>> model = keras.Model(inputs, layer(inputs))
        >>> x = np.random.default_rng(0).normal(size=(64, 4))
        >>> found = discrepancy(model, x, batch_size=16, verbose=0)
        >>> found.rows[0]["bound"], round(found.rows[0]["training_maximum"], 2)
        (1.0, 1.0)
        >>> found.rows[0]["inference_maximum"] > 2
        True
    """
    layers = training_layers(model)
    trained, inferred = [None] * len(layers), [None] * len(layers)
    with one_at_a_time:
        check_statistics(model)
        infer = kept_recorder(model, layers, _inference, training=False)
        train = kept_recorder(model, layers, _training, training=True)
        for x in input_batches(data, batch_size, steps, verbose):
            for recorder, seen in ((infer, inferred), (train, trained)):
                for i, places in enumerate(recorder.record(x)):
                    for summary in places:
                        seen[i] = _merged(seen[i], summary)
    moments = [found and found["moments"] for found in trained]
    check_received(model, layers, moments, least=0)
    rows = zip(layers, trained, inferred)
    return Discrepancy([_row(*of_layer) for of_layer in rows if of_layer[1]])


def _training(recorder, layer, inputs, mask):
    """Summarizes a layer's outputs in training, before γ and β."""
    examples, low, high = _examples(layer, inputs, mask)
    together = ghost_moments(examples, getattr(layer, "ghost_batch_size", None))
    return _summary(layer, examples, low, high, _of_groups(layer, together))


def _inference(recorder, layer, inputs, mask):
    """Summarizes a layer's outputs at inference, with their ranges at all `WEIGHTS`."""
    examples, low, high = _examples(layer, inputs, mask)
    dtype = examples.mean.dtype
    moving = (layer.moving_mean, layer.moving_variance)
    moving = Moments(*(ops.cast(variable, dtype)[None] for variable in moving))
    moving, example = _of_groups(layer, moving), _of_groups(layer, examples)
    # The variable, because a number would be a constant of the trace.
    weight = getattr(layer, "_example_weight_variable", 0.0)
    now = mix(example, moving, ops.cast(weight, dtype))
    summary = _summary(layer, examples, low, high, now)
    ranges = [
        _range(layer, low, high, examples.count, mix(example, moving, weight))
        for weight in WEIGHTS
    ]
    summary["ranges"] = ops.stack(ranges)
    return summary


def _examples(layer, inputs, mask):
    """Moments of every example and channel, and their smallest and largest elements."""
    examples, mask = moments_of_examples(layer, inputs, mask)
    axis = layer.axis % len(inputs.shape)
    positions = [i for i in range(1, len(inputs.shape)) if i != axis]
    ends = []
    for reduce, worst in ((ops.amin, math.inf), (ops.amax, -math.inf)):
        values = inputs if mask is None else ops.where(mask, inputs, worst)
        ends.append(reduce(values, positions) if positions else values)
    return examples, *ends


def _of_groups(layer, moments):
    size = getattr(layer, "channels_per_group", 1)
    return group_moments(moments, moments.mean.shape[-1] // size)


def _summary(layer, examples, low, high, moments):
    """Moments `(C,)` and range of the normalized outputs, and in training also `B`."""
    scale = ops.rsqrt(moments.variance + layer.epsilon)
    outputs = Moments(
        (examples.mean - moments.mean) * scale,
        examples.variance * ops.square(scale),
        examples.count,
    )
    summary = {
        "moments": tuple(batch_moments(outputs)),
        "range": _range(layer, low, high, examples.count, moments),
    }
    if moments.count is not None:
        summary["elements"] = ops.max(moments.count)
    return summary


def _range(layer, low, high, count, moments):
    scale = ops.rsqrt(moments.variance + layer.epsilon)
    counts = ops.broadcast_to(count > 0, ops.shape(low))
    low = ops.where(counts, (low - moments.mean) * scale, math.inf)
    high = ops.where(counts, (high - moments.mean) * scale, -math.inf)
    return ops.stack([ops.min(low), ops.max(high)])


def _merged(seen, summary):
    """Merges the summaries of earlier batches, or `None`, with that of one more."""
    moments = pooled(seen and seen["moments"], Moments(*summary["moments"]))
    merged = {"moments": moments, "elements": float(summary.get("elements", 0))}
    for name in {"range", "ranges"} & summary.keys():
        low, high = np.moveaxis(summary[name].astype("float64"), -1, 0)
        if seen:
            low = np.minimum(low, seen[name][..., 0])
            high = np.maximum(high, seen[name][..., 1])
        merged[name] = np.stack([low, high], -1)
    if seen:
        merged["elements"] = max(merged["elements"], seen["elements"])
    return merged


def _row(layer, training, inference):
    row = {
        "layer": layer.path,
        "elements": training["elements"],
        "bound": math.sqrt(max(training["elements"] - 1, 0)),
    }
    for mode, seen in (("training", training), ("inference", inference)):
        row[f"{mode}_minimum"], row[f"{mode}_maximum"] = map(float, seen["range"])
        mean, variance, _ = seen["moments"]
        row[f"{mode}_mean"] = float(np.sqrt(np.mean(mean**2)))
        row[f"{mode}_deviation"] = float(np.sqrt(np.mean(variance)))
    widths = inference["ranges"][:, 1] - inference["ranges"][:, 0]
    row["example_weight"] = _crossing(
        widths, row["training_maximum"] - row["training_minimum"]
    )
    return row


def _crossing(widths, target):
    """Interpolates the smallest weight at which the width falls to the target."""
    # Ghosts of one example reach the target at weight 1 only, despite rounding.
    target *= 1.001
    for i, width in enumerate(widths):
        if width <= target:
            if i == 0:
                return 0.0
            share = (widths[i - 1] - target) / (widths[i - 1] - width)
            return float(WEIGHTS[i - 1] + share * (WEIGHTS[i] - WEIGHTS[i - 1]))
    return math.nan

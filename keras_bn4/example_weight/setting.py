"""Sets the example weights of all layers of a model."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_bn4.common.arguments import check_example_weight, is_number
from keras_bn4.common.models import check_built, layers_of, name_of
from keras_bn4.common.tables import listed
from keras_bn4.example_weight.schedules import Schedule, check_schedule, layer_weights
from keras_bn4.layers import GhostBatchNormalization


def weighing_layers(model):
    """The layers of a model that have an example weight, from first to last.

    Raises:
        ValueError: if there are none.
    """
    check_built(model)
    layers = [x for x in layers_of(model, GhostBatchNormalization) if x.built]
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no layer of keras_bn4, or is not built. Convert "
            "it first: `model = keras_bn4.convert(model)`."
        )
    return layers


def set_example_weight(
    model: keras.Model,
    example_weight: (
        float
        | Sequence[float]
        | np.ndarray
        | Callable[[keras.layers.Layer], float]
        | Mapping
    ),
    *,
    schedule: Schedule = "uniform",
) -> None:
    """Sets the example weights of all layers of this package in a model.

    They take effect in functions that are already compiled. The layers of Functional
    and Sequential models, nested ones included, count in an order in which they run;
    those of subclassed models in the order in which they were made.

    Args:
        model: A built `keras.Model` with layers of this package.
        example_weight: Float from 0 to 1; or a sequence of these, one for each layer
            from first to last; or a function of the layer that returns its weight; or a
            row of a sweep (see `keras_bn4.sweep_example_weight`), whose weight and
            schedule it sets.
        schedule: How a float is spread over the layers: `"uniform"` gives all of them
            this weight, `"falling"` gives it to the first one and less to the others,
            linearly to 0 in the last one. A function of the float and a relative depth
            from 0 (the first layer, also if it is the only one) to 1 (the last) returns
            the weight of the layer there.

    Raises:
        ValueError: if an argument is not as above or the model has no such layer. No
            weight is changed then.

    Examples:
        >>> inputs = keras.Input((4,))
        >>> outputs = GhostBatchNormalization()(GhostBatchNormalization()(inputs))
        >>> model = keras.Model(inputs, outputs)
        >>> set_example_weight(model, 0.05)
        >>> [layer.example_weight for layer in model.layers[1:]]
        [0.05, 0.05]
        >>> set_example_weight(model, 0.3, schedule="falling")
        >>> [layer.example_weight for layer in model.layers[1:]]
        [0.3, 0.0]
        >>> set_example_weight(model, [0.1, 0.2])
        >>> [layer.example_weight for layer in model.layers[1:]]
        [0.1, 0.2]
    """
    check_schedule(schedule)
    layers = weighing_layers(model)
    # A type checker cannot follow the checks of its type.
    given: Any = example_weight
    # An array without axes is neither a sequence nor a number of Python.
    is_sequence = isinstance(given, (list, tuple)) or (
        isinstance(given, np.ndarray) and given.ndim > 0
    )
    is_row = isinstance(given, Mapping) and (
        {"example_weight", "schedule"} <= given.keys()
    )
    if schedule != "uniform" and (is_row or is_sequence or callable(given)):
        what = "a row of a sweep" if is_row else "weights for each layer"
        raise ValueError(
            "A schedule spreads a single example weight over the layers. Received: "
            f"schedule={schedule!r} and {what}, {example_weight!r}."
        )
    if callable(given):
        weights = [_weight_of(layer, given(layer)) for layer in layers]
    elif is_sequence:
        if len(given) != len(layers):
            raise ValueError(
                "A sequence of example weights must have one for each layer of model "
                f"'{model.name}' that has one: {listed(map(name_of, layers))}. Give "
                f"{len(layers)}, or a single one for all. Received: "
                f"{len(given)}."
            )
        weights = [_weight_of(*pair) for pair in zip(layers, given)]
    else:
        if is_row:
            schedule, given = (given[name] for name in ("schedule", "example_weight"))
            check_schedule(schedule)
        if not is_number(given):
            raise ValueError(
                "Argument `example_weight` must be a number from 0 (ordinary "
                "inference) to 1; a list, tuple or array of these, one for each layer; "
                "a function of a layer that returns one; or a row of a sweep, with its "
                "'example_weight' and 'schedule'. Received: "
                f"example_weight={given!r}."
            )
        check_example_weight(given)
        weights = layer_weights(schedule, given, len(layers))
    for layer, weight in zip(layers, weights):
        layer.example_weight = weight


def _weight_of(layer, weight):
    try:
        return check_example_weight(weight)
    except ValueError as error:
        raise ValueError(f"For layer '{name_of(layer)}': {error}") from error


@contextlib.contextmanager
def example_weights_kept(layers):
    """Restores the example weights of layers, also if an error ends the block."""
    before = [layer.example_weight for layer in layers]
    try:
        yield
    finally:
        for layer, weight in zip(layers, before):
            layer.example_weight = weight

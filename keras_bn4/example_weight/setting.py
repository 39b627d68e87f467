"""The example weight of all layers of a model at once: set it, and keep it."""

import contextlib

import keras

from keras_bn4.common.arguments import check_example_weight
from keras_bn4.common.models import check_built, layers_of
from keras_bn4.layers import GhostBatchNormalization


def weighing_layers(model):
    """The layers of a model that have an example weight.

    Args:
        model: A `keras.Model`.

    Raises:
        ValueError: if there are none.
    """
    check_built(model)
    layers = [x for x in layers_of(model, GhostBatchNormalization) if x.built]
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no layer of keras_bn4, or isn't built. Convert "
            "it first: `model = keras_bn4.convert(model)`."
        )
    return layers


def set_example_weight(model: keras.Model, example_weight: float) -> None:
    """Sets the example weight of all layers of this package in a model.

    It takes effect in functions that are already compiled.

    Args:
        model: A built `keras.Model` with layers of this package.
        example_weight: Float from 0 to 1.

    Raises:
        ValueError: if the weight is not as above or the model has no such layer.

    Example:

    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, GhostBatchNormalization()(inputs))
    >>> set_example_weight(model, 0.05)
    >>> model.layers[-1].example_weight
    0.05
    """
    check_example_weight(example_weight)
    for layer in weighing_layers(model):
        layer.example_weight = example_weight


@contextlib.contextmanager
def example_weights_kept(layers):
    """Gives layers their example weights back, also if an error ends the block."""
    before = [layer.example_weight for layer in layers]
    try:
        yield
    finally:
        for layer, weight in zip(layers, before):
            layer.example_weight = weight

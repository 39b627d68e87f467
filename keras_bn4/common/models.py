"""The layers of a model, wherever they sit, and what a model has to be."""

import keras


def layers_of(model, classes):
    """All layers of these classes in a model, or in a layer, each of them once.

    Args:
        model: A `keras.Model` or `keras.layers.Layer`, which may be among the result.
        classes: A class or a tuple of classes.

    Returns:
        List of layers, in the order in which Keras finds them.
    """
    # Private, because the public `layers` has neither what is nested in layers nor what
    # is wrapped by them.
    layers = model._flatten_layers()
    found = {id(layer): layer for layer in layers if isinstance(layer, classes)}
    return list(found.values())


def name_of(layer):
    """How messages and tables name a layer: by its path, where it has one."""
    return layer.path or layer.name


def check_built(model):
    """Raises `ValueError` unless this is a Keras model that is built."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"Expected a keras.Model. Received: {model!r}.")
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' isn't built, so that its layers have no weights "
            "yet. Call it on a batch of data, or `model.build(input_shape)`, first."
        )


def check_compiled(model):
    """Raises `ValueError` unless a model has losses or metrics to evaluate."""
    if not model.compiled:
        raise ValueError(
            f"Model '{model.name}' isn't compiled, so that there is no loss or metric "
            "to evaluate. Call `model.compile(loss=..., metrics=[...])` first."
        )

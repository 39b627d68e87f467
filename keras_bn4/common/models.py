"""Model traversal and validation."""

import contextlib
import inspect
import os
import warnings

import keras

# Keras' own class, bound once: a program may put a layer of this package in its place
# in `keras.layers`.
BatchNormalization = keras.layers.BatchNormalization


def layers_of(model, classes):
    """All layers of these classes in a model, or in a layer, each of them once.

    Args:
        model: A `keras.Model` or `keras.layers.Layer`, which may be among the result.
        classes: A class or a tuple of classes.

    Returns:
        List of layers. Those of Functional and Sequential models, nested ones included,
        stand in an order in which they can run; those of other layers and models in the
        order in which they were made.
    """
    found, seen, ahead = [], set(), [model]
    while ahead:
        layer = ahead.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            if isinstance(layer, classes):
                found.append(layer)
            # Private, because the public `layers` has neither what is nested in layers
            # nor what is wrapped by them. (Keras' own `_flatten_layers` lists nested
            # layers from last to first.)
            ahead.extend(reversed(layer._layers))
    return found


def name_of(layer):
    """How messages and tables name a layer: by its path, where it has one."""
    return layer.path or layer.name


@contextlib.contextmanager
def new_optimizers_allowed():
    """Silences Keras' warning that an optimizer that never trained has no state."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        yield


def check_built(model):
    """Raises `ValueError` unless this is a Keras model that is built."""
    if not isinstance(model, keras.Model):
        classes = getattr(model, "__mro__", type(model).__mro__)
        if any(c.__module__.split(".")[0] == "tf_keras" for c in classes):
            raise ValueError(
                "Expected a keras.Model of Keras 3, but this one is of legacy Keras, "
                "the package `tf_keras`: make the model with `keras`, or without "
                "TF_USE_LEGACY_KERAS=1 in the environment if it is made with "
                f"`tf.keras`. Received: {model!r}."
            )
        if isinstance(model, (str, os.PathLike)):
            hint = " If this is a file, load it: `keras.models.load_model(path)`."
        elif isinstance(model, keras.layers.Layer):
            hint = " A layer alone has no inputs: make a model with it."
        elif inspect.isclass(model):
            hint = " Make an object of this class."
        else:
            hint = ""
        raise ValueError(f"Expected a keras.Model. Received: {model!r}.{hint}")
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built, so its layers have no weights "
            "yet. Call it on a batch of data, or `model.build(input_shape)`, first."
        )


def check_compiled(model):
    """Raises `ValueError` unless a model has losses or metrics to evaluate."""
    if not model.compiled:
        raise ValueError(
            f"Model '{model.name}' is not compiled, so there is no loss or metric "
            "to evaluate. Call `model.compile(loss=..., metrics=[...])` first."
        )

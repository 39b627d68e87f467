"""Copies models that hold layers of this package, and keeps files from losing them.

A subclassed model or layer that creates its layers itself creates Keras' own ones when
it is made from its configuration, whatever they have been converted to since.
"""

import collections
import contextlib
import contextvars
import pathlib
import tempfile
import warnings

import keras

from keras_bn4.common.models import layers_of, name_of, new_optimizers_allowed
from keras_bn4.conversion.exchange import (
    LAYERS,
    arguments_of,
    batch_normalizations,
    become,
)
from keras_bn4.weight_decay.optimizer import copy_exclusions

_copying = contextvars.ContextVar("copying", default=False)


def copy_of(model):
    """Copies a model as Keras saves and loads it; the given model is only read.

    Args:
        model: A built `keras.Model`.

    Returns:
        A pair of the copy, and a tuple of strings that say what could not be copied.

    Raises:
        ValueError: if Keras can't make such a model from its configuration.
    """
    token = _copying.set(True)
    try:
        with _sharing_scope(), _lambdas_allowed():
            config = keras.saving.serialize_keras_object(model)
        compile_config = config.pop("compile_config", None)
        with _sharing_scope():
            copied = keras.saving.deserialize_keras_object(config, safe_mode=False)
        pairs = list(zip(*map(batch_normalizations, (model, copied)), strict=True))
        for layer, copy_of_layer in pairs:
            if type(layer) in LAYERS and layer.built:
                # Also where the classes agree: a layer that a subclassed model creates
                # has the settings of the constructor, whatever was set since.
                become(copy_of_layer, type(layer)(**arguments_of(layer)))
            elif type(copy_of_layer) in LAYERS and type(layer) not in LAYERS:
                become(copy_of_layer, None)
        notes = _copy_trainable(model, copied)
        shapes = [[w.shape for w in m.weights] for m in (model, copied)]
        if shapes[0] != shapes[1]:
            raise ValueError("the copy has other weights")
        notes += _compile(model, copied, compile_config)
        _load_weights(model, copied)
    except Exception as error:
        # Keras appends whole configurations to some of its messages.
        raise ValueError(
            f"Keras can't rebuild model '{model.name}' of class {type(model).__name__} "
            f"from its configuration: {str(error)[:300]}\n"
            "Register its classes with `@keras.saving.register_keras_serializable()` "
            "and give them a `get_config`, or convert the model itself with "
            "`in_place=True`."
        ) from error
    finally:
        _copying.reset(token)
    refuse_files_that_lose_layers(copied)
    return copied, notes


def refuse_files_that_lose_layers(model):
    """Makes it an error to save a model whose file would load as another model.

    This concerns whole models (`save`, pickling, `clone_model`) of which a part doesn't
    hold its converted layers in its configuration. Weights can be saved.

    `save` is refused by itself, because Keras opens the file before it asks for the
    configuration, and so would leave an empty one in the place of an older one.
    """
    parts = layers_of(model, keras.layers.Layer)
    refused = []
    token = _copying.set(True)
    try:
        for part in parts:
            lost = [] if isinstance(part, LAYERS) else _lost_layers(part)
            if lost:
                refused.append((part, lost))
    finally:
        _copying.reset(token)
    for part in parts:
        # An earlier conversion may have refused what this one has mended.
        for name in ("get_config", "save"):
            vars(part).pop(name, None)
    for part, lost in refused:
        refuse = _refusal(part, lost)
        object.__setattr__(part, "get_config", _only_to_copy(part, refuse))
        if isinstance(part, keras.Model):
            object.__setattr__(part, "save", refuse)


def _lost_layers(part):
    """The converted layers in a part of a model that its configuration lacks."""
    layers = [x for x in layers_of(part, LAYERS) if type(x) in LAYERS]
    if not layers:
        return []
    try:
        with _lambdas_allowed():
            config = keras.saving.serialize_keras_object(part)
    except Exception:
        # Keras itself refuses to save what has no configuration.
        return []
    held = collections.Counter(_names_of_own_layers(config))
    lost = []
    for layer in layers:
        if not held[layer.name]:
            lost.append(layer)
        held[layer.name] -= 1
    return lost


def _names_of_own_layers(config):
    if isinstance(config, dict):
        if str(config.get("registered_name")).startswith("keras_bn4>"):
            yield config["config"].get("name")
        for value in config.values():
            yield from _names_of_own_layers(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _names_of_own_layers(value)


def _only_to_copy(part, refuse):
    def get_config():
        return type(part).get_config(part) if _copying.get() else refuse()

    return get_config


def _refusal(part, layers):
    def refuse(*args, **kwargs):
        raise ValueError(
            f"'{part.name}' of class {type(part).__name__} creates its normalization "
            f"layers itself, {len(layers)} of them, such as '{name_of(layers[0])}'. "
            "Loaded from a file, or cloned, it would have "
            "keras.layers.BatchNormalization in their place, and predict otherwise. "
            "Save its weights (`model.save_weights`), or the model as "
            "`keras_bn4.revert` makes it, and convert after loading."
        )

    return refuse


def _copy_trainable(model, copied):
    """Freezes what is frozen in the model. Returns notes on what was not possible.

    Of layers that a subclassed model or layer creates itself, a configuration doesn't
    say whether they are.
    """
    both, notes = [layers_of(x, keras.layers.Layer) for x in (model, copied)], ()
    if len(both[0]) != len(both[1]):
        # Layers that a model makes while it runs may be missing.
        if not all(layer.trainable for layer in both[0]):
            notes = (
                "only of batch normalization it was copied which layers are frozen, "
                "because the copy has another number of layers: set `trainable`",
            )
        both = map(batch_normalizations, (model, copied))
    # A layer comes before its parts, and passes on what it gets. Twice, because it also
    # passes it on to a part that another layer, which came earlier, has as well.
    for layer, copy_of_layer in 2 * list(zip(*both)):
        if copy_of_layer.trainable != layer.trainable:
            copy_of_layer.trainable = layer.trainable
    return notes


def _compile(model, copied, compile_config):
    """Compiles the copy like the model. Returns notes on what was not possible."""
    if compile_config is None or not model.compiled:
        return ()
    functions = {
        leaf.__name__: leaf
        for leaf in keras.tree.flatten(model.loss)
        if hasattr(leaf, "__name__")
    }
    try:
        with keras.saving.custom_object_scope(functions):
            copied.compile_from_config(compile_config)
    except Exception as error:
        return (
            f"the copy isn't compiled, because Keras can't rebuild its loss, metrics "
            f"or optimizer ({str(error)[:200]}): compile it",
        )
    if not copied.compiled:
        return (
            "the copy isn't compiled, because its class has a `compile` and no "
            "`compile_from_config` of its own: compile it",
        )
    copy_exclusions(model.optimizer, copied.optimizer, model.weights, copied.weights)
    return ()


def _load_weights(model, copied):
    with tempfile.TemporaryDirectory() as folder, new_optimizers_allowed():
        path = pathlib.Path(folder, "model.weights.h5")
        model.save_weights(path)
        copied.load_weights(path)


@contextlib.contextmanager
def _lambdas_allowed():
    """Silences Keras' warning about lambda functions in a configuration.

    No file is written here, which could run such a function elsewhere.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The object being serialized includes a")
        yield


def _sharing_scope():
    """An object that is in two places of a configuration stays one, as in files."""
    # Private, because the public functions of `keras.saving` don't open this scope.
    from keras.src.saving.serialization_lib import ObjectSharingScope

    return ObjectSharingScope()

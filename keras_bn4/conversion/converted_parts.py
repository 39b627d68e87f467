"""Saving of converted parts that create their layers themselves.

A subclassed model or layer, or a block of KerasHub, creates Keras' layers again when it
is made from its configuration. Once these are converted, the class of such a part is
replaced by a subclass, whose configuration holds them as well.
"""

import collections
import threading
import types
import warnings

import keras

from keras_bn4.common.models import layers_of
from keras_bn4.conversion.replacement import (
    LAYERS,
    batch_normalizations,
    replace_all,
)

register = keras.saving.register_keras_serializable("keras_bn4", "Converted")
_classes: dict = {}
_lock = threading.Lock()


@register
class Converted:
    """Mixin of the classes of converted parts; files name it instead of the class."""

    def get_config(self):
        original = type(self).original_class
        return {
            "original": configuration_of(self, original, super().get_config()),
            # Without the key `class_name`, or Keras would share these layers with those
            # in the configuration of the original.
            "layers": [
                {
                    "registered_name": keras.saving.get_registered_name(type(layer)),
                    "config": layer.get_config(),
                }
                if type(layer) in LAYERS
                else None
                for layer in batch_normalizations(self)
            ],
        }

    @classmethod
    def from_config(cls, config, **arguments):
        if config.keys() != {"original", "layers"}:
            return super().from_config(config, **arguments)
        config, layers = config["original"], config["layers"]
        original = getattr(cls, "original_class", None)
        # Classes of a clone do not have to be registered.
        known = {} if original is None else {config["registered_name"]: original}
        part = keras.saving.deserialize_keras_object(config, custom_objects=known)
        _give_class(part)
        # Not an attribute that Keras would track.
        vars(part)["_unconverted"] = layers
        _convert_created(part)
        return part

    def __call__(self, *arguments, **keywords):
        outputs = super().__call__(*arguments, **keywords)
        if "_unconverted" in vars(self):
            # The first call created or built the layers, and used Keras' own.
            _convert_created(self, called=True)
            outputs = super().__call__(*arguments, **keywords)
        return outputs

    def __reduce__(self):
        # Pickle looks classes up by name, and finds the original there.
        function, *rest = super().__reduce__()
        if getattr(function, "__self__", None) is type(self):
            function = types.MethodType(function.__func__, type(self).original_class)
        return function, *rest


def configuration_of(part, part_class=None, config=None):
    """The serialized form of a layer or model, without its compile configuration.

    The class and the inner configuration are by default those of the part.
    """
    part_class = part_class or type(part)
    return {
        "module": part_class.__module__,
        "class_name": part_class.__name__,
        "registered_name": keras.saving.get_registered_name(part_class),
        "config": part.get_config() if config is None else config,
        "build_config": part.get_build_config(),
    }


def keep_in_files(model):
    """Makes files of a model, and of its parts, hold its converted layers."""
    parts = [
        part
        for part in layers_of(model, keras.layers.Layer)
        if type(part) not in LAYERS and (isinstance(part, Converted) or _own(part))
    ]
    for part in parts:
        if isinstance(part, Converted):
            part.__class__ = type(part).original_class
    # Small parts first: a part does not lose what its own parts keep.
    for part in sorted(parts, key=lambda x: len(layers_of(x, keras.layers.Layer))):
        if _loses_layers(part):
            _give_class(part)


def _own(part):
    return [layer for layer in layers_of(part, LAYERS) if type(layer) in LAYERS]


def _loses_layers(part):
    """Whether the configuration of a part lacks layers of this package."""
    try:
        with warnings.catch_warnings():
            # Nothing is written to a file here.
            warnings.filterwarnings("ignore", "The object being serialized includes a")
            config = keras.saving.serialize_keras_object(part.get_config())
    except Exception:
        # Keras does not save a part without configuration either.
        return False
    needed = collections.Counter(layer.name for layer in _own(part))
    return bool(needed - collections.Counter(_names_of_own_layers(config)))


def _names_of_own_layers(config):
    if isinstance(config, dict):
        if str(config.get("registered_name")).startswith("keras_bn4>"):
            yield config["config"].get("name")
        for value in config.values():
            yield from _names_of_own_layers(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _names_of_own_layers(value)


def _give_class(part):
    original = getattr(type(part), "original_class", type(part))
    with _lock:
        if original not in _classes:
            own = {"original_class": original, "__doc__": original.__doc__}
            for name in ("__module__", "__qualname__"):
                own[name] = getattr(original, name)
            new = type(original.__name__, (Converted, original), own)
            # All of these classes have one name, by which files are loaded.
            register(new)
            register(Converted)
            _classes[original] = new
    part.__class__ = _classes[original]


def _layer(config):
    layer_class = keras.saving.get_registered_object(config["registered_name"])
    return layer_class.from_config(config["config"])


def _convert_created(part, called=False):
    """Converts the layers of a part that was loaded, once it has created them."""
    layers, configs = batch_normalizations(part), vars(part)["_unconverted"]
    pairs = [(layer, c) for layer, c in zip(layers, configs) if c is not None]
    if called and len(layers) != len(configs):
        raise ValueError(
            f"'{part.name}' of class {type(part).__name__} was saved with "
            f"{len(configs)} batch normalization layers, and its class creates "
            f"{len(layers)}. Load it with the class that it was saved with."
        )
    if len(layers) == len(configs) and all(layer.built for layer, _ in pairs):
        del vars(part)["_unconverted"]
        replace_all([layer for layer, _ in pairs], [_layer(c) for _, c in pairs])
        # It may have created parts that create layers themselves.
        keep_in_files(part)

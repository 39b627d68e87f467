"""Copies of models in memory, of everything that Keras saves and loads."""

import tempfile
import types
import warnings

import keras
from keras import ops
from keras.saving import (
    custom_object_scope,
    deserialize_keras_object,
    get_registered_name,
    serialize_keras_object,
)

from keras_bn4.common.errors import reason_of
from keras_bn4.common.models import layers_of
from keras_bn4.conversion.converted_parts import Converted, configuration_of
from keras_bn4.conversion.replacement import (
    LAYERS,
    arguments_of,
    batch_normalizations,
    replace,
)
from keras_bn4.weight_decay.optimizer import copy_exclusions

# Lambda functions are not written to a file here, and models that compile in their own
# way are reported in a note.
QUIET = r"The object being serialized includes a|`compile\(\)` was not called as part"


def copy_of(model):
    """Copies a built model as Keras saves and loads it; the given model is only read.

    The copy has the same classes and functions, registered or not. Assets of layers,
    such as vocabularies, go through temporary files.

    Returns:
        A pair of the copy, and a tuple of strings, what could not be copied.

    Raises:
        ValueError: if Keras cannot make such a model from its configuration.
        OSError: if assets cannot be written.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", QUIET)
            copied, notes = _rebuilt(model)
    except Exception as error:
        raise ValueError(
            f"Keras cannot rebuild model '{model.name}' of class "
            f"{type(model).__name__} from its configuration: {reason_of(error)}.\n"
            "Give its classes a `get_config` that returns the arguments of their "
            "constructor, or convert the model itself with `in_place=True`."
        ) from error
    _copy_assets(model, copied)
    return copied, notes


def _rebuilt(model):
    functions = _Functions(model)
    with _sharing_scope():
        config = functions.named(serialize_keras_object(configuration_of(model)))
    _leave_to_sequential(config)
    with _sharing_scope(), custom_object_scope(functions.by_name):
        copied = deserialize_keras_object(config, safe_mode=False)
    pairs = list(zip(*map(batch_normalizations, (model, copied)), strict=True))
    for layer, other in pairs:
        if type(layer) in LAYERS and layer.built:
            # Also where the classes agree: a layer that a subclassed model creates has
            # the settings of its constructor, not those that were set later.
            replace(other, type(layer)(**arguments_of(layer)))
        elif type(other) in LAYERS and type(layer) not in LAYERS:
            replace(other, None)
    notes = _copy_state(model, copied)
    with custom_object_scope(functions.by_name):
        notes += _compile(model, copied, functions)
    return copied, notes


class _Functions:
    """The custom classes and functions of a model, by the names Keras gives them.

    Attributes:
        by_name: Dict of names to classes and functions, for `custom_object_scope`.
    """

    def __init__(self, model):
        self.by_name, self._lambdas = {}, {}
        for found in _found_in(model):
            name = get_registered_name(found)
            if name == "<lambda>":
                # Keras would rebuild it without the module that defines it.
                code = _code_of(serialize_keras_object(found))
                name = f"lambda function {len(self.by_name)} of '{model.name}'"
                # If two have the same code, Keras has to rebuild them.
                self._lambdas[code] = None if code in self._lambdas else name
            if self.by_name.setdefault(name, found) is not found:
                raise ValueError(
                    f"two of its classes or functions are called '{name}', and a "
                    "configuration cannot tell them apart"
                )

    def named(self, config):
        """A configuration with names in place of lambda functions."""
        if isinstance(config, (list, tuple)):
            return type(config)(map(self.named, config))
        if not isinstance(config, dict):
            return config
        is_lambda = config.get("class_name") == "__lambda__"
        if is_lambda and (name := self._lambdas.get(_code_of(config))):
            return {"class_name": "function", "config": name, "module": "builtins"}
        return {key: self.named(value) for key, value in config.items()}


def _code_of(config):
    # The layer `Lambda` has a form of its own.
    inner = config["config"]
    return inner["value"][0] if "value" in inner else inner["code"]


def _found_in(model):
    """The custom classes and functions that the configuration of a model names."""
    seen, ahead = set(), [model]
    while ahead:
        thing = ahead.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, (list, tuple, set)):
            ahead.extend(thing)
        elif isinstance(thing, dict):
            ahead.extend(thing.values())
        elif isinstance(thing, types.FunctionType):
            if not thing.__module__.startswith("keras."):
                yield thing
        elif hasattr(thing, "get_config"):
            found = type(thing)
            if issubclass(found, Converted):
                found = found.original_class
            # Keras wraps methods, such as `build`, in each object.
            ahead.extend(
                value
                for name, value in getattr(thing, "__dict__", {}).items()
                if not isinstance(getattr(found, name, None), types.FunctionType)
            )
            if not found.__module__.startswith("keras.") and id(found) not in seen:
                seen.add(id(found))
                yield found


def _leave_to_sequential(config):
    """Lets Sequential models build their layers, which gives these their paths."""
    if isinstance(config, dict):
        inner = config.get("config")
        if isinstance(inner, dict) and inner.keys() >= {"layers", "build_input_shape"}:
            for layer in inner["layers"]:
                layer.pop("build_config", None)
        config = config.values()
    if not isinstance(config, str):
        for value in config if hasattr(config, "__iter__") else ():
            _leave_to_sequential(value)


def _copy_state(model, copied):
    """Copies what a configuration of layers lacks, weights included; returns notes."""
    both, notes = [layers_of(x, keras.layers.Layer) for x in (model, copied)], ()
    is_complete = len(both[0]) == len(both[1])
    if not is_complete:  # Layers that a model makes while it runs may be missing.
        if not all(layer.trainable for layer in both[0]):
            notes = (
                "`trainable` was copied for batch normalization layers only, because "
                "the copy has another number of layers: set it for the others",
            )
        both = map(batch_normalizations, (model, copied))
    pairs = list(zip(*both))
    # A layer comes before its parts, and sets them too. Twice, because it also sets a
    # part that it shares with an earlier layer.
    for layer, other in 2 * pairs:
        if other.trainable != layer.trainable:
            other.trainable = layer.trainable
    for layer, other in pairs:
        if type(other) is not type(layer):
            raise ValueError(f"layer '{layer.name}' became a {type(other).__name__}")
        vars(other)["autocast"] = vars(layer)["autocast"]
        if is_complete:
            store = {}
            layer.save_own_variables(store)
            # Not the arrays themselves, which JAX deletes when a model trains.
            store = {key: ops.convert_to_numpy(x) for key, x in store.items()}
            other.load_own_variables(store)
    if not is_complete:
        copied.set_weights(model.get_weights())
    return notes


def _copy_assets(model, copied):
    both = [layers_of(x, keras.layers.Layer) for x in (model, copied)]
    for layer, other in zip(*both):
        if hasattr(layer, "save_assets") and type(layer) not in LAYERS:
            with tempfile.TemporaryDirectory() as folder:
                layer.save_assets(folder)
                other.load_assets(folder)


def _compile(model, copied, functions):
    """Compiles the copy like the model, and returns notes."""
    if not model.compiled:
        return ()
    try:
        config = model.get_compile_config()
        if type(model).get_compile_config is keras.Model.get_compile_config:
            # Keras forgets it when it writes an `.h5` file.
            config["optimizer"] = serialize_keras_object(model.optimizer)
        copied.compile_from_config(functions.named(config))
    except Exception as error:
        return (
            "the copy is not compiled, because Keras cannot rebuild its loss, metrics "
            f"or optimizer ({reason_of(error)}): compile it",
        )
    if not copied.compiled:
        return (
            "the copy is not compiled, because its class overrides `compile` without "
            "`compile_from_config`: compile it",
        )
    copy_exclusions(model.optimizer, copied.optimizer, model.weights, copied.weights)
    both = [m.optimizer.variables for m in (model, copied)]
    if [v.shape for v in both[0]] == [v.shape for v in both[1]]:
        for variable, other in zip(*both):
            other.assign(ops.convert_to_numpy(variable))
    return ()


def _sharing_scope():
    """The scope in which an object at two places of a configuration stays one."""
    # Private, because the public functions of `keras.saving` don't open this scope.
    from keras.src.saving.serialization_lib import ObjectSharingScope

    return ObjectSharingScope()

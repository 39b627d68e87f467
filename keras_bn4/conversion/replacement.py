"""Replacement of built layers: which layers of a model are replaced, by what, and how.

The class of the layer object itself is replaced, so that it changes wherever a model
refers to it.
"""

import contextlib

import keras

from keras_bn4.common.arguments import (
    check_function,
    check_groups,
    check_groups_divide,
    common_divisors,
)
from keras_bn4.common.models import BatchNormalization, check_built, layers_of, name_of
from keras_bn4.common.tables import listed
from keras_bn4.layers.batch_group_normalization import BatchGroupNormalization
from keras_bn4.layers.ghost_batch_normalization import GhostBatchNormalization

LAYERS = (GhostBatchNormalization, BatchGroupNormalization)
# Arguments of Keras' layer that do not affect its weights or its place in the model.
CHANGEABLE = (
    "momentum",
    "epsilon",
    "beta_regularizer",
    "gamma_regularizer",
    "beta_constraint",
    "gamma_constraint",
    "synchronized",
)
# The attributes that layers of this package have and Keras' lacks.
OWN_ATTRIBUTES = (
    # `example_weight` is a property.
    *(
        name
        for name in BatchGroupNormalization.own_arguments
        if name != "example_weight"
    ),
    "_example_weight",
    "_example_weight_variable",
    "_has_single_position",
    "_has_warned_of_constant_output",
)
# The default of arguments that `convert` leaves as they are in each layer.
UNCHANGED = type("Unchanged", (), {"__repr__": lambda self: "unchanged"})()


def batch_normalizations(model):
    """The batch normalization layers of a model, including those of this package."""
    return layers_of(model, BatchNormalization)


def convertible_layers(model, select=None):
    """The layers that `convert` converts, and those it skips.

    Args:
        model: A built `keras.Model`.
        select: `None` for all, or a function of a layer that says whether to take it.

    Returns:
        A pair: a list of layers, at least one, and a list of pairs (path, reason).

    Raises:
        ValueError: if the model isn't built or has nothing to convert.
    """
    check_built(model)
    check_function("select", select)
    layers, skipped = [], []
    for layer in batch_normalizations(model):
        reason = _reason_to_skip(layer, select)
        if reason is None:
            layers.append(layer)
        else:
            skipped.append((name_of(layer), reason))
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no batch normalization layer to convert. "
            f"Skipped: {skipped or 'nothing, there is none of any kind'}. Pass a model "
            "with keras.layers.BatchNormalization, and a `select` that picks some."
        )
    return layers, skipped


def _reason_to_skip(layer, select):
    if type(layer) not in (BatchNormalization, *LAYERS):
        return (
            f"its class {type(layer).__name__} is an unknown subclass of "
            "BatchNormalization, whose behaviour would be lost"
        )
    if not layer.built:
        return "it was never built, so the model does not use it"
    if layer.axis % layer.input_spec.ndim == 0:
        return f"axis={layer.axis} is the axis of the examples"
    if select is not None and not select(layer):
        return "`select` did not pick it"
    return None


def replacements_of(layers, groups, arguments):
    """Makes the replacements of layers.

    Args:
        layers: List of layers, as `convertible_layers` returns it.
        groups: The argument of `convert`.
        arguments: Dict of other arguments of the new layers.

    Returns:
        List of unbuilt layers of this package, one for each layer.

    Raises:
        ValueError: if some layers cannot have these arguments; it names all of them.
    """
    found, problems = [], []
    for layer in layers:
        try:
            found.append(_replacement(layer, groups, arguments))
        except (TypeError, ValueError) as error:
            problems.append(f"'{name_of(layer)}': {error}")
    if problems:
        divisors = common_divisors(layer.moving_mean.shape[0] for layer in layers)
        hint = (
            f"Groups that divide the channels of all layers: {divisors}, and -1. "
            "`groups` can also be a function of the layer. "
        )
        hint = "" if groups is UNCHANGED else hint
        raise ValueError(
            f"{len(problems)} of {len(layers)} layers cannot be converted; nothing was "
            f"changed. {hint}`select` can leave layers out. {listed(problems)}"
        )
    return found


def _replacement(layer, groups, arguments):
    arguments = {**arguments_of(layer), **arguments}
    own = arguments.pop("groups", None)
    count = own if groups is UNCHANGED else groups
    if callable(count):
        count = count(layer)
    if count is None:
        return GhostBatchNormalization(**arguments)
    check_groups_divide(check_groups(count), layer.moving_mean.shape[0])
    return BatchGroupNormalization(groups=count, **arguments)


def arguments_of(layer):
    """The arguments of a layer, as objects: some cannot be serialized."""
    arguments = {name: getattr(layer, name) for name in layer.get_config()}
    return {**arguments, "dtype": layer.dtype_policy}


def replace(layer, new):
    """Turns a built batch normalization layer into another one, with its weights.

    Args:
        layer: A built layer of exactly `keras.layers.BatchNormalization` or one of
            `LAYERS`.
        new: An unbuilt layer of `LAYERS`, or `None` for Keras' own class.
    """
    for name in OWN_ATTRIBUTES:
        vars(layer).pop(name, None)
    layer.__class__ = BatchNormalization if new is None else type(new)
    if new is None:
        return
    for name in CHANGEABLE:
        setattr(layer, name, getattr(new, name))
    vars(layer).update(
        {name: vars(new)[name] for name in OWN_ATTRIBUTES if name in vars(new)}
    )
    for name in ("beta", "gamma"):
        if (variable := getattr(layer, name)) is not None:
            variable.regularizer = getattr(layer, f"{name}_regularizer")
            variable.constraint = getattr(layer, f"{name}_constraint")
    with contextlib.ExitStack() as scopes:
        # In the scope in which Keras created the other variables of the layer.
        for name in layer.moving_mean.path.split("/")[:-1]:
            scopes.enter_context(keras.name_scope(name))
        layer.build_example_weight(layer.get_build_config()["input_shape"])
    for variable in layer.weights:
        # In Keras' layer replicas have different moving statistics. All of them take
        # those of the first, which are saved.
        if not variable.trainable:
            variable.assign(variable)


def replace_all(layers, new_layers):
    """Replaces layers: all, or after an error none."""
    before = [(layer, type(layer), dict(vars(layer))) for layer in layers]
    affine = [
        (variable, variable.regularizer, variable.constraint)
        for layer in layers
        for variable in (layer.gamma, layer.beta)
        if variable is not None
    ]
    try:
        for layer, new in zip(layers, new_layers, strict=True):
            replace(layer, new)
    except BaseException:
        for layer, layer_class, attributes in before:
            layer.__class__ = layer_class
            vars(layer).clear()
            vars(layer).update(attributes)
        for variable, regularizer, constraint in affine:
            variable.regularizer, variable.constraint = regularizer, constraint
        raise

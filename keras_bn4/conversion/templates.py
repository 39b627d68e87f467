"""Says which layers of a model are converted, and makes what each is exchanged for."""

from keras_bn4.common.arguments import (
    check_function,
    check_groups,
    check_groups_divide,
    common_divisors,
)
from keras_bn4.common.models import BatchNormalization, check_built, name_of
from keras_bn4.common.tables import listed
from keras_bn4.conversion.exchange import LAYERS, arguments_of, batch_normalizations
from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization

# The default of arguments that `convert` leaves as they are in each layer.
UNCHANGED = type("Unchanged", (), {"__repr__": lambda self: "unchanged"})()


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
            f"Skipped: {skipped or 'nothing, there is none of any kind'}. Give a model "
            "with keras.layers.BatchNormalization, and a `select` that picks some."
        )
    return layers, skipped


def templates_of(layers, groups, arguments):
    """Makes what layers are exchanged for.

    Args:
        layers: List of layers, as `convertible_layers` returns it.
        groups: The argument of `convert`.
        arguments: Dict of other arguments of the new layers.

    Returns:
        List of unbuilt layers of this package, one for each layer.

    Raises:
        ValueError: if some layers can't have these arguments; it names all of them.
    """
    templates, problems = [], []
    for layer in layers:
        try:
            templates.append(_template(layer, groups, arguments))
        except (TypeError, ValueError) as error:
            problems.append(f"'{name_of(layer)}': {error}")
    if problems:
        divisors = common_divisors(layer.moving_mean.shape[0] for layer in layers)
        hint = (
            f"Groups that divide the channels of all layers: {divisors}, and -1. "
            "`groups` can be a function of the layer, too. "
        )
        hint = "" if groups is UNCHANGED else hint
        raise ValueError(
            f"{len(problems)} of {len(layers)} layers can't be converted; nothing was "
            f"changed. {hint}With `select` layers can be left out. {listed(problems)}"
        )
    return templates


def _template(layer, groups, arguments):
    config = {**arguments_of(layer), **arguments}
    own = config.pop("groups", None)
    count = own if groups is UNCHANGED else groups
    if callable(count):
        count = count(layer)
    if count is None:
        return GhostBatchNormalization(**config)
    check_groups_divide(check_groups(count), layer.moving_mean.shape[0])
    return BatchGroupNormalization(groups=count, **config)


def _reason_to_skip(layer, select):
    if type(layer) not in (BatchNormalization, *LAYERS):
        return (
            f"its class {type(layer).__name__} is an unknown subclass of "
            "BatchNormalization, whose behaviour would be lost"
        )
    if not layer.built:
        return "it was never built, so the model doesn't use it"
    if layer.axis % layer.input_spec.ndim == 0:
        return f"axis={layer.axis} is the axis of the examples"
    if select is not None and not select(layer):
        return "`select` didn't pick it"
    return None

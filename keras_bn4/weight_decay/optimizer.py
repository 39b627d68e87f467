"""Which γ and β an optimizer's own, decoupled weight decay acts on (Sec. 3.3)."""

import warnings

import keras

from keras_bn4.common.models import check_built, layers_of
from keras_bn4.common.tables import some
from keras_bn4.weight_decay.graph import NORMALIZERS
from keras_bn4.weight_decay.paths import (
    KINDS,
    affine_variables,
    check_kinds,
    normalization_paths,
)


def exclude_from_weight_decay(optimizer, model, *, decay="none"):
    """Chooses which γ and β an optimizer's own weight decay acts on.

    For decoupled decay, the `weight_decay` argument of Keras' optimizers, which acts on
    all variables, γ and β included, unless they are excluded. Everything else decays
    as before, and what was excluded before stays so. The usual choice is `"none"`. The
    paper finds that decay of γ and β helps in residual networks that overfit (+0.9 %
    accuracy of ResNet-50 on Caltech-256) and not in networks without such paths (-0.1 %
    for Inception-v3), which is `decay=("open", "residual")`; `normalization_paths` says
    which layers these are.

    An optimizer knows variables by identity: call this with the model that will be
    trained, after `keras_bn4.convert`, and before `fit`.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.3.

    Args:
        optimizer: A `keras.optimizers.Optimizer` with a `weight_decay`, not yet built.
        model: A built `keras.Model`.
        decay: Whose γ and β decay: `"all"`, `"none"`, a kind of layer as
            `normalization_paths` names it, or a tuple of kinds. Kinds need a Functional
            or Sequential model.

    Returns:
        List of the variables that were excluded.

    Raises:
        ValueError: if an argument is not as above, the optimizer is built or has no
            weight decay, or the model has no normalizer with γ or β. The optimizer is
            then as it was.

    Warns:
        UserWarning: if a variable decays by the optimizer and also has a regularizer.

    Example:

    >>> inputs = keras.Input((4,))
    >>> x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(inputs))
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(x))
    >>> optimizer = keras.optimizers.AdamW(weight_decay=0.01)
    >>> [v.name for v in exclude_from_weight_decay(optimizer, model, decay="none")]
    ['gamma', 'beta']
    """
    wrapped = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(wrapped, keras.optimizers.Optimizer):
        raise ValueError(
            f"Expected a keras.optimizers.Optimizer. Received: {optimizer!r}."
        )
    if wrapped.weight_decay is None:
        raise ValueError(
            f"Optimizer '{wrapped.name}' has no weight decay to exclude from. "
            "Give it one, `weight_decay=...`, or regularize γ and β: "
            "`keras_bn4.convert(model, gamma_regularizer=..., beta_regularizer=...)`."
        )
    _check_not_built(wrapped)
    layers = _normalizers(model)
    decaying = {id(layer) for layer in _decaying_layers(model, layers, decay)}
    excluded, twice = [], []
    for layer in layers:
        for variable in affine_variables(layer):
            if id(layer) not in decaying:
                excluded.append(variable)
            elif variable.regularizer is not None and variable.trainable:
                twice.append(variable.path)
    exclude_variables(wrapped, excluded)
    if twice and wrapped.weight_decay > 0:
        warnings.warn(
            f"{len(twice)} variables decay by the optimizer and by a regularizer, both "
            f"at once: {some(twice)}. Keep "
            "one of the two, unless this is what you want.",
            stacklevel=2,
        )
    return excluded


def _normalizers(model):
    """All normalizers with γ or β, wherever they sit."""
    check_built(model)
    found = [x for x in layers_of(model, NORMALIZERS) if affine_variables(x)]
    if not found:
        raise ValueError(f"Model '{model.name}' has no normalizer with γ or β.")
    return found


def _decaying_layers(model, layers, decay):
    if decay in ("all", "none"):
        return layers if decay == "all" else []
    kinds = decay if isinstance(decay, (tuple, list, set)) else (decay,)
    try:
        check_kinds(kinds)
    except ValueError as error:
        raise ValueError(
            f'Argument `decay` must be "all", "none", one of {KINDS}, or a tuple of '
            f"these kinds. Received: decay={decay!r}."
        ) from error
    return normalization_paths(model).layers(*kinds)


def exclude_variables(optimizer, variables):
    """Excludes variables from an optimizer's weight decay, besides those that are.

    Keras' own method would exclude these in place of those.

    Raises:
        ValueError: if the optimizer is built, and one of the variables decays.
    """
    if optimizer.built and not any(map(optimizer._use_weight_decay, variables)):
        return
    _check_not_built(optimizer)
    keys = getattr(optimizer, "_exclude_from_weight_decay", set())
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    optimizer.exclude_from_weight_decay(var_list=variables)
    optimizer._exclude_from_weight_decay |= keys
    optimizer._exclude_from_weight_decay_pattern = pattern


def _check_not_built(optimizer):
    if optimizer.built:
        raise ValueError(
            f"Optimizer '{optimizer.name}' is built, and Keras then keeps the choice "
            "of variables. Make a new optimizer, call this first, then `model.compile`."
        )

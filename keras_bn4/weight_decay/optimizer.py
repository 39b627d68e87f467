"""Exclusion of γ and β from an optimizer's decoupled weight decay (Sec. 3.3)."""

import warnings

import keras

from keras_bn4.common.models import check_built, layers_of
from keras_bn4.common.tables import listed
from keras_bn4.weight_decay.graph import NORMALIZERS
from keras_bn4.weight_decay.paths import (
    KINDS,
    affine_variables,
    check_kinds,
    normalization_paths,
)


def exclude_from_weight_decay(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    *,
    decay: str | tuple[str, ...] = "none",
) -> list[keras.Variable]:
    """Chooses which γ and β an optimizer's own weight decay acts on.

    The decoupled `weight_decay` of Keras' optimizers acts on all variables, including γ
    and β, unless they are excluded. This function excludes γ and β of all normalizers
    except those that `decay` names. All other variables decay as before, and variables
    that were excluded before stay excluded.

    The usual choice is `"none"`. The paper finds that decay of γ and β helps in
    residual networks that overfit (+0.9 % accuracy of ResNet-50 on Caltech-256), and
    does not help in networks where few normalizers have a path to the output (-0.1 %
    for Inception-v3). To follow the paper use `decay=("open", "residual")`;
    `normalization_paths` lists these layers.

    An optimizer knows variables by identity, so call this function with the model that
    will be trained: after `keras_bn4.convert`, and before `fit`.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.3.

    Args:
        optimizer: A `keras.optimizers.Optimizer` with a `weight_decay`, not yet built.
        model: A built `keras.Model`.
        decay: The normalizers whose γ and β decay: `"all"`, `"none"`, a kind of layer
            as `normalization_paths` names it, or a tuple of kinds. Kinds need a
            Functional or Sequential model.

    Returns:
        List of the variables that were excluded.

    Raises:
        ValueError: if an argument is not as above, the optimizer is built or has no
            weight decay, or the model has no normalizer with γ or β. The optimizer is
            then unchanged.

    Warns:
        UserWarning: if the optimizer decays a variable that also has a regularizer.

    Examples:
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
            f"Optimizer '{wrapped.name}' has no weight decay: weight_decay=None. "
            "Set `weight_decay=...`, or regularize γ and β instead: "
            "`keras_bn4.convert(model, gamma_regularizer=..., beta_regularizer=...)`."
        )
    _check_not_built(wrapped)
    check_built(model)
    layers = [x for x in layers_of(model, NORMALIZERS) if affine_variables(x)]
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no normalizer with γ or β. Pass a model that "
            "has one, for example a `keras.layers.BatchNormalization`."
        )
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
            f"{len(twice)} variables decay by the optimizer's weight decay and also by "
            f"a regularizer: {listed(twice)}. Remove one of the two, unless you want "
            "both.",
            stacklevel=2,
        )
    return excluded


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
    """Excludes variables from an optimizer's weight decay, besides those excluded.

    Raises:
        ValueError: if the optimizer is built, and one of the variables decays.
    """
    # Private, because no public name says whether a variable decays.
    if optimizer.built and not any(map(optimizer._use_weight_decay, variables)):
        return
    _check_not_built(optimizer)
    # Private, because Keras' public method replaces the earlier exclusions.
    keys = getattr(optimizer, "_exclude_from_weight_decay", set())
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    optimizer.exclude_from_weight_decay(var_list=variables)
    optimizer._exclude_from_weight_decay |= keys
    optimizer._exclude_from_weight_decay_pattern = pattern


def copy_exclusions(optimizer, other, variables, others):
    """Excludes those of `others` whose counterparts an optimizer excludes."""
    optimizer, other = (getattr(o, "inner_optimizer", o) for o in (optimizer, other))
    # Private, because no public name says whether a variable decays.
    decays = map(optimizer._use_weight_decay, variables)
    excluded = [b for decay, b in zip(decays, others) if not decay]
    if excluded:
        other.exclude_from_weight_decay(var_list=excluded)


def _check_not_built(optimizer):
    if optimizer.built:
        raise ValueError(
            f"Optimizer '{optimizer.name}' is built, and Keras excludes no variables "
            "after that. Make a new optimizer, exclude the variables, and then pass "
            "it to `model.compile`."
        )

"""What the values of arguments may be: those of the layers, and numbers anywhere."""

import inspect
import math
import numbers

import keras
import numpy as np

VARIANCE_TRACKING = ("second_moment", "variance")


def check_integer(name, value, least=1):
    """Returns the value as an int, or raises `ValueError`."""
    if not _is_integer(value) or value < least:
        raise ValueError(
            f"Argument `{name}` must be an integer from {least} upwards. "
            f"Received: {name}={value!r}."
        )
    return int(value)


def check_number(name, value, least=-math.inf):
    """Returns a finite number as a float, or raises `ValueError`."""
    if not is_number(value) or not least <= value < math.inf or value == -math.inf:
        sign = "and non-negative " if least == 0 else ""
        raise ValueError(
            f"Argument `{name}` must be a finite {sign}number. "
            f"Received: {name}={value!r}."
        )
    return float(value)


def check_flag(name, value):
    """Returns `True`, `False`, 0 or 1, or raises `ValueError`."""
    if not isinstance(value, (bool, np.bool_, int)) or value not in (0, 1):
        raise ValueError(
            f"Argument `{name}` must be True or False. Received: {name}={value!r}."
        )
    return value


def check_verbose(verbose):
    """Raises `ValueError` unless this is a `verbose` that Keras knows."""
    allowed = (0, 1, 2, "auto")
    if not any(verbose == value for value in allowed):
        raise ValueError(
            'Argument `verbose` must be 0 for silence, or 1, 2 or "auto" for progress. '
            f"Received: verbose={verbose!r}."
        )


def check_function(name, value):
    """Raises `ValueError` unless a value is a function or `None`."""
    if value is not None and not callable(value):
        raise ValueError(
            f"Argument `{name}` must be a function of a layer, or None. "
            f"Received: {name}={value!r}."
        )


def check_example_weight(example_weight):
    """Returns the weight as a float, or raises `ValueError`."""
    if not is_number(example_weight) or not 0 <= example_weight <= 1:
        raise ValueError(
            "Argument `example_weight` is the weight of the example's own statistics "
            "at inference and must be a number from 0 (none, ordinary inference) "
            f"to 1 (nothing else). Received: example_weight={example_weight!r}."
        )
    return float(example_weight)


def check_ghost_batch_size(ghost_batch_size):
    """Returns the size as an int or `None`, or raises `ValueError`."""
    if ghost_batch_size is None:
        return None
    if not _is_integer(ghost_batch_size) or ghost_batch_size < 1:
        raise ValueError(
            "Argument `ghost_batch_size` must be a positive integer, the number of "
            "examples that are normalized together in training, or None for the whole "
            f"batch. Received: ghost_batch_size={ghost_batch_size!r}."
        )
    return int(ghost_batch_size)


def check_variance_tracking(variance_tracking):
    """Returns what the moving variance follows, or raises `ValueError`."""
    if variance_tracking not in VARIANCE_TRACKING:
        raise ValueError(
            'Argument `variance_tracking` must be "second_moment" or "variance". '
            f"Received: variance_tracking={variance_tracking!r}."
        )
    return variance_tracking


def check_groups(groups):
    """Returns the groups as an int, or raises `ValueError`."""
    if not _is_integer(groups) or (groups < 1 and groups != -1):
        raise ValueError(
            "Invalid argument `groups`: it must be a positive integer, the number "
            "of channel groups, or -1 for as many groups as there are channels. "
            f"Received: groups={groups!r}."
        )
    return int(groups)


def check_groups_divide(groups, channels):
    """Raises `ValueError` unless `channels` can be cut into `groups` groups."""
    if groups == -1 or channels % groups == 0:
        return
    sizes = f"the number of channels ({channels})", f"the number of groups ({groups})"
    if groups > channels:
        rule = f"{sizes[1]} cannot be more than {sizes[0]}"
    else:
        rule = f"{sizes[0]} must be divisible by {sizes[1]}"
    raise ValueError(f"T{rule[1:]}. Allowed: {common_divisors([channels])}, or -1.")


def common_divisors(channels):
    """The numbers of groups that divide all of these numbers of channels."""
    largest = math.gcd(*channels)
    return [i for i in range(1, largest + 1) if largest % i == 0]


def check_axis(axis):
    """Returns the axis as an int, or raises `ValueError`."""
    if not _is_integer(axis):
        raise ValueError(
            "Argument `axis` must be an integer, the axis of the channels, such as -1. "
            f"Received: axis={axis!r}."
        )
    return int(axis)


def check_momentum(momentum, name="momentum"):
    """Returns the momentum as a float, or raises `ValueError`."""
    if not is_number(momentum) or not 0 <= momentum <= 1:
        raise ValueError(
            f"Argument `{name}` is the share of the moving statistics that stays in a "
            f"step, and must be a number from 0 to 1. Received: {name}={momentum!r}."
        )
    return float(momentum)


def check_epsilon(epsilon):
    """Returns epsilon as a float, or raises `ValueError`."""
    return check_number("epsilon", epsilon, least=0)


def check_object(name, value):
    """Returns an initializer, a regularizer or a constraint, or raises `ValueError`.

    Args:
        name: String, the name of the argument, which ends with what it is.
        value: Object or `None`, or what Keras makes one of, such as `"l2"`.
    """
    kind = name.rpartition("_")[2]
    if inspect.isclass(value) and kind != "initializer":
        raise ValueError(
            f"Argument `{name}` must be an object and not a class. "
            f"Give `{value.__name__}(...)`. Received: {name}={value!r}."
        )
    try:
        return getattr(keras, f"{kind}s").get(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Argument `{name}` must be an object of `keras.{kind}s`, the name of one, "
            f"or None. Received: {name}={value!r}."
        ) from error


def check_renorm_clipping(clipping):
    """Raises `ValueError` unless this is `None` or what clips the corrections."""
    keys = ("rmax", "rmin", "dmax")
    if clipping is not None and not (
        isinstance(clipping, dict)
        and all(k in keys and is_number(v) for k, v in clipping.items())
    ):
        raise ValueError(
            f"Argument `renorm_clipping` must be None, or a dict of numbers with keys "
            f"among {list(keys)}. Received invalid keys or values: "
            f"renorm_clipping={clipping!r}."
        )


def check_mask(mask, inputs, axis):
    """Raises `ValueError` unless the shape of a mask fits that of the inputs.

    Args:
        mask: What was given as the mask.
        inputs: Tensor with channels along `axis`.
        axis: Non-negative integer.
    """
    shape = tuple(inputs.shape)
    expected = shape[:axis] + shape[axis + 1 :]
    found = getattr(mask, "shape", None)
    if found is not None and getattr(found, "rank", 0) is None:
        return  # A graph of TensorFlow that doesn't know yet.
    fits = found is not None and len(found) == len(expected)
    if fits:
        # `keras.layers.Masking` makes masks of the leading axes, wherever channels are.
        fits = any(
            all(None in (a, b) or a in (1, b) for a, b in zip(tuple(found), sizes))
            for sizes in (expected, shape[:-1])
        )
    if not fits:
        received = f"mask={mask!r}" if found is None else f"mask.shape={tuple(found)}"
        raise ValueError(
            "The mask must have one dimension less than the inputs, all of them but "
            f"the channels': a Boolean tensor of shape {expected}. Received: "
            f"{received}, inputs.shape={shape}, axis={axis}."
        )


FLAGS = ("center", "scale", "renorm", "synchronized", "autocast")
OBJECTS = ("initializer", "regularizer", "constraint")


def check_values(keywords):
    """Raises `ValueError` for values that Keras takes and fails with later.

    Args:
        keywords: Dict of arguments for `keras.layers.BatchNormalization`.
    """
    for name, value in keywords.items():
        if name in FLAGS:
            check_flag(name, value)
        elif name in ("momentum", "renorm_momentum"):
            check_momentum(value, name)
        elif name == "epsilon":
            check_epsilon(value)
        elif name == "renorm_clipping":
            check_renorm_clipping(value)
        elif name.rpartition("_")[2] in OBJECTS:
            check_object(name, value)


def is_number(value):
    """Whether a value is a real number, and not a boolean."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)

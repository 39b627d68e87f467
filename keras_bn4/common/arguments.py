"""Argument validation that several folders share."""

import math
import numbers

import numpy as np


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


def is_number(value):
    """Whether a value is a real number, and not a boolean."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)

"""What the arguments of the layers, and integers anywhere, may be."""

import math
import numbers


def check_integer(name, value, least=1):
    """Returns the value as an int, or raises `ValueError`."""
    if not _is_integer(value) or value < least:
        raise ValueError(
            f"Argument `{name}` must be an integer from {least}. "
            f"Received: {name}={value!r}."
        )
    return int(value)


def check_example_weight(example_weight):
    """Returns the weight as a float, or raises `ValueError`."""
    if (
        isinstance(example_weight, bool)
        or not isinstance(example_weight, numbers.Real)
        or not 0 <= example_weight <= 1
    ):
        raise ValueError(
            "Argument `example_weight` is the share of the example's own statistics "
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
            "Argument `ghost_batch_size` must be a positive integer, the examples "
            "that are normalized together in training, or None for the whole batch. "
            f"Received: ghost_batch_size={ghost_batch_size!r}."
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
    if groups > channels:
        raise ValueError(
            f"Number of groups ({groups}) cannot be more than the number of channels "
            f"({channels})."
        )
    if groups != -1 and channels % groups:
        divisors = common_divisors([channels])
        raise ValueError(
            f"Number of groups ({groups}) doesn't divide the channels ({channels}); in "
            'the words of keras.layers.GroupNormalization it "must be a multiple of '
            f'the number of channels". Allowed: {divisors}, or -1.'
        )


def common_divisors(channels):
    """The numbers of groups that divide all of these numbers of channels."""
    largest = math.gcd(*channels)
    return [i for i in range(1, largest + 1) if largest % i == 0]


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)

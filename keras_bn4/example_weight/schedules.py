"""How the example weight is spread over the layers of a model, from first to last."""

from collections.abc import Callable

from keras_bn4.common.arguments import check_example_weight

# The name of a schedule, or a function of an example weight and a relative depth.
Schedule = str | Callable[[float, float], float]


def uniform(example_weight, depth):
    """The same weight in all layers."""
    return example_weight


def falling(example_weight, depth):
    """The weight itself in the first layer, falling linearly to 0 in the last one."""
    return example_weight * (1 - depth)


SCHEDULES = {"uniform": uniform, "falling": falling}


def check_schedule(schedule):
    """Raises `ValueError` unless this is the name of a schedule, or a function."""
    is_name = isinstance(schedule, str) and schedule in SCHEDULES
    if not is_name and not callable(schedule):
        raise ValueError(
            f"Argument `schedule` must be one of {list(SCHEDULES)}, or a function of "
            "an example weight and a relative depth from 0 (the first layer) to 1 (the "
            f"last) that returns the weight of that layer. Received: {schedule!r}."
        )


def schedule_name(schedule):
    """The name of a schedule in tables and messages."""
    if isinstance(schedule, str):
        return schedule
    return getattr(schedule, "__name__", None) or repr(schedule)


def layer_weights(schedule, example_weight, count):
    """The weights of all layers.

    Args:
        schedule: `"uniform"`, `"falling"`, or a function `(example_weight, depth)`.
        example_weight: Float from 0 to 1.
        count: Integer, the number of layers. The first of them has depth 0, also where
            it is the only one, and the last has depth 1.

    Raises:
        ValueError: if the schedule doesn't return floats from 0 to 1, or not 0 at
            weight 0, which sweeps compare with.

    Examples:
        >>> layer_weights("falling", 0.3, 4)
        [0.3, 0.2, 0.1, 0.0]
    """
    function = SCHEDULES.get(schedule, schedule)
    weights = []
    for i in range(count):
        depth = i / (count - 1) if count > 1 else 0.0
        weight = function(example_weight, depth)
        try:
            weight = check_example_weight(weight)
            if weight != example_weight:
                # Without the digits that are there by rounding, as in
                # 0.19999999999999998.
                weight = round(weight, 12)
            if not example_weight and weight:
                raise ValueError("At weight 0 a schedule must return 0.")
        except ValueError as error:
            raise ValueError(
                f"Schedule {schedule_name(schedule)} returned {weight!r} for "
                f"example_weight={example_weight:g} at depth {depth:g}. {error}"
            ) from error
        weights.append(weight)
    return weights

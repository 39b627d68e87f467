"""What a sweep can be given: weights, schedules, sizes, directions and data."""

import inspect

import keras
import numpy as np

from keras_bn4.common.arguments import check_example_weight, check_integer
from keras_bn4.common.batches import NO_END, are_arrays, check_data, check_examples
from keras_bn4.example_weight.schedules import check_schedule, schedule_name

EXAMPLE_WEIGHTS = (
    *(0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1),
    *(0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9),
)

EMPTY = "The data set is empty. Give at least one example."


def check_weights(example_weights):
    """Returns the weights to sweep, ascending and with 0, or raises `ValueError`."""
    if isinstance(example_weights, str) or not hasattr(example_weights, "__iter__"):
        raise ValueError(
            "Argument `example_weights` must be a sequence of numbers from 0 to 1. "
            f"Received: example_weights={example_weights!r}."
        )
    return sorted({0.0, *map(check_example_weight, example_weights)})


def check_schedules(schedule):
    """Returns the schedules to sweep as a list, or raises `ValueError`."""
    schedules = schedule if isinstance(schedule, (list, tuple)) else [schedule]
    if not schedules:
        raise ValueError(
            f"Argument `schedule` must not be empty. Received: schedule={schedule!r}."
        )
    for one in schedules:
        check_schedule(one)
    names = [schedule_name(one) for one in schedules]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                "Argument `schedule` must hold schedules of different names, by which "
                f"tables call them. Received: {names.count(name)} of name {name!r}."
            )
    return list(schedules)


def check_sizes(**sizes):
    """Raises `ValueError` unless all are positive integers or `None`."""
    for name, value in sizes.items():
        if value is not None:
            check_integer(name, value)


def check_mode(mode):
    """Raises `ValueError` unless it says what is best, for all metrics or by metric."""
    for value in mode.values() if isinstance(mode, dict) else [mode]:
        if value not in (None, "min", "max"):
            raise ValueError(
                'Argument `mode` must be "min", "max", None, or a dict of these by '
                f"metric. Received: mode={mode!r}."
            )


def check_swept_data(x, y, sample_weight, batch_size, steps):
    """Returns data in a form that `evaluate` takes, or raises `ValueError`."""
    leaves = keras.tree.flatten(x)
    if are_arrays(x):
        _check_arrays(x=x, y=y, sample_weight=sample_weight)
    elif isinstance(x, (list, tuple, dict)) and leaves:
        # `evaluate` takes these for a nest of arrays.
        check_examples(x=x)
    elif leaves:
        check_data(x)
        if batch_size is not None:
            raise ValueError(
                "Argument `batch_size` can only be used with arrays, and a "
                f"{type(x).__name__} has batches already. Received: "
                f"batch_size={batch_size}."
            )
    if not leaves or any(
        hasattr(leaf, "shape") and leaf.shape[:1] == (0,) for leaf in leaves
    ):
        raise ValueError(EMPTY)
    if steps is None and getattr(x, "cardinality", lambda: 0)() == -1:
        raise ValueError(NO_END)
    # Of iterables that are no data sets Keras takes generators alone.
    is_other_iterator = hasattr(x, "__next__") and not inspect.isgenerator(x)
    return (batch for batch in x) if is_other_iterator else x


def _check_arrays(**data):
    """Raises `ValueError` for arrays that `evaluate` fails with, or takes wrongly."""
    check_examples(**data)
    for name, nest in data.items():
        for leaf in keras.tree.flatten(nest):
            if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "OSU":
                continue
            # TensorFlow alone has tensors of strings, and takes them in this form.
            is_text = leaf.dtype.kind == "O" and all(
                isinstance(x, (str, bytes)) for x in leaf.flat
            )
            if not (is_text and keras.backend.backend() == "tensorflow"):
                raise ValueError(
                    f"Argument `{name}` must hold numbers. Received: an array of "
                    f"dtype {leaf.dtype}."
                )

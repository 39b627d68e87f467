"""Validation of the arguments of a sweep, and of the data that it reads."""

import contextlib
import inspect

import keras
import numpy as np

from keras_bn4.common.arguments import check_example_weight, check_integer
from keras_bn4.common.batches import NO_END, are_arrays, check_data, check_examples
from keras_bn4.common.errors import is_of_tensorflow, reason_of
from keras_bn4.example_weight.evaluation import SweptAlready
from keras_bn4.example_weight.example_values import direction, metrics_by_name
from keras_bn4.example_weight.schedules import check_schedule, schedule_name
from keras_bn4.example_weight.sweep_result import COLUMNS, FITTED

EXAMPLE_WEIGHTS = (
    *(0.0, 0.0025, 0.005, 0.01, 0.02, 0.03),
    *(0.05, 0.08, 0.125, 0.2, 0.4, 0.9),
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
    """Raises `ValueError` for arrays that `evaluate` fails on, or misinterprets."""
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


@contextlib.contextmanager
def explained(model, x, y):
    """Explains errors of an evaluation by what is wrong with the data."""
    try:
        yield
    except SweptAlready:
        raise
    except Exception as error:
        if y is None and are_arrays(x):
            raise ValueError(
                f"The data have no labels, and model '{model.name}' seems to need them "
                f"for its loss or metrics ({type(error).__name__}: "
                f"{reason_of(error)}). Give `y`, or batches `(x, y)`."
            ) from error
        # Keras' losses expect labels of another rank.
        if isinstance(error, ValueError) and "(ndim)" in str(error):
            raise ValueError(
                f"Model '{model.name}' cannot be evaluated on these labels: "
                f"{reason_of(error)}. Give integers where its loss is "
                "sparse_categorical_crossentropy, and one-hot labels where it is "
                "categorical_crossentropy."
            ) from error
        if is_of_tensorflow(error) and "IteratorGetNext" in str(error):
            raise ValueError(f"The data cannot be read: {reason_of(error)}.") from error
        # What a backend finds only while it computes.
        if is_of_tensorflow(error) or isinstance(error, IndexError):
            raise ValueError(
                f"Model '{model.name}' cannot be evaluated on these data: "
                f"{reason_of(error)}. Give labels that fit the outputs of the model, "
                "such as class numbers below their number."
            ) from error
        raise


def modes_of(mode, names, model):
    """The direction of each metric: as given, or else as the metric declares it."""
    columns = ["schedule", "example_weight"]
    columns += [f"{name}{column}" for name in names for column in (*COLUMNS, *FITTED)]
    for name in names:
        if columns.count(name) > 1:
            raise ValueError(
                f"A metric is named {name!r}, as another column of a sweep's rows. "
                "Compile the model with another name for it: every metric of Keras "
                f"takes one, as in `keras.metrics.Mean(name='my_{name}')`."
            )
    metrics = metrics_by_name(model)
    order = [name for name in metrics if name in names]
    names = list(dict.fromkeys([*order, *names]))
    given = mode if isinstance(mode, dict) else dict.fromkeys(names, mode)
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(
            f"Unknown metrics {unknown}. Model '{model.name}' reports {names}: name "
            "some of these, or compile the model with the missing metric."
        )
    return {name: given.get(name) or direction(name, metrics) for name in names}

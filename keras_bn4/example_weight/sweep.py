"""Evaluates a model at many example weights in one pass over the data (Sec. 3.1)."""

import collections
import contextlib
import inspect
import math
import warnings

import keras
import numpy as np

from keras_bn4.common.arguments import (
    check_example_weight,
    check_integer,
    check_verbose,
)
from keras_bn4.common.batches import check_data, check_examples
from keras_bn4.common.errors import reason_of
from keras_bn4.common.models import check_compiled
from keras_bn4.example_weight.evaluation import evaluate_at_settings, flat
from keras_bn4.example_weight.example_values import direction, metrics_by_name
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.example_weight.sweep_result import ExampleWeightSweep, PairedDifference

EXAMPLE_WEIGHTS = (
    *(0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1),
    *(0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9),
)


def sweep_example_weight(
    model,
    x,
    y=None,
    *,
    example_weights=EXAMPLE_WEIGHTS,
    sample_weight=None,
    batch_size=None,
    steps=None,
    mode=None,
    verbose="auto",
):
    """Evaluates a compiled model at many example weights, in one pass over the data.

    The example weight (Sec. 3.1) needs no training. Choose it on validation data, and
    for each metric by itself: loss and accuracy often have different best weights. It
    is not Keras' `sample_weight`, which says how much an example counts in a metric.

    A sweep is `model.evaluate` at every example weight. It takes the data, losses,
    metrics and outputs that `evaluate` takes, runs the test step of the model, its own
    one included, and agrees with `evaluate` in all results. Every batch is evaluated at
    every weight before the next one is read, so that a data set that shuffles is
    compared with itself. The model is afterwards as it was.

    Args:
        model: A built and compiled `keras.Model` with layers of this package (see
            `keras_bn4.convert`).
        x: Data as `model.evaluate` takes them: arrays with the examples along their
            first axis, a `tf.data.Dataset`, a `keras.utils.PyDataset`, and so on, or
            another iterator of batches.
        y: Labels, where `x` is arrays.
        example_weights: Floats from 0 to 1. 0 is always evaluated, to compare with.
        sample_weight: Weights of the examples, where `x` is arrays.
        batch_size: Positive integer, 32 by default, where `x` is arrays.
        steps: Positive integer, how many batches to use, or `None` for all.
        mode: `"min"` or `"max"`, or a dict of these by metric, what is best. `None`
            asks the metric, which Keras' own ones answer.
        verbose: As in `model.evaluate`: 0 for silence, 1 or `"auto"` for a progress
            bar over batches, which shows the metrics at weight 0.

    Returns:
        An `ExampleWeightSweep`.

    Raises:
        ValueError: if an argument is not as above, the model has no layer of this
            package or is not compiled, or the data are empty or lack labels.
        RuntimeError: if the model is in another sweep.

    Example:

    >>> import numpy as np
    >>> from keras_bn4 import GhostBatchNormalization
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, GhostBatchNormalization()(inputs))
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> sweep = sweep_example_weight(model, x, x, example_weights=[0.1], verbose=0)
    >>> sweep.best("loss")["example_weight"]
    0.0
    """
    weights = checked_weights(example_weights)
    check_mode(mode)
    layers = weighing_layers(model)
    check_compiled(model)
    check_sizes(batch_size=batch_size, steps=steps)
    check_verbose(verbose)
    x = _checked_data(x, y, sample_weight, batch_size, steps)
    differences = _Differences(model, len(weights), mode)
    given = {"y": y, "sample_weight": sample_weight}
    given |= {"batch_size": batch_size, "steps": steps}
    with warnings.catch_warnings():
        if steps is None:
            # Keras warns at the end of any data whose length it doesn't know.
            warnings.filterwarnings("ignore", "Your input ran out of data")
        with _explained(model, x, y):
            results = evaluate_at_settings(
                model,
                layers,
                [[weight] * len(layers) for weight in weights],
                differences.add,
                x,
                verbose=verbose,
                **{name: value for name, value in given.items() if value is not None},
            )
    if not results:
        raise ValueError("The data set is empty. Give at least one example.")
    rows = []
    for i, (weight, result) in enumerate(zip(weights, results)):
        row = {"example_weight": weight}
        for name in differences.modes:
            value = result[name]
            difference = value - results[0][name]
            half = differences.half_width(i, name, value, results[0][name])
            row[name] = value
            row[f"{name}_difference"] = difference
            row[f"{name}_difference_lower"] = difference - half
            row[f"{name}_difference_upper"] = difference + half
        rows.append(row)
    return ExampleWeightSweep(rows, differences.modes)


class _Differences:
    """Paired differences of every setting to the first one, added step by step."""

    def __init__(self, model, settings, mode):
        self.modes = None
        self._model = model
        self._mode = mode
        self._by_example, self._by_batch = (
            [collections.defaultdict(PairedDifference) for _ in range(settings)]
            for _ in range(2)
        )

    def add(self, i, step):
        """Adds a step at a setting; that of the first setting comes first."""
        names = [name for name, _ in flat(step.logs)]
        if self.modes is None:
            self.modes = _modes(self._mode, names, self._model)
        if i == 0:
            self._baseline = step
        for name in names:
            if name in step.example_values and name in self._baseline.example_values:
                values, weights = step.example_values[name]
                baseline, _ = self._baseline.example_values[name]
                self._by_example[i][name].add(values, baseline, weights)
            batch, baseline = (s.batch_value(name) for s in (step, self._baseline))
            if batch is not None and baseline is not None:
                pair = ([batch[0]], [baseline[0]], [batch[1]])
                self._by_batch[i][name].add(*pair)

    def half_width(self, i, name, value, baseline):
        """Half the width of the 95 % interval of a difference, or NaN without one."""
        by_example = self._by_example[i].get(name)
        # Where they don't add up to the difference, something else is in the metric.
        tolerance = 1e-4 * max(abs(value), abs(baseline), 1e-3)
        if by_example and abs(by_example.mean() - (value - baseline)) <= tolerance:
            return by_example.half_width()
        by_batch = self._by_batch[i].get(name)
        return by_batch.half_width() if by_batch else math.nan


def _checked_data(x, y, sample_weight, batch_size, steps):
    """The data in a form that `evaluate` takes, or a `ValueError`."""
    leaves = keras.tree.flatten(x)
    if _are_arrays(x):
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
        raise ValueError("The data set is empty. Give at least one example.")
    if steps is None and getattr(x, "cardinality", lambda: 0)() == -1:
        raise ValueError(
            "The data set has no end. Say how many batches to use with `steps`."
        )
    # Of iterables that are no data sets Keras takes generators alone.
    is_other_iterator = hasattr(x, "__next__") and not inspect.isgenerator(x)
    return (batch for batch in x) if is_other_iterator else x


def _are_arrays(x):
    return all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(x))


def _check_arrays(**data):
    """Raises `ValueError` for arrays that `evaluate` fails with, or takes wrongly."""
    check_examples(**data)
    for name, nest in data.items():
        for leaf in keras.tree.flatten(nest):
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSU":
                raise ValueError(
                    f"Argument `{name}` must hold numbers. Received: an array of "
                    f"dtype {leaf.dtype}."
                )


@contextlib.contextmanager
def _explained(model, x, y):
    """Says why an evaluation fails where labels are missing or not as expected."""
    try:
        yield
    except Exception as error:
        if y is None and _are_arrays(x):
            raise ValueError(
                f"The data have no labels, and model '{model.name}' seems to need them "
                f"for its loss or metrics ({type(error).__name__}: "
                f"{reason_of(error)}). Give `y`, or batches `(x, y)`."
            ) from error
        # What a backend finds only while it computes.
        is_of_tensorflow = type(error).__module__.startswith("tensorflow.")
        if is_of_tensorflow or isinstance(error, IndexError):
            raise ValueError(
                f"Model '{model.name}' can't be evaluated on these data: "
                f"{reason_of(error)}. Give labels that fit the outputs of the model, "
                "such as class numbers below their number."
            ) from error
        raise


def _modes(mode, names, model):
    """Each metric's direction: as given, else as the metric says itself."""
    metrics = metrics_by_name(model)
    order = [name for name in metrics if name in names]
    names = [*order, *(name for name in names if name not in order)]
    given = mode if isinstance(mode, dict) else dict.fromkeys(names, mode)
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(
            f"Unknown metrics {unknown}. Model '{model.name}' reports {names}: name "
            "some of these, or compile the model with the missing metric."
        )
    return {name: given.get(name) or direction(name, metrics) for name in names}


def checked_weights(example_weights):
    """The example weights to sweep, ascending and with 0, or a `ValueError`."""
    if isinstance(example_weights, str) or not hasattr(example_weights, "__iter__"):
        raise ValueError(
            "Argument `example_weights` must be a sequence of numbers from 0 to 1. "
            f"Received: example_weights={example_weights!r}."
        )
    return sorted({0.0, *map(check_example_weight, example_weights)})


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

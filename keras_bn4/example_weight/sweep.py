"""Evaluates a model at many example weights in one pass over the data (Sec. 3.1)."""

import collections
import contextlib
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence

import keras

from keras_bn4.common.arguments import check_verbose
from keras_bn4.common.batches import are_arrays
from keras_bn4.common.errors import reason_of
from keras_bn4.common.models import check_compiled
from keras_bn4.common.tables import verbose_of_evaluation
from keras_bn4.example_weight.evaluation import SweptAlready, evaluate_at_settings
from keras_bn4.example_weight.example_values import direction, metrics_by_name
from keras_bn4.example_weight.paired_difference import PairedDifference
from keras_bn4.example_weight.schedules import Schedule, layer_weights
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.example_weight.steps import flat
from keras_bn4.example_weight.sweep_arguments import (
    EMPTY,
    EXAMPLE_WEIGHTS,
    check_mode,
    check_sizes,
    checked_data,
    checked_schedules,
    checked_weights,
)
from keras_bn4.example_weight.sweep_result import COLUMNS, ExampleWeightSweep


def sweep_example_weight(
    model: keras.Model,
    x,
    y=None,
    *,
    example_weights: Iterable[float] = EXAMPLE_WEIGHTS,
    schedule: Schedule | Sequence[Schedule] = "uniform",
    sample_weight=None,
    batch_size: int | None = None,
    steps: int | None = None,
    mode: str | Mapping[str, str] | None = None,
    verbose: str | int = "auto",
) -> ExampleWeightSweep:
    """Evaluates a compiled model at many example weights, in one pass over the data.

    The example weight (Sec. 3.1) needs no training. Choose it on validation data, and
    for each metric by itself: loss and accuracy often have different best weights. It
    is not Keras' `sample_weight`, which says how much an example counts in a metric.

    A sweep is `model.evaluate` at every example weight. It takes the data, losses,
    metrics and outputs that `evaluate` takes, runs the test step of the model, its own
    one included, and agrees with `evaluate` in all results. Every batch is evaluated at
    every weight before the next one is read, so that a data set that shuffles is
    compared with itself. The model is afterwards as it was. While the sweep runs, it is
    at one weight after another: what another thread predicts with it meanwhile is at
    any of them. A copy of the model can be swept beside that (`copy.deepcopy`).

    Args:
        model: A built and compiled `keras.Model` with layers of this package (see
            `keras_bn4.convert`).
        x: Data as `model.evaluate` takes them: arrays with the examples along their
            first axis, a `tf.data.Dataset`, a `keras.utils.PyDataset`, and so on, or
            another iterator of batches.
        y: Labels, where `x` is arrays.
        example_weights: Floats from 0 to 1. 0 is always evaluated, to compare with.
        schedule: How a weight is spread over the layers, as
            `keras_bn4.set_example_weight` takes it: `"uniform"`, `"falling"`, or a
            function that returns 0 at weight 0. Or a list of several of these, which
            are all evaluated in the same pass.
        sample_weight: Weights of the examples, where `x` is arrays.
        batch_size: Positive integer, 32 by default, where `x` is arrays.
        steps: Positive integer, how many batches to use, or `None` for all.
        mode: `"min"` or `"max"`, or a dict of these by metric, what is best. `None`
            asks the metric, which Keras' own ones answer.
        verbose: As in `model.evaluate`: 0 for silence, 1 or `"auto"` for a progress
            bar over batches, which shows the metrics at weight 0. Where that can't be
            drawn, such as in a file, a line is printed every half a minute at most.

    Returns:
        An `ExampleWeightSweep`. It warns of metrics that are NaN at some weight.

    Raises:
        ValueError: if an argument is not as above, the model has no layer of this
            package or is not compiled, the data are empty or lack labels, or a metric
            has the name of another column, such as `"example_weight"`.
        RuntimeError: if the model is in another sweep.

    Example:

    >>> import keras, keras_bn4, numpy as np
    >>> inputs = keras.Input((4,))
    >>> outputs = keras_bn4.GhostBatchNormalization()(inputs)
    >>> model = keras.Model(inputs, outputs)
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> sweep = sweep_example_weight(model, x, x, example_weights=[0.1], verbose=0)
    >>> best = sweep.best("loss")
    >>> best["schedule"], best["example_weight"]
    ('uniform', 0.0)
    >>> keras_bn4.set_example_weight(model, best)
    """
    weights = checked_weights(example_weights)
    schedules = checked_schedules(schedule)
    check_mode(mode)
    layers = weighing_layers(model)
    check_compiled(model)
    check_sizes(batch_size=batch_size, steps=steps)
    check_verbose(verbose)
    x = checked_data(x, y, sample_weight, batch_size, steps)
    settings = [
        (schedule, weight, tuple(layer_weights(schedule, weight, len(layers))))
        for schedule in schedules
        for weight in weights
    ]
    # Some are the same, above all those at weight 0. That one comes first.
    distinct = list(dict.fromkeys(of_layers for _, _, of_layers in settings))
    found = _Differences(model, len(distinct), mode)
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
                distinct,
                found.add,
                x,
                verbose=verbose_of_evaluation(verbose),
                **{name: value for name, value in given.items() if value is not None},
            )
    if not results:
        raise ValueError(EMPTY)
    rows = []
    for schedule, weight, of_layers in settings:
        i = distinct.index(of_layers)
        row = {"schedule": schedule, "example_weight": weight}
        for name in found.modes:
            row |= found.columns(i, name, results[i][name], results[0][name])
        rows.append(row)
    sweep = ExampleWeightSweep(rows, found.modes)
    for remark in sweep.remarks_on_nan():
        warnings.warn(remark, stacklevel=2)
    return sweep


class _Differences:
    """Paired differences of every setting to the first one, added step by step."""

    def __init__(self, model, settings, mode):
        self.modes = None
        self._model = model
        self._mode = mode
        self._paired = [
            collections.defaultdict(PairedDifference) for _ in range(settings)
        ]

    def add(self, logs, example_values):
        """Adds a step, as `evaluate_at_settings` hands it over."""
        if self.modes is None:
            names = [name for name, _ in flat(logs[0])]
            self.modes = _modes(self._mode, names, self._model)
        first = example_values[0]
        for paired, at_setting in zip(self._paired, example_values):
            for name in first.keys() & at_setting.keys():
                paired[name].add(*at_setting[name], first[name][0])

    def columns(self, i, metric, value, baseline):
        """What the row of a setting has of a metric, by the names of its columns."""
        difference = value - baseline
        paired = self._paired[i][metric]
        # Where the examples don't add up to it, something else is in the metric.
        tolerance = 1e-4 * max(abs(value), abs(baseline), 1e-3)
        adds_up = abs(paired.mean() - difference) <= tolerance
        half = paired.half_width() if adds_up else math.nan
        values = (value, difference, difference - half, difference + half)
        return {f"{metric}{column}": v for column, v in zip(COLUMNS, values)}


@contextlib.contextmanager
def _explained(model, x, y):
    """Says why an evaluation fails where labels are missing or not as expected."""
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
        # What Keras' losses say where labels have another rank than they expect.
        if isinstance(error, ValueError) and "(ndim)" in str(error):
            raise ValueError(
                f"Model '{model.name}' can't be evaluated on these labels: "
                f"{reason_of(error)}. Give integers where its loss is "
                "sparse_categorical_crossentropy, and one-hot labels where it is "
                "categorical_crossentropy."
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
    _check_names(names)
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


def _check_names(metrics):
    """Raises `ValueError` for metrics whose columns other columns would overwrite."""
    columns = ["schedule", "example_weight"]
    columns += [f"{metric}{column}" for metric in metrics for column in COLUMNS]
    for metric in metrics:
        if columns.count(metric) > 1:
            raise ValueError(
                f"A metric is named {metric!r}, as another column of a sweep's rows. "
                "Compile the model with another name for it: every metric of Keras "
                f"takes one, as in `keras.metrics.Mean(name='my_{metric}')`."
            )

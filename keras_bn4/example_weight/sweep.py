"""Evaluates a model at many example weights in one pass over the data (Sec. 3.1)."""

import collections
import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

from keras_bn4.common.arguments import check_verbose
from keras_bn4.common.models import check_compiled
from keras_bn4.common.tables import verbose_of_evaluation
from keras_bn4.example_weight.curve import Curve
from keras_bn4.example_weight.evaluation import evaluate_at_settings
from keras_bn4.example_weight.paired_differences import PairedDifferences
from keras_bn4.example_weight.schedules import (
    Schedule,
    layer_weights,
    schedule_name,
)
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.example_weight.steps import flat
from keras_bn4.example_weight.sweep_arguments import (
    EMPTY,
    EXAMPLE_WEIGHTS,
    check_mode,
    check_schedules,
    check_sizes,
    check_swept_data,
    check_weights,
    explained,
    modes_of,
)
from keras_bn4.example_weight.sweep_result import (
    COLUMNS,
    ExampleWeightSweep,
)
from keras_bn4.example_weight.sweep_text import faults
from keras_bn4.example_weight.untrained import loss_of_guessing, why_untrained


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

    The example weight (Sec. 3.1) needs no training. Choose it on validation data,
    separately for each metric: loss and accuracy often have different best weights. It
    is not Keras' `sample_weight`, which says how much an example counts in a metric.

    A sweep is `model.evaluate` at every example weight. It takes the data, losses,
    metrics and outputs that `evaluate` takes, runs the test step of the model, its own
    one included, and agrees with `evaluate` in all results. Every batch is evaluated at
    every weight before the next one is read, so that a data set that shuffles is
    compared with itself. The model is left as it was. While the sweep runs, its weight
    changes, also for predictions of another thread: sweep a copy of the model then
    (`copy.deepcopy`).

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
        An `ExampleWeightSweep`. It warns of metrics that are NaN at some weight, and
        if a model looks untrained at weight 0: its loss is above that of guessing,
        or a weight of 0.3 or more gains over 5 points, beyond the interval. It is given
        images of another range than in training then, or its moving statistics lag (see
        `keras_bn4.recalibrate`), and no weight makes up for that.

    Raises:
        ValueError: if an argument is not as above, the model has no layer of this
            package or is not compiled, the data are empty or lack labels, or a metric
            has the name of another column, such as `"example_weight"`.
        RuntimeError: if the model is in another sweep.

    Examples:
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
    weights = check_weights(example_weights)
    schedules = check_schedules(schedule)
    check_mode(mode)
    layers = weighing_layers(model)
    check_compiled(model)
    check_sizes(batch_size=batch_size, steps=steps)
    check_verbose(verbose)
    x = check_swept_data(x, y, sample_weight, batch_size, steps)
    settings = [
        (schedule, weight, tuple(layer_weights(schedule, weight, len(layers))))
        for schedule in schedules
        for weight in weights
    ]
    # Some are the same, above all those at weight 0. That one comes first.
    distinct = list(dict.fromkeys(of_layers for _, _, of_layers in settings))
    paired: dict[str, PairedDifferences] = collections.defaultdict(PairedDifferences)
    modes: dict[str, str | None] = {}

    def on_step(logs, example_values):
        # In the first step, so that an unknown metric ends the sweep there.
        if not modes:
            modes.update(modes_of(mode, [name for name, _ in flat(logs[0])], model))
        for name in set.intersection(*map(set, example_values)):
            paired[name].add(*zip(*(values[name] for values in example_values)))

    given = {"y": y, "sample_weight": sample_weight}
    given |= {"batch_size": batch_size, "steps": steps}
    with warnings.catch_warnings():
        if steps is None:
            # Keras warns at the end of any data whose length it doesn't know.
            warnings.filterwarnings("ignore", "Your input ran out of data")
        with explained(model, x, y):
            results = evaluate_at_settings(
                model,
                layers,
                distinct,
                on_step,
                x,
                verbose=verbose_of_evaluation(verbose),
                **{name: value for name, value in given.items() if value is not None},
            )
    if not results:
        raise ValueError(EMPTY)
    columns: dict[str, list] = {}
    for metric in modes:
        values = [result[metric] for result in results]
        columns |= _columns(metric, values, paired[metric])
    rows = [
        {"schedule": schedule, "example_weight": weight}
        | {name: values[distinct.index(of_layers)] for name, values in columns.items()}
        for schedule, weight, of_layers in settings
    ]
    curves = {}
    for metric, of_schedule in itertools.product(modes, schedules):
        of_metric, differences = paired[metric], columns[f"{metric}_difference"]
        adds_up = np.allclose(of_metric.means, differences, atol=1e-6)
        if modes[metric] == "max" and of_metric.are_shares and adds_up:
            places = [
                distinct.index(of_layers)
                for schedule, weight, of_layers in settings
                if schedule == of_schedule and weight
            ]
            curves[metric, schedule_name(of_schedule)] = Curve.fitted(
                weights[1:],
                -of_metric.means[places],
                of_metric.covariance[np.ix_(places, places)],
                of_metric.count,
            )
    shares = {metric for metric, _ in curves}
    untrained = why_untrained(rows, shares, loss_of_guessing(model))
    sweep = ExampleWeightSweep(rows, modes, curves, untrained)
    for remark in faults(sweep):
        warnings.warn(remark, stacklevel=2)
    return sweep


def _columns(metric, values, paired):
    """The columns of a metric: lists with an element for each setting."""
    values = np.array(values)
    # Of infinite losses.
    with np.errstate(invalid="ignore"):
        differences = values - values[0]
        # Where examples don't add up to it, something else is in the metric.
        scale = np.maximum(np.maximum(abs(values), abs(values[0])), 1e-3)
        add_up = abs(paired.means - differences) <= 1e-4 * scale
        half = np.where(add_up, paired.half_widths, math.nan)
        found = (values, differences, differences - half, differences + half)
    return {f"{metric}{column}": x.tolist() for column, x in zip(COLUMNS, found)}

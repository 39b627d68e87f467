"""The weight of an example's own statistics at inference: set it, and find it."""

import collections
import csv
import itertools
import math

import keras
import numpy as np

from keras_bn4 import evaluation
from keras_bn4.layers import GhostBatchNormalization, check_example_weight

EXAMPLE_WEIGHTS = (
    *(0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1),
    *(0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9),
)


def weighing_layers(model):
    """The layers of a model that have an example weight.

    Raises:
        ValueError: if there are none.
    """
    layers = model._flatten_layers()
    layers = [x for x in layers if isinstance(x, GhostBatchNormalization) and x.built]
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no layer of keras_bn4, or isn't built. Convert "
            "it first: `model = keras_bn4.convert(model)`."
        )
    return layers


def set_example_weight(model, example_weight):
    """Sets `example_weight` of all layers of ours in a model.

    It takes effect in functions that are already compiled.

    Args:
        model: A built `keras.Model` with layers of ours.
        example_weight: Float from 0 to 1.

    Raises:
        ValueError: if the weight is not as above or the model has no such layer.

    Example:

    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, GhostBatchNormalization()(inputs))
    >>> set_example_weight(model, 0.05)
    >>> model.layers[-1].example_weight
    0.05
    """
    check_example_weight(example_weight)
    for layer in weighing_layers(model):
        layer.example_weight = example_weight


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

    The example weight (Sec. 3.1) needs no training and is best chosen on validation
    data, for each metric by itself: loss and accuracy often want different ones. It is
    not Keras' `sample_weight`, which says how much an example counts in a metric.

    Every batch is evaluated at every weight before the next one is read, so that a data
    set that shuffles is compared with itself. Losses and metrics are the compiled ones,
    as `model.evaluate` computes them; a custom `test_step` is not called. The model
    keeps the weights it had.

    Args:
        model: A built and compiled `keras.Model` with layers of ours (see
            `keras_bn4.convert`).
        x: Arrays with the examples along their first axis, a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, or another iterable of batches.
        y: Labels, where `x` is arrays.
        example_weights: Floats from 0 to 1. 0 is always evaluated, to compare with.
        sample_weight: Weights of the examples, where `x` is arrays.
        batch_size: Positive integer, 32 by default, where `x` is arrays.
        steps: Positive integer, how many batches to use, or `None` for all.
        mode: `"min"` or `"max"`, or a dict of these by metric, what is best. `None`
            asks the metric, which Keras' own ones answer.
        verbose: 0 or `"auto"`/1, whether to show a progress bar.

    Returns:
        An `ExampleWeightSweep`.

    Raises:
        ValueError: if an argument is not as above, the model has no layer of ours or is
            not compiled, or the data are empty or lack labels.

    Example:

    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, GhostBatchNormalization()(inputs))
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> sweep = sweep_example_weight(model, x, x, example_weights=[0.1], verbose=0)
    >>> sweep.best("loss")["example_weight"]
    0.0
    """
    weights = sorted({0.0, *map(check_example_weight, example_weights)})
    layers = weighing_layers(model)
    if not model.compiled:
        raise ValueError(
            f"Model '{model.name}' isn't compiled, so there is no loss or metric to "
            "sweep. Call `model.compile(loss=..., metrics=[...])` first."
        )
    batches, count = evaluation.batches(x, y, sample_weight, batch_size, steps)
    batches = (batch for batch in batches if len(keras.tree.flatten(batch[0])[0]))
    first = next(batches, None)
    if first is None:
        raise ValueError("The data set is empty. Give at least one example.")
    if first[1] is None:
        raise ValueError(
            f"The data have no labels, and model '{model.name}' needs them for its loss "
            "or metrics. Give `y`, or batches `(x, y)`."
        )
    evaluator = evaluation.Evaluator(model, first)
    modes = _modes(mode, evaluator)
    evaluations = [evaluator.new() for _ in weights]
    differences = [collections.defaultdict(PairedDifference) for _ in weights]
    before = [layer.example_weight for layer in layers]
    target = None if count is None else count * len(weights)
    progress = keras.utils.Progbar(target, verbose=int(bool(verbose)))
    try:
        for batch in itertools.chain([first], batches):
            for i, weight in enumerate(weights):
                for layer in layers:
                    layer.example_weight = weight
                evaluator.add(evaluations[i], batch)
                for name, (values, shares) in evaluations[i].examples.items():
                    baseline = evaluations[0].examples[name][0]
                    differences[i][name].add(values, baseline, shares)
                progress.add(1)
    finally:
        for layer, weight in zip(layers, before):
            layer.example_weight = weight
    rows = []
    for weight, one, paired in zip(weights, evaluations, differences):
        row = {"example_weight": weight}
        for name, value in one.metrics.items():
            difference = value - evaluations[0].metrics[name]
            half = paired[name].half_width() if name in paired else math.nan
            row[name] = value
            row[f"{name}_difference"] = difference
            row[f"{name}_difference_lower"] = difference - half
            row[f"{name}_difference_upper"] = difference + half
        rows.append(row)
    return ExampleWeightSweep(rows, modes)


class PairedDifference:
    """The 95 % interval of a weighted mean of paired differences, added by batches."""

    def __init__(self):
        self.sums = np.zeros(5)
        self.count = 0

    def add(self, values, baseline, weights):
        d = np.asarray(values, "float64") - np.asarray(baseline, "float64")
        w = np.broadcast_to(np.asarray(weights, "float64"), d.shape)
        self.sums += [t.sum() for t in (w, w * w, w * d, w * w * d, (w * d) ** 2)]
        self.count += len(d)

    def half_width(self):
        """Half the interval's width, by the normal approximation; NaN for n < 2."""
        w, ww, wd, wwd, wwdd = self.sums.tolist()
        if self.count < 2 or w == 0:
            return math.nan
        mean = wd / w
        squares = max(0.0, wwdd - 2 * mean * wwd + mean**2 * ww)
        return 1.959964 * math.sqrt(squares * self.count / (self.count - 1)) / w


class ExampleWeightSweep:
    """What `sweep_example_weight` found.

    Attributes:
        rows: List of dicts, one an example weight, ascending. Each has
            `"example_weight"` and for every metric `m` its value `m`, the difference to
            weight 0 `m_difference`, and the 95 % interval of that difference over
            examples, paired, from `m_difference_lower` to `m_difference_upper` (NaN for
            metrics that are no mean over examples, such as AUC).
        metrics: List of the metrics' names, as `model.evaluate` names them.
    """

    def __init__(self, rows, modes):
        self.rows = rows
        self.metrics = list(modes)
        self._modes = modes

    def best(self, metric="loss"):
        """The row with the best value of a metric, at the smallest weight among equals.

        Raises:
            ValueError: if there is no such metric, or its direction isn't known.
        """
        if metric not in self.metrics:
            raise ValueError(
                f"Unknown metric {metric!r}. This sweep has {self.metrics}."
            )
        mode = self._modes[metric]
        if mode is None:
            raise ValueError(
                f"Metric {metric!r} doesn't say whether more is better. Sweep with "
                f"mode={{{metric!r}: 'min'}} or mode={{{metric!r}: 'max'}}."
            )
        rows = [row for row in self.rows if not math.isnan(row[metric])]
        if not rows:
            raise ValueError(f"Metric {metric!r} is NaN at every example weight.")
        return (min if mode == "min" else max)(rows, key=lambda row: row[metric])

    def to_csv(self, path):
        """Writes the rows as a CSV file with a header."""
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def plot(self, metrics=None):
        """Draws the difference to weight 0 over the example weight, with its interval.

        Args:
            metrics: List of metrics' names, or `None` for all.

        Returns:
            A `matplotlib.figure.Figure` with a panel for each metric.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                'Plots need matplotlib: `pip install "keras_bn4[plot]"`.'
            ) from error
        metrics = self.metrics if metrics is None else metrics
        figure = Figure(figsize=(4.2 * len(metrics), 3.4), layout="constrained")
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        weights = [row["example_weight"] for row in self.rows]
        for panel, metric in zip(panels, metrics):
            columns = [f"{metric}_difference{end}" for end in ("", "_lower", "_upper")]
            middle, lower, upper = ([row[c] for row in self.rows] for c in columns)
            panel.axhline(0, color="0.6", linewidth=1)
            panel.fill_between(weights, lower, upper, alpha=0.2, linewidth=0)
            panel.plot(weights, middle, marker="o", markersize=3)
            if self._modes[metric] is not None:
                best = self.best(metric)
                at = (best["example_weight"], best[f"{metric}_difference"])
                panel.plot(*at, marker="o", color="C1", zorder=3)
                panel.set_title(
                    f"{metric}: {self.rows[0][metric]:.4g} at 0, "
                    f"{best[metric]:.4g} at {at[0]:g}",
                    fontsize="medium",
                )
            # Most of what happens, happens near 0.
            panel.set_xscale("function", functions=(np.sqrt, np.square))
            panel.set_xlabel("example weight")
            panel.set_ylabel(f"{metric}, difference to weight 0")
            panel.spines[["top", "right"]].set_visible(False)
        return figure

    def __str__(self):
        header = ["example_weight", *self.metrics]
        lines = [[f"{row[name]:.6g}" for name in header] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(header, *lines)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths))
            for line in [header, *lines]
        )


def _modes(mode, evaluator):
    """Each metric's direction: as given, else as it says itself."""
    names = evaluator.metric_names
    given = mode if isinstance(mode, dict) else dict.fromkeys(names, mode)
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"Unknown metrics {unknown} in `mode`. The model has {names}.")
    for value in given.values():
        if value not in (None, "min", "max"):
            raise ValueError(
                'Argument `mode` must be "min", "max", None, or a dict of these by '
                f"metric. Received: mode={mode!r}."
            )
    return {name: given.get(name) or evaluator.direction(name) for name in names}

"""Draws a sweep: the difference to weight 0 over the example weight."""

import math

import numpy as np

from keras_bn4.common.figures import BLACK, COLORS, LINES, broken, new_figure, styled
from keras_bn4.example_weight.schedules import schedule_name

PANELS_IN_A_ROW = 3
TICKS = (*(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7), 1)


@styled
def draw(sweep, metrics, chosen=None, ax=None):
    """Draws a panel for each metric.

    Args:
        sweep: An `ExampleWeightSweep`.
        metrics, chosen, ax: As `ExampleWeightSweep.plot` takes them.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: as `ExampleWeightSweep.plot` does.
    """
    metrics = sweep.metrics if metrics is None else metrics
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if not isinstance(metrics, (list, tuple)) or not metrics:
        raise ValueError(
            "Argument `metrics` must be the name of a metric, a list of some of "
            f"{sweep.metrics}, or None for all. Received: metrics={metrics!r}."
        )
    for metric in metrics:
        sweep.check_metric(metric)
    if chosen is not None and chosen not in sweep.rows:
        raise ValueError(
            "Argument `chosen` must be one of the rows of this sweep, as "
            f"`sweep.largest(...)` returns it. Received: chosen={chosen!r}."
        )
    if ax is not None and len(metrics) > 1:
        raise ValueError(
            "There is one panel for each metric, and `ax` is one: name the metric, "
            f"as in sweep.plot({metrics[0]!r}, ax=ax). Received: metrics={metrics}."
        )
    columns = min(PANELS_IN_A_ROW, len(metrics))
    if ax is None:
        rows = -(-len(metrics) // columns)
        figure = new_figure(4.2 * columns + 0.4, 3.3 * rows + 0.4)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
    else:
        figure, panels = ax.figure, [ax]
    for panel in panels[len(metrics) :]:
        panel.set_axis_off()
    for panel, metric in zip(panels, metrics):
        _draw_metric(panel, sweep, metric, chosen)
    if ax is not None:
        ax.legend()
        return figure
    # The same thing has the same name in all panels.
    found = [panel.get_legend_handles_labels() for panel in panels]
    handles = {name: one for pair in found for one, name in zip(*pair)}
    figure.legend(
        handles.values(),
        handles,
        loc="outside lower left",
        ncols=2 if columns == 1 else 6,
    )
    return figure


def _draw_metric(panel, sweep, metric, chosen):
    name = f"{metric}_difference"
    panel.axhline(0, color="0.6", linewidth=1)
    for i, schedule in enumerate(sweep.schedules):
        color = COLORS[i % len(COLORS)]
        weights, middle, lower, upper = (
            np.array([row[column] for row in sweep.rows_of(schedule)])
            for column in ("example_weight", name, f"{name}_lower", f"{name}_upper")
        )
        if sweep.has_interval(metric):
            panel.fill_between(
                weights,
                lower,
                upper,
                color=color,
                alpha=0.2,
                linewidth=0,
                label=None if i else "95 % interval",
            )
        panel.plot(
            weights,
            middle,
            marker=".",
            linestyle=LINES[i % len(LINES)],
            color=color,
            label=schedule_name(schedule) if len(sweep.schedules) > 1 else "difference",
        )
    # The points of interest are drawn whole, also where they are on an axis.
    above = {"linestyle": "", "color": BLACK, "clip_on": False, "zorder": 5}
    panel.plot(0, 0, "o", mfc="white", markersize=9, label="weight 0", **above)
    largest = max(row["example_weight"] for row in sweep.rows)
    values = f"{sweep.rows[0][metric]:.4g} at 0"
    if sweep.has_direction(metric):
        best = sweep.best(metric)
        limits = _limits(sweep, metric, best)
        if chosen and None not in limits and math.isfinite(chosen[name]):
            limits = (
                min(limits[0], 1.15 * chosen[name]),
                max(limits[1], 1.15 * chosen[name]),
            )
        panel.set_ylim(*limits)
        largest = _largest_within(sweep, metric, limits, chosen or best)
        if math.isfinite(best[name]):
            at = best["example_weight"], best[name]
            panel.plot(*at, "D", markersize=5, label="best weight", **above)
        values += _text_of_best(sweep, metric, best)
    if chosen and math.isfinite(chosen[name]):
        at = chosen["example_weight"], chosen[name]
        panel.plot(*at, "s", mfc="none", markersize=11, label="chosen weight", **above)
    panel.set_title(f"{broken(metric, 42)}\n{values}")
    _scale(panel, largest)
    panel.set_ylabel("difference to weight 0")


def _text_of_best(sweep, metric, best):
    if not best["example_weight"]:
        return ", the best"
    text = f", {best[metric]:.4g} at {best['example_weight']:g}"
    if len(sweep.schedules) > 1:
        text += f" ({schedule_name(best['schedule'])})"
    return text


def _limits(sweep, metric, best):
    """Limits of the axis that show the gain, and as much again of what is lost.

    Where nothing is gained, they show the smallest weights, and the intervals there.
    """
    name = f"{metric}_difference"
    half = best[name] - best[f"{name}_lower"]
    scale = abs(best[name]) + (0 if math.isnan(half) else half)
    if not best["example_weight"]:
        first = [row for row in sweep.rows if row["example_weight"]][:3]
        values = [
            row[f"{name}{end}"] for row in first for end in ("", "_lower", "_upper")
        ]
        scale = max((abs(v) for v in values if not math.isnan(v)), default=0)
    if not 0 < scale < math.inf:
        return None, None
    sign = 1 if sweep.mode(metric) == "min" else -1
    worst = max(
        sign * row[f"{name}{end}"]
        for row in sweep.rows
        for end in ("", "_lower", "_upper")
        if not math.isnan(row[f"{name}{end}"])
    )
    good = 1.15 * scale
    bad = min(1.6 * scale, max(1.15 * worst, 0.3 * scale))
    return (-good, bad) if sign == 1 else (-bad, good)


def _largest_within(sweep, metric, limits, row):
    """The largest weight to show: the first from which on all is outside the limits.

    It is some more than the weight of the row.
    """
    weights = sorted({row["example_weight"] for row in sweep.rows})
    if None in limits:
        return weights[-1]
    seen = max(
        row["example_weight"]
        for row in sweep.rows
        if not row["example_weight"]
        or limits[0] <= row[f"{metric}_difference"] <= limits[1]
    )
    # Some more than the best, so that one sees that it gets no better.
    shown = max(weights.index(seen) + 1, weights.index(row["example_weight"]) + 3)
    return weights[min(shown, len(weights) - 1)]


def _scale(panel, largest):
    """Sets the axis of weights, which is wide near 0, where most happens."""
    panel.set_xscale(
        "function", functions=(lambda w: np.sqrt(np.maximum(w, 0)), np.square)
    )
    largest = largest or 1
    panel.set_xlim(0, largest * 1.03)
    ticks = []
    for tick in reversed([tick for tick in TICKS if tick <= largest * 1.03]):
        # The labels of smaller weights are longer.
        after = math.sqrt(ticks[-1]) if ticks else math.inf
        if min(after - math.sqrt(tick), math.sqrt(tick)) > 0.13 * math.sqrt(largest):
            ticks.append(tick)
    panel.set_xticks([0, *ticks], ["0", *(f"{tick:g}" for tick in ticks)])
    panel.set_xlabel("example weight (square-root scale)")

"""Draws a sweep: the difference to weight 0 over the example weight."""

import math

import numpy as np

from keras_bn4.common.figures import COLORS, new_figure
from keras_bn4.example_weight.schedules import schedule_name


def draw(sweep, metrics):
    """Draws a panel for each metric.

    Args:
        sweep: An `ExampleWeightSweep`.
        metrics: List of names of its metrics.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = new_figure(4.4 * len(metrics), 3.4)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for panel, metric in zip(panels, metrics):
        columns = [f"{metric}_difference{end}" for end in ("", "_lower", "_upper")]
        panel.axhline(0, color="0.6", linewidth=1)
        for schedule, color in zip(sweep.schedules, COLORS):
            weights, middle, lower, upper = (
                np.array([row[column] for row in sweep.rows_of(schedule)])
                for column in ("example_weight", *columns)
            )
            panel.fill_between(
                weights, lower, upper, color=color, alpha=0.2, linewidth=0
            )
            name = schedule_name(schedule)
            panel.plot(
                weights, middle, marker="o", markersize=3, color=color, label=name
            )
        if len(sweep.schedules) > 1:
            panel.legend(frameon=False)
        title = f"{metric}: {sweep.rows[0][metric]:.4g} at 0"
        if sweep.has_direction(metric):
            best = sweep.best(metric)
            at = (best["example_weight"], best[columns[0]])
            panel.plot(*at, marker="D", markersize=7, color="0.2", zorder=3)
            title += f", {best[metric]:.4g} at {at[0]:g}"
            panel.set_ylim(*_limits(sweep, metric, best))
        panel.set_title(title, fontsize="medium")
        # Most of what happens, happens near 0.
        panel.set_xscale(
            "function", functions=(lambda w: np.sqrt(np.maximum(w, 0)), np.square)
        )
        panel.set_xlim(0, None)
        panel.set_xlabel("example weight")
        panel.set_ylabel(f"{metric}, difference to weight 0")
        panel.spines[["top", "right"]].set_visible(False)
    return figure


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
    if not scale:
        return None, None
    good, bad = 1.15 * scale, 1.6 * scale
    return (-good, bad) if sweep.mode(metric) == "min" else (-bad, good)

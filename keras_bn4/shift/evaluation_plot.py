"""Draws an evaluation on shifted images."""

import numpy as np

from keras_bn4.common.figures import BLACK, COLORS, LINES, new_figure, styled


@styled
def draw(evaluation, metric, figure=None, title=""):
    """Draws a metric by severity, and its change by kind, in a figure or a new one."""
    lines = [line for line in evaluation.lines() if not line[0].startswith("  ")]
    height = max(3, 0.22 * len(lines) + 1.4)
    figure = new_figure(9, height) if figure is None else figure
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    _draw_severities(left, evaluation, metric)
    left.set_title(f"{title}{evaluation.title(metric)}, n = {evaluation.count:,}")
    _draw_changes(right, evaluation, metric, lines)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)
    return figure


def _color(i):
    return COLORS[(i - 1) % len(COLORS)] if i else BLACK


def _draw_severities(panel, evaluation, metric):
    clean, scale = evaluation.mean(["clean"]), evaluation.scale(metric)
    columns = [evaluation.mean(severities=[s]) for s in evaluation.severities]
    places = [0, *evaluation.severities]
    for i, setting in enumerate(evaluation.settings):
        rows = [column[i] for column in (clean, *columns)]
        panel.errorbar(
            places,
            [scale * row[metric] for row in rows],
            yerr=[scale * _half(row, metric) for row in rows] if i else None,
            color=_color(i),
            linestyle=LINES[i % len(LINES)],
            marker="o",
            elinewidth=1,
            capsize=3,
            label=label(setting),
        )
    panel.set_xticks(places, ["clean", *places[1:]])
    panel.set_xlabel("severity, mean over kinds")


def _draw_changes(panel, evaluation, metric, lines):
    places = np.arange(len(lines))
    count, scale = len(evaluation.settings), evaluation.scale(metric)
    for i in range(1, count):
        rows = [rows[i] for _, rows in lines]
        panel.errorbar(
            [scale * row[f"{metric}_difference"] for row in rows],
            places + 0.6 * (i / count - 0.5),
            xerr=[scale * _half(row, metric) for row in rows],
            color=_color(i),
            linestyle="",
            marker="o",
            markersize=4,
            elinewidth=1,
        )
    panel.axvline(0, color="0.6", linewidth=1)
    panel.set_yticks(places, [name for name, _ in lines])
    panel.invert_yaxis()
    panel.set_title(f"change of {metric}, 95 % interval")


def _half(row, metric):
    name = f"{metric}_difference"
    return row[f"{name}_upper"] - row[name]


@styled
def draw_images(images):
    """Draws images with values from 0 to 1, a dict by name, with their names above."""
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(1.5 * columns, 1.7 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, (name, image) in zip(panels, images.items()):
        panel.imshow(image, cmap="gray", vmin=0, vmax=1)
        panel.set_title(name, fontsize=7)
    return figure


def label(setting):
    """How tables and figures call a setting of the model."""
    schedule, weight = setting["schedule"], setting["example_weight"]
    if setting["recalibrated_on"]:
        return f"recalibrated on {setting['recalibrated_on']}"
    return f"weight {weight:g}" if schedule == "uniform" else f"{weight:g}, {schedule}"

"""Figure of the digits experiment: accuracy on shifted images."""

import numpy as np

from keras_bn4.common.figures import BLACK, GRAY, VERMILION, new_figure, styled
from keras_bn4.datasets import load
from keras_bn4.demo.report import shift_accuracies
from keras_bn4.shift.corruptions import corrupt

BEFORE, AFTER = BLACK, VERMILION


@styled
def figure(results, path):
    """Draws accuracy on shifted digits before and after, and writes it as a PNG file.

    Args:
        results: What `run` returned.
        path: Path of the file to write.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    drawing = new_figure(10, 4.6)
    drawing.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    found = shift_accuracies(results)
    kinds = [name for name in found if name not in ("clean", "all shifts")]
    kinds.sort(key=lambda kind: np.subtract(*found[kind].mean(0)[::-1]))
    left, right = drawing.subfigures(1, 2, width_ratios=[1.75, 1])
    pictures, panel = left.subplots(1, 2, width_ratios=[0.11, 1])
    _draw_kinds(panel, kinds, found)
    _draw_pictures(pictures, kinds)
    _draw_severities(right.subplots(), results)
    n = len(found["clean"])
    drawing.supxlabel(
        "Networks with Keras' batch normalization, trained on 200 clean digits; "
        f"n = {n} seed{'s' if n > 1 else ''}, small dots and thin lines are seeds",
        fontsize=9,
        color=GRAY,
    )
    drawing.savefig(path)


def _draw_kinds(panel, kinds, found):
    names = [*kinds, "all shifts", "clean"]
    for at, name in enumerate(names):
        before, after = found[name].T
        arrow = {"arrowstyle": "-|>", "color": AFTER, "linewidth": 1.6}
        ends = (before.mean(), at), (after.mean(), at)
        if abs(after.mean() - before.mean()) > 1.5:
            panel.annotate("", ends[1], ends[0], arrowprops=arrow)
        for values, color, offset in ((before, BEFORE, 0.22), (after, AFTER, -0.22)):
            panel.plot(
                values, [at + offset] * len(values), ".", color=color, alpha=0.3, mew=0
            )
            panel.plot(values.mean(), at, "o", color=color, markersize=6)
    panel.axhline(len(kinds) - 0.5, color="0.8", linewidth=1)
    panel.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panel.set_xlabel("test accuracy, %")
    panel.plot([], [], "o", color=BEFORE, label="as trained")
    panel.plot([], [], "o", color=AFTER, label="with an example weight")
    panel.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    panel.set_ylim(-0.6, len(names) - 0.4)


def _draw_pictures(panel, kinds):
    """Draws a digit under each shift, in the rows of the panel beside it."""
    digit = load("digits", "test")[0][:1].astype("float32")
    rows = [corrupt(digit, kind, 5, highest=16)[0, :, :, 0] for kind in kinds]
    rows += [np.full((8, 8), np.nan), digit[0, :, :, 0]]
    for at, image in enumerate(rows):
        extent = (0, 1, at - 0.45, at + 0.45)
        panel.imshow(image, cmap="gray", vmin=0, vmax=16, extent=extent, aspect="auto")
    panel.set_xlim(0, 1)
    panel.set_ylim(-0.6, len(rows) - 0.4)
    panel.set_axis_off()


def _draw_severities(panel, results):
    of_seeds = [result["shifted"] for result in results if "shifted" in result]
    severities = list(next(iter(of_seeds[0]["accuracies"].values())))
    curves = []
    for one in of_seeds:
        cells = [list(by.values()) for by in one["accuracies"].values()]
        curves.append([one["clean"], *np.mean(cells, axis=0)])
    curves = 100 * np.array(curves)
    labels = (1, AFTER, "with an example weight"), (0, BEFORE, "as trained")
    for at, color, label in labels:
        for curve in curves[:, :, at]:
            panel.plot(curve, color=color, alpha=0.25, linewidth=0.8)
        mean = curves[:, :, at].mean(0)
        panel.plot(mean, color=color, marker="o", linewidth=2, label=label)
    panel.set_xticks(range(curves.shape[1]), ["clean", *severities])
    panel.set_xlabel("severity of the shift")
    panel.set_ylabel("test accuracy, %, mean of all kinds")
    panel.legend(loc="lower left", reverse=True)

"""Tables and the figure of the speed experiment (`comparison.py`)."""

import textwrap

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.figures import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    VERMILION,
    new_figure,
    styled,
)

KINDS = {
    "step": "Training step of a layer",
    "sizes": "Training step by ghost size",
    "forward": "Forward pass of a training step",
    "inference": "Inference of a layer",
    "fit": "fit of a ResNet-20, 8 batches of 128",
    "predict": "predict of a ResNet-20, 4 batches of 128",
    "sweep": "Sweep of 21 example weights, 2 batches of 128",
    "memory": "Peak memory of training a ResNet-20, batches of 128",
}


def table(results):
    """Makes plain-text tables of what `run` returned.

    Returns:
        String with a table for each kind of comparison and each way to run it. It has
        the time of the first in milliseconds and the ratios of the others to it. Where
        there are the four shapes of convolutional layers, the last line is their
        geometric mean.
    """
    machine = results[0]["settings"]
    lines = [
        f"{machine['backend']}, Keras {machine['keras']}, {machine['cores']} cores of "
        f"{machine['processor']}; medians of {machine['rounds']} rounds"
    ]
    groups = {}
    for result in results:
        groups.setdefault(_way(result["settings"]), []).append(result)
    for (what, *way), rows in groups.items():
        names = list(rows[0]["ratios"])
        unit = "MB" if "megabytes" in rows[0] else "ms"
        lines += ["", f"{KINDS[what]}{''.join(f', {w}' for w in way if w)}"]
        body = [["", f"{names[0]}, {unit}", *names[1:]]]
        for row in rows:
            shape = row["settings"].get("shape", [])
            first = row.get("milliseconds") or row["megabytes"]
            ratios = (f"{row['ratios'][name]:.2f}" for name in names[1:])
            body.append(["×".join(map(str, shape)), f"{first[names[0]]:.2f}", *ratios])
        convolutional = [r for r in rows if len(r["settings"].get("shape", [])) == 4]
        if len(convolutional) == 4:
            means = (geometric_mean(convolutional, name) for name in names[1:])
            body.append(["geometric mean, ×", "", *(f"{m:.2f}" for m in means)])
        lines.append(textwrap.indent(tables.text(body, left=1), "  "))
    return "\n".join(lines)


def geometric_mean(results, name):
    """The geometric mean of the ratios of one of those compared."""
    return float(np.exp(np.mean([np.log(r["ratios"][name]) for r in results])))


def _way(settings):
    """Returns the settings that all rows of a table share, as texts."""
    if settings["what"] == "sizes":
        return settings["what"], "", "", ""
    batch = settings.get("batch")
    return (
        settings["what"],
        f"batch size {batch} when traced" if batch else "",
        {"xla": "compiled by XLA"}.get(settings.get("compile"), ""),
        settings.get("dtype", ""),
    )


def figure(results, path):
    """Draws time over ghost batch size, with other layers as horizontal lines.

    Args:
        results: What `run` returned.
        path: Path of the PNG file to write.

    Returns:
        Whether the figure was drawn: not without results of kind `"sizes"`, nor without
        matplotlib.
    """
    rows = [r for r in results if r["settings"]["what"] == "sizes"]
    if not rows:
        return False
    try:
        _drawing(rows).savefig(path)
    except ImportError:
        return False
    return True


@styled
def _drawing(rows):
    drawing = new_figure(max(3.4 * len(rows) + 0.8, 6), 4.2)
    panels = drawing.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    for panel, row in zip(panels, rows):
        _draw(panel, row)
    panels[0].set_ylabel("time / time of Keras' layer")
    settings = rows[0]["settings"]
    drawing.suptitle(
        f"Forward and backward pass of one layer, {settings['backend']}, "
        f"{settings['cores']} CPU cores",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    # Labels beside the lines would collide where two lines are close.
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=len(labels) if len(rows) > 2 else 2,
    )
    return drawing


def _draw(panel, row):
    ratios = row["ratios"]
    sizes = [int(n.split()[-1]) for n in ratios if n.startswith("ghosts of")]
    values = [ratios[f"ghosts of {size}"] for size in sizes]
    for name, label, style, color in (
        ("Keras' groups", "Keras' GroupNormalization", "--", VERMILION),
        ("Keras", "Keras' BatchNormalization", "-", BLACK),
        ("whole batch", "keras_bn4, whole batch", "-.", GREEN),
        ("ReLU", "ReLU", ":", GRAY),
    ):
        panel.axhline(ratios[name], linestyle=style, color=color, label=label)
    panel.plot(sizes, values, "o-", color=BLUE, label="keras_bn4, ghosts")
    panel.set_xscale("log", base=2)
    panel.invert_xaxis()
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.set_ylim(0, max(1.3, *ratios.values()) * 1.05)
    panel.set_xlabel("ghost batch size")
    shape = "×".join(map(str, row["settings"]["shape"]))
    panel.set_title(f"{shape}, Keras {row['milliseconds']['Keras']:.1f} ms")

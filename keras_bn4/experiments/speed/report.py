"""Tables and the figure of the speed experiment (`comparison.py`)."""

import textwrap

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.figures import new_figure

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
        drawing = new_figure(3.4 * len(rows) + 0.8, 3.9, dpi=160)
    except ImportError:
        return False
    panels = drawing.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    for panel, row in zip(panels, rows):
        _draw(panel, row)
    panels[0].set_ylabel("time / time of Keras' layer")
    settings = rows[0]["settings"]
    drawing.suptitle(
        f"Forward and backward pass of one layer, {settings['backend']}, "
        f"{settings['cores']} CPU cores",
        fontsize=11,
        weight="bold",
        x=0.02,
        ha="left",
    )
    drawing.savefig(path)
    return True


def _draw(panel, row):
    ratios = row["ratios"]
    sizes = [int(n.split()[-1]) for n in ratios if n.startswith("ghosts of")]
    values = [ratios[f"ghosts of {size}"] for size in sizes]
    ends = max(sizes), min(sizes)
    # Labels are placed where the curve is not: above it on the left, below it on the
    # right.
    for name, label, style, color, end, height in (
        ("Keras", "BatchNormalization", "-", "0.3", 0, 3),
        ("Keras' groups", "GroupNormalization", "--", "#D55E00", 0, 3),
        ("whole batch", "keras_bn4, whole batch", "-.", "#009E73", 1, 3),
        ("ReLU", "ReLU", ":", "0.3", 1, -10),
    ):
        panel.axhline(ratios[name], linestyle=style, color=color, linewidth=1.2)
        panel.annotate(
            label,
            (ends[end], ratios[name]),
            (0, height),
            textcoords="offset points",
            ha=("left", "right")[end],
            fontsize=8,
            color=color,
        )
    panel.plot(sizes, values, "o-", color="#0072B2", linewidth=1.8, markersize=5)
    panel.annotate(
        "keras_bn4, ghosts",
        (sizes[-1], values[-1]),
        (0, 7),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="#0072B2",
    )
    panel.set_xscale("log", base=2)
    panel.invert_xaxis()
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.set_ylim(0, max(1.3, *ratios.values()) * 1.05)
    panel.set_xlabel("ghost batch size")
    shape = "×".join(map(str, row["settings"]["shape"]))
    panel.set_title(
        f"{shape}, Keras {row['milliseconds']['Keras']:.1f} ms", fontsize=9, loc="left"
    )
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)

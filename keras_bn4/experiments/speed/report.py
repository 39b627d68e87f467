"""The tables of the speed experiment (`comparison.py`)."""

import textwrap

import numpy as np

from keras_bn4.common import tables

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
        lines.append(textwrap.indent(tables.folded(body, left=1, width=78), "  "))
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

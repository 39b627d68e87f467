"""Tables and a figure of accuracy under shift (`measurement`)."""

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.figures import (
    BLACK,
    VERMILION,
    new_figure,
    styled,
)
from keras_bn4.experiments.shift.adaptations import adaptations
from keras_bn4.experiments.trained import half_width
from keras_bn4.shift.evaluation_result import unpacked

# What the figure shows: label and color.
DRAWN = {
    "as trained": ("as trained", BLACK),
    "uniform": ("with example weight α (95 % interval of the difference)", VERMILION),
}


class Accuracies:
    """Which images a network classified correctly, in all cells.

    Args:
        results: List of dicts, what `run` returned for one network.

    Attributes:
        weights: Dict of the chosen example weights by schedule.
        kinds, severities: Lists of those that were measured.
        clean: Dict by adaptation of boolean arrays of shape `(images,)`.
        shifted: Dict by adaptation of boolean arrays of shape
            `(kinds, severities, images)`.
    """

    def __init__(self, results):
        choice, clean, *cells = results
        self.weights = choice["weights"]
        self.kinds = list(dict.fromkeys(cell["settings"]["kind"] for cell in cells))
        self.severities = sorted({cell["settings"]["severity"] for cell in cells})
        self.clean = {name: _correct(clean, name) for name in adaptations()}
        shape = len(self.kinds), len(self.severities), clean["count"]
        self.shifted = {
            name: np.array([_correct(cell, name) for cell in cells]).reshape(shape)
            for name in adaptations()
        }

    def accuracy(self, name, severities):
        """The share of the shifts of each image that was classified correctly.

        Args:
            name: The adaptation.
            severities: Iterable of severities; empty for clean images.

        Returns:
            Array of shape `(images,)`, the mean over all kinds and these severities.
        """
        chosen = [self.severities.index(severity) for severity in severities]
        if not chosen:
            return self.clean[name].astype(float)
        return self.shifted[name][:, chosen].mean((0, 1))

    def change(self, name, severities):
        """The gain in points over the network as trained, and its 95 % half width.

        The interval is that of a paired difference over images, each of which is a mean
        over all of its shifts.

        Args:
            name: The adaptation.
            severities: As `accuracy` takes them.
        """
        base = self.accuracy("as trained", severities)
        difference = 100 * (self.accuracy(name, severities) - base)
        return difference.mean(), half_width(difference)


def _correct(cell, name):
    return unpacked(cell["correct"][name], cell["count"])


def table(results):
    """Makes plain-text tables of what `run` returned.

    Returns:
        String. For every network and adaptation the accuracy in percent on clean
        images, its mean over all shifts and over those of severity 3 and more; with the
        changes to the network as trained in points, and their 95 % intervals.
    """
    header = ["network", "adaptation", "clean", "change", "all shifts", "change"]
    header += ["severity 3 to 5", "change"]
    lines = []
    for network, cells in results.items():
        found = Accuracies(cells)
        strong = [severity for severity in found.severities if severity >= 3]
        for i, name in enumerate(adaptations()):
            label = name
            if name in found.weights:
                label = f"example weight {found.weights[name]:g}, {name}"
            line = ["" if i else network, label]
            for severities in ((), found.severities, strong):
                accuracy = 100 * found.accuracy(name, severities).mean()
                line.append(f"{accuracy:.1f}")
                mean, half = found.change(name, severities)
                line.append(
                    ""
                    if name == "as trained"
                    else f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
                )
            lines.append(line)
    return tables.folded([header, *lines], left=2, keys=2)


def by_severity(results):
    """Makes plain-text tables of the gain of the weight by severity and by kind.

    Args:
        results: What `run` returned.
    """
    all_found = {network: Accuracies(cells) for network, cells in results.items()}
    severities = sorted({s for found in all_found.values() for s in found.severities})
    kinds = list(dict.fromkeys(k for found in all_found.values() for k in found.kinds))
    lines = []
    for network, found in all_found.items():
        for schedule, weight in found.weights.items():
            line = [network, f"{weight:g}, {schedule}"]
            for severity in severities:
                line.append(f"{found.change(schedule, [severity])[0]:+.1f}")
            gains = found.shifted[schedule] * 100.0 - 100 * found.shifted["as trained"]
            by_kind = dict(zip(found.kinds, gains.mean((1, 2))))
            line += [f"{by_kind[k]:+.1f}" if k in by_kind else "" for k in kinds]
            lines.append(line)
    header = ["network", "example weight", *(f"severity {s}" for s in severities)]
    header += [kind.replace("_", " ") for kind in kinds]
    return tables.folded([header, *lines], left=2, keys=2)


@styled
def figure(results, path):
    """Draws the mean accuracy over severity of several networks, before and after.

    Args:
        results: What `run` returned.
        path: Path of the file to write.
    """
    columns = min(2, len(results))
    rows = -(-len(results) // columns)
    drawing = new_figure(4 * columns, 2.6 * rows + 0.4, dpi=160)
    panels = drawing.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, (network, cells) in zip(panels.flat, results.items()):
        found = Accuracies(cells)
        severities = [0, *found.severities]
        for name, (label, color) in DRAWN.items():
            values = [found.clean[name].mean(), *found.shifted[name].mean((0, 2))]
            intervals = None
            if name == "uniform":
                each = [(), *([severity] for severity in found.severities)]
                intervals = [found.change(name, severity)[1] for severity in each]
            panel.errorbar(
                severities,
                [100 * value for value in values],
                yerr=intervals,
                color=color,
                marker="o",
                markersize=4,
                linewidth=2,
                elinewidth=1,
                capsize=3,
                label=label,
            )
        n = len(found.clean["uniform"])
        weight = found.weights["uniform"]
        panel.set_title(f"{network}, α = {weight:g}, n = {n:,}", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_xticks(severities, ["clean", *map(str, found.severities)])
    for panel in panels.flat[len(results) :]:
        panel.set_axis_off()
    drawing.supylabel("accuracy, %", fontsize=10)
    drawing.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside upper left",
        ncols=columns,
    )
    drawing.supxlabel("severity of the shift", fontsize=10)
    drawing.savefig(path)

"""Figure 5a: all four improvements together, over the batch size.

Question: Are networks with all four improvements better than with group normalization,
and than batch normalization would be if it did not depend on the batch size?

    python -m keras_bn4 reproduce figure5a

Setting: Minibatches of 128, 32, 8 and 2 at the small scale, of all powers of two up to
128 at the paper's. "Ours" has example weighing, decay of γ and β to 0, and ghosts of 8,
or of the whole minibatch where it is smaller; for minibatches of 2 batch-group
statistics, and for those of 1 group normalization. Learning rate and moving statistics
follow the batch size as in Section 3.4. Ideal batch normalization is that of
minibatches of 128, the same for all sizes. Ghosts alone are those of Figure 3, in
minibatches of 128, at the ghost batch size in place of the batch size. 2 seeds.

Selection: the example weight of each training, on validation data. The ghosts of 8 come
from the search for the small scale's setting, with one seed. Groups of channels: 8 at
the small scale, 32 at the paper's. Test data.

Expected: On CIFAR-100 ours is the best at all batch sizes.
"""

import math

from keras_bn4.common import tables
from keras_bn4.common.figures import BLUE, GREEN, VERMILION, new_figure
from keras_bn4.experiments.reproduction import figure3
from keras_bn4.experiments.reproduction.section3_4 import EXAMPLE_WEIGHTS
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.summary import (
    Difference,
    at_best,
    at_one,
    at_zero,
    claim,
    mean_and_spread,
    rows_of,
)

TITLE = "all four improvements over the batch size"
SEEDS = {"small": 2, "paper": 1}
HOURS = {"small": 2.0, "paper": None}
BATCH_SIZES = {"small": (128, 32, 8, 2), "paper": (128, 64, 32, 16, 8, 4, 2, 1)}
GROUPS = {"small": 8, "paper": 32}
GHOSTS = 8
IDEAL, GHOSTS_ALONE = "batch norm (ideal)", "ghosts alone"
GROUP_NORM, OURS = "group norm", "ours"


def trainings(scale, seeds, dataset="cifar100", **changes):
    """Lists the settings of all trainings, those of Figure 3 included, seed by seed."""
    found = []
    for seed in range(seeds):
        alone = figure3.trainings(scale, seed + 1, dataset, **changes)
        found += [settings for settings in alone if settings.seed == seed]
        for size in BATCH_SIZES[scale]:
            share = size / 128
            here = {
                "dataset": dataset,
                "seed": seed,
                "batch_size": size,
                "learning_rate": 0.1 * share,
                "statistics_momentum": round(0.99**share, 7),
            }
            groups = {"groups": GROUPS[scale], "example_weights": EXAMPLE_WEIGHTS}
            group_norm = {"ghost_batch_size": 1, **groups}
            ours = {"affine_decay": "to 0"}
            if size == 1:
                ours |= group_norm
            elif size == 2:
                ours |= groups
            elif size > GHOSTS:
                ours |= {"ghost_batch_size": GHOSTS}
            found += [
                Settings.at_scale(scale, **{**here, **method, **changes})
                for method in (group_norm, ours)
            ]
    return found


def report(records):
    """A table, and a line on each claim of the paper, as plain text."""
    rows = _rows(records)
    lines = [["method", "B", "n", "test accuracy, %", "difference to ideal"]]
    ideal = rows.get((IDEAL, None), {})
    for (method, size), row in rows.items():
        values = _accuracies(method, row)
        change = Difference.between(values, _accuracies(IDEAL, ideal))
        line = [method, "" if size is None else str(size), str(len(row))]
        line += [mean_and_spread(values, ".2f")]
        line.append(change.text(".2f") if method != IDEAL and change.n else "")
        lines.append(line)
    return "\n".join([tables.text(lines, left=1), "", *_claims(rows)])


def _rows(records):
    """Rows by method and size: that of the minibatch, or of the ghosts alone."""

    def key(settings):
        if settings["affine_decay"] != "none":
            return OURS, settings["batch_size"]
        if settings["groups"] is not None:
            return GROUP_NORM, settings["batch_size"]
        if settings["ghost_batch_size"] is None:
            return IDEAL, None
        return GHOSTS_ALONE, settings["ghost_batch_size"]

    return rows_of(records, key)


def _accuracies(method, row):
    """Test accuracies by seed. Ours alone are weighed.

    Group normalization at inference is weight 1.
    """
    values = {OURS: at_best, GROUP_NORM: at_one}.get(method, at_zero)
    return values(row, "accuracy")


def _claims(rows):
    lines = []
    for size in (size for method, size in rows if method == OURS):
        for method, at in ((IDEAL, None), (GROUP_NORM, size)):
            if (method, at) in rows:
                difference = Difference.between(
                    _accuracies(OURS, rows[OURS, size]),
                    _accuracies(method, rows[method, at]),
                )
                text = f"with minibatches of {size} ours beats {method}"
                paper = "shown without number"
                lines.append(claim(text, paper, difference, 1, ".2f"))
    return lines


def draw(records, path):
    """Draws accuracy over the batch size, as the paper does."""
    rows = _rows(records)
    figure = new_figure(5.4, 3.8, dpi=160)
    panel = figure.subplots()
    colors = {GROUP_NORM: GREEN, GHOSTS_ALONE: BLUE, OURS: VERMILION}
    for method, color in colors.items():
        means = {
            size: _mean(_accuracies(name, row))
            for (name, size), row in rows.items()
            if name == method
        }
        panel.plot(list(means), list(means.values()), "o-", color=color, label=method)
    if (IDEAL, None) in rows:
        ideal = _mean(_accuracies(IDEAL, rows[IDEAL, None]))
        panel.axhline(ideal, color="0.4", linestyle="--", label=IDEAL)
    panel.set_xscale("log", base=2)
    panel.set_xlim(0.8, 160)
    sizes = [2**i for i in range(8)]
    panel.set_xticks(sizes, list(map(str, sizes)))
    panel.set_xlabel("batch size; of ghosts alone, the ghost batch size")
    panel.set_ylabel("test accuracy, %")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    figure.savefig(path)


def _mean(values):
    return math.fsum(values.values()) / len(values)

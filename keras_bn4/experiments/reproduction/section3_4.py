"""Section 3.4: minibatches of two, group normalization against batch-group statistics.

Question: With two examples in a minibatch, do statistics of groups of channels over
both examples beat group normalization?

    python -m keras_bn4.experiments section3.4

Setting: the usual one (`settings.py`) with minibatches of 2, and learning rate and
moving statistics adjusted: the rate is proportional to the size of the minibatch, and
the moving statistics remember as many images as with 128. 30 epochs at the small scale,
which are 37,500 steps. All networks use an example weight at inference, as in the
paper. Group normalization is `BatchGroupNormalization(ghost_batch_size=1)`, so that it
has one, too. 3 seeds.

Selection: The number of groups of each method, 4 or 16 at the small scale and 16 or 32
at the paper's, by the mean validation accuracy over seeds, and the example weight of
each training on validation data. Reported on test data.

Expected: On CIFAR-100 batch-group statistics gain 0.69 points over tuned group
normalization (73.91 to 74.60, validation, 3 runs).
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import GREEN, VERMILION
from keras_bn4.experiments.reproduction.differences import claim
from keras_bn4.experiments.reproduction.figure4 import plot_weights
from keras_bn4.experiments.reproduction.rows import (
    at_best,
    at_zero,
    best_row,
    mean_and_spread,
    weight_range,
)
from keras_bn4.experiments.reproduction.settings import Settings

TITLE = "minibatches of two, group against batch-group normalization"
SEEDS = {"small": 3, "paper": 3}
HOURS = {"small": 0.6, "paper": None}
GROUPS = {"small": (4, 16), "paper": (16, 32)}
EXAMPLE_WEIGHTS = (
    *(0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
PAPER = {"group norm": "73.91", "batch-group norm": "74.60"}


def trainings(scale, seed, dataset="cifar100"):
    usual = Settings.at_scale(scale, dataset=dataset, seed=seed)
    if scale == "small":
        usual = usual.replace(epochs=30)
    usual = at_batch_size(usual, 2, example_weights=EXAMPLE_WEIGHTS)
    return [
        usual.replace(
            groups=groups, ghost_batch_size=1 if method == "group norm" else None
        )
        for method in PAPER
        for groups in GROUPS[scale]
    ]


def at_batch_size(usual, size, **changes):
    """Settings with other minibatches, and what follows from their size.

    The learning rate is proportional to the size, and the moving statistics remember as
    many images. The usual ones have minibatches of 128.
    """
    share = size / 128
    return usual.replace(
        batch_size=size,
        learning_rate=usual.learning_rate * share,
        statistics_momentum=round(usual.statistics_momentum**share, 7),
        **changes,
    )


def row_of(settings):
    is_group = settings.ghost_batch_size == 1
    return "group norm" if is_group else "batch-group norm", settings.groups


def table(rows):
    lines = [["method", "groups", "n", "best α", "validation accuracy, %"]]
    lines[0] += ["paper", "test accuracy, %", "at α = 0"]
    for (method, groups), row in rows.items():
        line = [method, str(groups), str(len(row)), weight_range(row, "accuracy")]
        validation = at_best(row, "accuracy", "validation")
        line += [mean_and_spread(validation, ".2f"), PAPER[method]]
        line.append(mean_and_spread(at_best(row, "accuracy"), ".2f"))
        line.append(mean_and_spread(at_zero(row, "accuracy"), ".2f"))
        lines.append(line)
    return tables.folded(lines, left=1, keys=3)


def claims(rows):
    group, both = (
        best_row({key: row for key, row in rows.items() if key[0] == method}, at_best)
        for method in PAPER
    )
    text = f"batch-group statistics ({both[1]} groups) beat group normalization "
    text += f"({group[1]} groups), points of test accuracy, both weighed"
    values = (at_best(rows[row], "accuracy") for row in (both, group))
    paper = "+0.69 (validation)"
    return [claim(text, paper, *values, sign=1, form=".2f", number=0.69)]


def plot(rows):
    """Draws accuracy and loss over the example weight, a figure not in the paper."""
    return plot_weights(
        rows, lambda row: f"{row[0]}, {row[1]} groups", base=-1, style_of_row=_style
    )


def _style(row):
    method, groups = row
    color = GREEN if method == "group norm" else VERMILION
    return {"color": color, "linestyle": "-" if groups == 16 else "--"}

"""Section 3.4: minibatches of two, group normalization against batch-group statistics.

Question: With two examples in a minibatch, do statistics of groups of channels that
also reach over both examples beat group normalization?

    python -m keras_bn4.experiments section3.4

Setting: the usual one (`settings.py`) with minibatches of 2, and learning rate and
moving statistics that follow: the rate is proportional to the size of the minibatch,
and the moving statistics remember as many images as with 128. 30 epochs at the small
scale, which are 37,500 steps. All networks are weighed at inference, as in the paper.
Group normalization is `BatchGroupNormalization(ghost_batch_size=1)`, so that it can be
weighed. 3 seeds.

Selection: The number of groups of each method, 4 or 16 at the small scale and 16 or 32
at the paper's, by the mean validation accuracy over seeds, and the example weight of
each training on validation data. Reported on test data.

Expected: On CIFAR-100 batch-group statistics gain 0.69 points over tuned group
normalization (73.91 to 74.60, validation, 3 runs).
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import GREEN, VERMILION
from keras_bn4.experiments.reproduction.figure4 import draw_weights
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.summary import (
    Difference,
    at_best,
    at_zero,
    best_weight,
    claim,
    mean_and_spread,
    mean_of,
    rows_of,
)

TITLE = "minibatches of two, group against batch-group normalization"
SEEDS = {"small": 3, "paper": 3}
HOURS = {"small": 0.6, "paper": None}
GROUPS = {"small": (4, 16), "paper": (16, 32)}
EXAMPLE_WEIGHTS = (
    *(0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
PAPER = {"group norm": "73.91", "batch-group norm": "74.60"}


def trainings(scale, seeds, dataset="cifar100", **changes):
    """Lists the settings of all trainings, seed by seed."""
    usual = Settings.at_scale(scale)
    share = 2 / usual.batch_size
    here = {
        "dataset": dataset,
        "batch_size": 2,
        "learning_rate": usual.learning_rate * share,
        "statistics_momentum": round(usual.statistics_momentum**share, 7),
        "example_weights": EXAMPLE_WEIGHTS,
    }
    if scale == "small":
        here["epochs"] = 30
    return [
        Settings.at_scale(
            scale,
            **{**here, **changes},
            seed=seed,
            groups=groups,
            ghost_batch_size=1 if method == "group norm" else None,
        )
        for seed in range(seeds)
        for method in PAPER
        for groups in GROUPS[scale]
    ]


def report(records):
    """A table, and a line on the paper's claim, as plain text."""
    rows = _rows(records)
    lines = [["method", "groups", "n", "best α", "validation accuracy, %"]]
    lines[0] += ["paper", "test accuracy, %", "at α = 0"]
    for (method, groups), row in rows.items():
        weights = [best_weight(record, "accuracy") for record in row.values()]
        line = [method, str(groups), str(len(row)), tables.value_range(weights)]
        validation = at_best(row, "accuracy", "validation")
        line += [mean_and_spread(validation, ".2f"), PAPER[method]]
        line.append(mean_and_spread(at_best(row, "accuracy"), ".2f"))
        line.append(mean_and_spread(at_zero(row, "accuracy"), ".2f"))
        lines.append(line)
    return "\n".join([tables.text(lines, left=1), "", *_claims(rows)])


def _rows(records):
    def key(settings):
        is_group = settings["ghost_batch_size"] == 1
        return "group norm" if is_group else "batch-group norm", settings["groups"]

    return rows_of(records, key)


def _claims(rows):
    if len({method for method, _ in rows}) < 2:
        return ["The claim needs both methods."]

    def validation(row):
        return mean_of(at_best(rows[row], "accuracy", "validation"))

    best = {
        method: max((row for row in rows if row[0] == method), key=validation)
        for method in PAPER
    }
    group, both = best["group norm"], best["batch-group norm"]
    text = f"batch-group statistics ({both[1]} groups) beat group normalization "
    text += f"({group[1]} groups), points of test accuracy, both weighed"
    values = (at_best(rows[row], "accuracy") for row in (both, group))
    return [claim(text, "+0.69 (validation)", Difference.between(*values), 1, ".2f")]


def draw(records, path):
    """Draws accuracy and loss over the example weight, which the paper doesn't."""
    draw_weights(
        _rows(records),
        lambda row: f"{row[0]}, {row[1]} groups",
        path,
        base=-1,
        style_of_row=_style,
    )


def _style(row):
    method, groups = row
    color = GREEN if method == "group norm" else VERMILION
    return {"color": color, "linestyle": "-" if groups == 16 else "--"}

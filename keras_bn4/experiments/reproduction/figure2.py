"""Figures 2 and 8: example weighing of networks trained with group normalization.

Question: Does a network that was trained with group normalization, where examples do
not share statistics, benefit from a little of the moving statistics?

    python -m keras_bn4.experiments figure2

Setting: the usual one (`settings.py`) with
`BatchGroupNormalization(ghost_batch_size=1)`, which is group normalization that keeps
moving statistics. 8 groups of channels at the small scale, 32 at the paper's. Weight 1
is group normalization at inference. The paper shows validation data; here the weight is
chosen on them and compared with weight 1 on test data. 3 seeds.

Selection: nothing but the weight.

Expected: The best weight is slightly below 1, with a small gain, on CIFAR-100 in loss
rather than in accuracy. A large range of weights does about as well as 1.
"""

from keras_bn4.common import tables
from keras_bn4.experiments.reproduction.differences import change, claim
from keras_bn4.experiments.reproduction.figure4 import LABELS, plot_weights
from keras_bn4.experiments.reproduction.rows import (
    FORMS,
    NAMES,
    SIGNS,
    at_best,
    at_one,
    at_zero,
    mean_and_spread,
    weight_range,
)
from keras_bn4.experiments.reproduction.settings import Settings

TITLE = "example weighing with group normalization"
SEEDS = {"small": 3, "paper": 1}
HOURS = {"small": 0.2, "paper": None}
GROUPS = {"small": 8, "paper": 32}
EXAMPLE_WEIGHTS = (
    *(0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0),
)


def trainings(scale, seed, dataset="cifar100"):
    return [
        Settings.at_scale(
            scale,
            dataset=dataset,
            seed=seed,
            ghost_batch_size=1,
            groups=GROUPS[scale],
            example_weights=EXAMPLE_WEIGHTS,
        )
    ]


def row_of(settings):
    return settings.groups


def table(rows):
    ((groups, row),) = rows.items()
    lines = [["groups", "n"], [str(groups), str(len(row))]]
    for metric, form in FORMS.items():
        name, label = NAMES[metric], LABELS[metric]
        lines[0] += [f"{label}, α = 1", f"best α, {name}", label, "change from α = 1"]
        lines[0].append(f"{name}, α = 0")
        before, best = at_one(row, metric), at_best(row, metric)
        lines[1] += [mean_and_spread(before, form), weight_range(row, metric)]
        lines[1] += [mean_and_spread(best, form), change(best, before, form)]
        lines[1].append(mean_and_spread(at_zero(row, metric), form))
    return tables.folded(lines, keys=2)


def claims(rows):
    (row,) = rows.values()
    return [
        claim(
            f"a little of the moving statistics improves the {NAMES[metric]}",
            None,
            at_best(row, metric),
            at_one(row, metric),
            sign=SIGNS[metric],
            form=form,
        )
        for metric, form in FORMS.items()
    ]


def plot(rows):
    """Draws accuracy and loss over the example weight, as the paper does."""
    return plot_weights(rows, lambda groups: f"{groups} groups", base=-1)

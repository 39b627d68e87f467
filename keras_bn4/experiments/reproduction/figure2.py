"""Figures 2 and 8: example weighing of networks that were trained by groups alone.

Question: Does a network that was trained with group normalization, where no example has
a part in the statistics of another, gain from a little of the moving statistics?

    python -m keras_bn4.experiments figure2

Setting: the usual one (`settings.py`) with
`BatchGroupNormalization(ghost_batch_size=1)`, which is group normalization that keeps
moving statistics. 8 groups of channels at the small scale, 32 at the paper's. Weight 1
is group normalization at inference. The paper shows validation data; here the weight is
chosen on them, and compared with weight 1 on test data. 3 seeds.

Selection: nothing but the weight.

Expected: The best weight is slightly below 1, with a small gain, on CIFAR-100 in loss
rather than in accuracy. A large range of weights does about as well as 1.
"""

from keras_bn4.common import tables
from keras_bn4.experiments.reproduction.figure4 import LABELS, draw_weights
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.summary import (
    FORMS,
    NAMES,
    SIGNS,
    Difference,
    at_best,
    at_one,
    at_zero,
    best_weight,
    claim,
    mean_and_spread,
    rows_of,
)

TITLE = "example weighing with group normalization"
SEEDS = {"small": 3, "paper": 1}
HOURS = {"small": 0.2, "paper": None}
GROUPS = {"small": 8, "paper": 32}
EXAMPLE_WEIGHTS = (
    *(0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0),
)


def trainings(scale, seeds, dataset="cifar100", **changes):
    """Lists the settings of all trainings, seed by seed."""
    here = {
        "dataset": dataset,
        "ghost_batch_size": 1,
        "groups": GROUPS[scale],
        "example_weights": EXAMPLE_WEIGHTS,
        **changes,
    }
    return [Settings.at_scale(scale, seed=seed, **here) for seed in range(seeds)]


def report(records):
    """A table, and a line on each claim of the paper, as plain text."""
    ((groups, row),) = rows_of(records, lambda s: s["groups"]).items()
    lines = [["groups", "n"]]
    line = [str(groups), str(len(row))]
    claims = []
    for metric, form in FORMS.items():
        name, label = NAMES[metric], LABELS[metric]
        lines[0] += [f"{label}, α = 1", f"best α, {name}", label, "change from α = 1"]
        lines[0].append(f"{name}, α = 0")
        before, best = at_one(row, metric), at_best(row, metric)
        gain = Difference.between(best, before)
        line.append(mean_and_spread(before, form))
        line.append(tables.value_range([best_weight(r, metric) for r in row.values()]))
        line += [mean_and_spread(best, form), gain.text(form)]
        line.append(mean_and_spread(at_zero(row, metric), form))
        text = f"a little of the moving statistics changes the {name} for the better"
        claims.append(claim(text, "shown without number", gain, SIGNS[metric], form))
    return "\n".join([tables.text([*lines, line]), "", *claims])


def draw(records, path):
    """Draws accuracy and loss over the example weight, as the paper does."""
    rows = rows_of(records, lambda s: s["groups"])
    draw_weights(rows, lambda groups: f"{groups} groups", path, base=-1)

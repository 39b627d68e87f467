"""Table 1: minibatches of four classes, whose statistics are not representative.

Question: When each minibatch has examples of only four classes (Sec. 4.4), what do
example weighing, ghosts, batch renormalization and batch-group statistics recover?

    python -m keras_bn4.experiments table1

Setting: Minibatches of 128 with four classes drawn at random, with replacement, 32
examples of each, shuffled within the minibatch. Moving variances of ghosts and groups
track the second moment, as in the authors' code, those of batch normalization and
renormalization the variance, as in Keras, all at momentum 0.99. At the small scale
10,000 images for 40 epochs (3,120 steps), since networks learn nothing in fewer steps;
3 seeds. Batch renormalization is clipped at r = 3 and d = 5 from the beginning. Channel
groups: 8 at the small scale and 32 at the paper's, which gives no number. The trainings
were made with keras_bn4 0.2.0, where a class that was drawn twice for a minibatch could
have the same example twice.

Selection: The example weight is chosen on validation data for each training, and the
size of the "best ghosts" by the mean over seeds. Nothing else was tuned.

Expected: On CIFAR-100 with a ResNet-18, without and with weighing: batch normalization
40.1 and 62.2, renormalization 69.0 and 69.0, the best ghosts 70.4 and 72.2, batch-group
75.2 and 76.1.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLACK, VERMILION
from keras_bn4.experiments.reproduction.differences import change, claim
from keras_bn4.experiments.reproduction.figure4 import plot_weights
from keras_bn4.experiments.reproduction.rows import (
    at_best,
    at_zero,
    best_row,
    gains,
    mean_and_spread,
    weight_range,
)
from keras_bn4.experiments.reproduction.settings import Settings

TITLE = "accuracy with minibatches of four classes"
SEEDS = {"small": 3, "paper": 1}
HOURS = {"small": 2.1, "paper": None}
GROUPS = {"small": 8, "paper": 32}
EXAMPLE_WEIGHTS = (
    *(0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0),
)
RENORM, BATCH_GROUP = "batch renorm", "batch-group norm"
# Lines that are not of ghosts, in the figure.
STYLES = {
    "batch norm": {"color": BLACK},
    RENORM: {"color": BLACK, "linestyle": "--"},
    BATCH_GROUP: {"color": VERMILION},
}
# Test accuracy without and with example weighing, in percent.
PAPER = {
    ("batch norm", 128): (40.1, 62.2),
    (RENORM, 128): (69.0, 69.0),
    ("ghosts", 64): (42.3, 50.8),
    ("ghosts", 32): (57.8, 70.9),
    ("ghosts", 16): (64.3, 72.2),
    ("ghosts", 8): (68.7, 72.0),
    ("ghosts", 4): (70.4, 71.5),
    ("ghosts", 2): (68.4, 71.4),
    (BATCH_GROUP, 2): (75.2, 76.1),
}


def trainings(scale, seed, dataset="cifar100"):
    return [settings_of(scale, row, dataset=dataset, seed=seed) for row in PAPER]


def settings_of(scale, row, **changes):
    """The settings of a row of the table, a key of `PAPER`, with changes."""
    method, size = row
    here = {"classes_per_batch": 4, "example_weights": EXAMPLE_WEIGHTS}
    if scale == "small":
        here |= {"train_images": 10_000, "epochs": 40}
    if method in ("ghosts", BATCH_GROUP):
        here["ghost_batch_size"] = size
    if method == BATCH_GROUP:
        here["groups"] = GROUPS[scale]
    here["renorm"] = method == RENORM
    return Settings.at_scale(scale, **{**here, **changes})


def row_of(settings):
    """Which row of the table settings belong to, a key of `PAPER`."""
    size = settings.ghost_batch_size or settings.batch_size
    if settings.renorm:
        return RENORM, size
    if settings.groups is not None:
        return BATCH_GROUP, size
    return "batch norm" if settings.ghost_batch_size is None else "ghosts", size


def table(rows):
    lines = [["method", "B'", "n", "α off", "paper", "best α", "α on", "paper", "gain"]]
    for row_name, row in rows.items():
        method, size = row_name
        off, on = PAPER.get(row_name, ("", ""))
        lines.append(
            [
                *(method, str(size), str(len(row))),
                *(mean_and_spread(at_zero(row, "accuracy"), ".2f"), str(off)),
                weight_range(row, "accuracy"),
                *(mean_and_spread(at_best(row, "accuracy"), ".2f"), str(on)),
                change(gains(row, "accuracy"), None, ".2f"),
            ]
        )
    return f"{tables.folded(lines, left=1, keys=3)}\nTest accuracy, %."


def claims(rows):
    def values(key, at):
        return at(rows[key], "accuracy")

    batch_norm, renorm = ("batch norm", 128), (RENORM, 128)
    ghosts = {key: row for key, row in rows.items() if key[0] == "ghosts"}
    off, on = best_row(ghosts, at_zero), best_row(ghosts, at_best)
    beaten = "beat batch normalization, both"
    found = [
        claim(
            *("weighing helps batch normalization", 22.1, values(batch_norm, gains)),
            sign=1,
            form=".2f",
        )
    ]
    for text, paper, at, better, other in (
        (
            f"the best ghosts ({off[1]}) {beaten} unweighed",
            *(30.3, at_zero, off, batch_norm),
        ),
        (
            f"the best ghosts ({on[1]}) {beaten} weighed",
            *(10.0, at_best, on, batch_norm),
        ),
        (
            "batch renormalization beats batch normalization, both unweighed",
            *(28.9, at_zero, renorm, batch_norm),
        ),
        (
            f"batch-group statistics beat the best ghosts ({on[1]}), both weighed",
            *(3.9, at_best, (BATCH_GROUP, 2), on),
        ),
    ):
        pair = values(better, at), values(other, at)
        found.append(claim(text, paper, *pair, sign=1, form=".2f"))
    text = "weighing does nothing for batch renormalization"
    change_of_it = "at most 0.1", values(renorm, gains)
    return [*found, claim(text, *change_of_it, sign=0, form=".2f", margin=0.5)]


def plot(rows):
    """Draws accuracy and loss over the example weight, a figure not in the paper."""
    return plot_weights(rows, _name, style_of_row=lambda row: STYLES.get(row[0], {}))


def _name(row):
    method, size = row
    return f"{method}, B' = {size}" if method in ("ghosts", BATCH_GROUP) else method

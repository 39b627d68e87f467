"""Table 1: minibatches of four classes, in which the statistics of a batch mislead.

Question: When each minibatch has examples of only four classes (Sec. 4.4), what do
example weighing, ghosts, batch renormalization and batch-group statistics recover?

    python -m keras_bn4.experiments table1

Setting: Minibatches of 128 that draw four classes at random, with replacement, 32
examples of each, shuffled within the minibatch. Statistics of ghosts and groups follow
the second moment, as in the authors' code, those of batch normalization and
renormalization the variance, as in Keras, all at momentum 0.99. At the small scale
10,000 images for 40 epochs (3,120 steps), since fewer steps teach nothing in this
setting; 3 seeds. Batch renormalization is clipped at r = 3 and d = 5 from the
beginning. Channel groups: 8 at the small scale and 32 at the paper's, which gives no
number.

Selection: The example weight is chosen on validation data for each training. So is,
where "best ghosts" are spoken of, their size, by the mean over seeds. Nothing else was
tuned.

Expected: On CIFAR-100 with a ResNet-18, without and with weighing: batch normalization
40.1 and 62.2, renormalization 69.0 and 69.0, the best ghosts 70.4 and 72.2, batch-group
75.2 and 76.1.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLACK, VERMILION
from keras_bn4.experiments.reproduction.figure4 import draw_weights
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.summary import (
    Difference,
    at_best,
    at_zero,
    best_weight,
    claim,
    claim_of_no_change,
    gains,
    mean_and_spread,
    mean_of,
    rows_of,
)

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


def trainings(scale, seeds, dataset="cifar100", **changes):
    """Lists the settings of all trainings, seed by seed."""
    return [
        settings_of(scale, row, dataset=dataset, seed=seed, **changes)
        for seed in range(seeds)
        for row in PAPER
    ]


def settings_of(scale, row, **changes):
    """The settings of a row of the table, with changes.

    Args:
        scale: `"small"` or `"paper"`.
        row: Key of `PAPER`, a pair of a method and its ghost batch size.
        **changes: Fields of `Settings`.
    """
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
    """Which row of the table the settings of a record belong to, a key of `PAPER`."""
    size = settings["ghost_batch_size"] or settings["batch_size"]
    if settings["renorm"]:
        return RENORM, size
    if settings["groups"] is not None:
        return BATCH_GROUP, size
    return "batch norm" if settings["ghost_batch_size"] is None else "ghosts", size


def report(records):
    """The table with the paper's values, and a line on each claim, as plain text."""
    return report_of_rows(rows_of(records, row_of))


def report_of_rows(rows):
    """The same of rows.

    Args:
        rows: Dict of rows by keys of `PAPER`, and possibly others.
    """
    return "\n".join([table(rows), "", *_claims(rows)])


def table(rows):
    """The table alone.

    Args:
        rows: Dict of rows by keys of `PAPER`.
    """
    lines = [["method", "B'", "n", "α off", "paper", "best α", "α on", "paper", "gain"]]
    for row_name, row in rows.items():
        method, size = row_name
        off, on = PAPER.get(row_name, ("", ""))
        weights = [best_weight(record, "accuracy") for record in row.values()]
        lines.append(
            [
                *(method, str(size), str(len(row))),
                *(mean_and_spread(at_zero(row, "accuracy"), ".2f"), str(off)),
                tables.value_range(weights),
                *(mean_and_spread(at_best(row, "accuracy"), ".2f"), str(on)),
                Difference.between(gains(row, "accuracy")).text(".2f"),
            ]
        )
    return f"{tables.text(lines, left=1)}\nTest accuracy, %."


def _claims(rows):
    if not set(PAPER) <= set(rows):
        return ["Claims need all rows."]
    batch_norm, renorm = rows["batch norm", 128], rows[RENORM, 128]
    batch_group = rows[BATCH_GROUP, 2]
    off, best_off = _best_ghosts(rows, at_zero)
    on, best_on = _best_ghosts(rows, at_best)
    differences = [
        (
            "weighing helps batch normalization",
            "+22.1",
            gains(batch_norm, "accuracy"),
            None,
        ),
        (
            f"the best ghosts ({off}) beat batch normalization, both unweighed",
            "+30.3",
            at_zero(best_off, "accuracy"),
            at_zero(batch_norm, "accuracy"),
        ),
        (
            f"the best ghosts ({on}) beat batch normalization, both weighed",
            "+10.0",
            at_best(best_on, "accuracy"),
            at_best(batch_norm, "accuracy"),
        ),
        (
            "batch renormalization beats batch normalization, both unweighed",
            "+28.9",
            at_zero(renorm, "accuracy"),
            at_zero(batch_norm, "accuracy"),
        ),
        (
            f"batch-group statistics beat the best ghosts ({on}), both weighed",
            "+3.9",
            at_best(batch_group, "accuracy"),
            at_best(best_on, "accuracy"),
        ),
    ]
    lines = [
        claim(text, paper, Difference.between(values, baseline), 1, ".2f")
        for text, paper, values, baseline in differences
    ]
    text = "weighing does nothing for batch renormalization"
    difference = Difference.between(gains(renorm, "accuracy"))
    return [*lines, claim_of_no_change(text, "at most 0.1", difference, 0.5, ".2f")]


def _best_ghosts(rows, values):
    """The size of ghosts with the best mean validation accuracy, and their row."""
    ghosts = {size: row for (method, size), row in rows.items() if method == "ghosts"}

    def mean(size):
        return mean_of(values(ghosts[size], "accuracy", "validation"))

    best = max(ghosts, key=mean)
    return best, ghosts[best]


def draw(records, path):
    """Draws accuracy and loss over the example weight, which the paper doesn't."""
    draw_rows(rows_of(records, row_of), path)


def draw_rows(rows, path):
    """Draws rows, as `report_of_rows` takes them."""
    draw_weights(rows, _name, path, style_of_row=lambda row: STYLES.get(row[0], {}))


def _name(row):
    method, size = row
    return f"{method}, B' = {size}" if method in ("ghosts", BATCH_GROUP) else method

"""Table 1 with another order in the minibatch, variance tracking, and all classes.

Question: How much of Table 1 is due to what the paper leaves open: whether the examples
of a minibatch are shuffled or come class by class, so that ghosts of up to 32 have a
single class; and whether the moving variance tracks the second moment, which contains
the spread of batch means, or the variance? As a control, how do batch-group statistics
do with minibatches of all classes?

    python -m keras_bn4.experiments table1-variants

Setting: that of Table 1. Each variant changes one thing and is compared with Table 1's
trainings. 1 seed. Batch normalization and renormalization depend on neither the order
nor the tracking and are left out.

Selection: the example weight of each training, on validation data. Test data.

Expected: Batch-group statistics have 76.1 % with minibatches of four classes and 76.2 %
with minibatches of all. For the rest the paper has no numbers.

Seen, at the small scale, with a single seed: Class by class, ghosts of up to 32 learn
next to nothing. Tracking the variance changes accuracies by -1.9 to +1.6 points, down
for large ghosts and up for small ones; one seed cannot tell this from chance. With
minibatches of all classes, batch-group statistics recover what they lose here.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLACK, BLUE, GREEN, VERMILION, new_figure
from keras_bn4.experiments.reproduction import table1
from keras_bn4.experiments.reproduction.differences import change, claim
from keras_bn4.experiments.reproduction.rows import (
    at_best,
    at_zero,
    mean_and_spread,
    mean_of,
    weight_range,
)

TITLE = "Table 1 by class, by variance, and with minibatches of all classes"
SEEDS = {"small": 1, "paper": 1}
HOURS = {"small": 1.7, "paper": None}
VARIANTS = {
    "Table 1": {},
    "by class": {"order_in_batch": "by class"},
    "variance": {"variance_tracking": "variance"},
    "all classes": {"classes_per_batch": None},
}
BATCH_GROUP = (table1.BATCH_GROUP, 2)
ROWS = [row for row in table1.PAPER if row[0] == "ghosts" or row == BATCH_GROUP]


def trainings(scale, seed, dataset="cifar100"):
    """Lists the settings of all trainings of a seed, those of Table 1 included."""
    return [
        table1.settings_of(scale, row, dataset=dataset, seed=seed, **variant)
        for name, variant in VARIANTS.items()
        for row in (ROWS if name != "all classes" else [BATCH_GROUP])
    ]


def row_of(settings):
    for name, changes in reversed(VARIANTS.items()):
        if all(getattr(settings, field) == v for field, v in changes.items()):
            return name, table1.row_of(settings)


def table(rows):
    lines = [["variant", "method", "B'", "n", "α off", "difference"]]
    lines[0] += ["best α", "α on", "difference"]
    for (variant, row_name), row in rows.items():
        usual = rows.get(("Table 1", row_name), {})
        line = [variant, row_name[0], str(row_name[1]), str(len(row))]
        for values in (at_zero, at_best):
            found = values(row, "accuracy")
            its_change = change(found, values(usual, "accuracy"), ".2f")
            if values is at_best:
                line.append(weight_range(row, "accuracy"))
            line.append(mean_and_spread(found, ".2f"))
            line.append(its_change if variant != "Table 1" else "")
        lines.append(line)
    note = "Test accuracy, %. Differences are to Table 1."
    return f"{tables.folded(lines, left=2, keys=4)}\n{note}"


def claims(rows):
    usual, control = (
        at_best(rows[variant, BATCH_GROUP], "accuracy")
        for variant in ("Table 1", "all classes")
    )
    text = "batch-group statistics do not suffer from minibatches of four classes"
    values = "76.1 and 76.2", usual, control
    return [claim(text, *values, sign=0, form=".2f", margin=0.5)]


def plot(rows):
    """Draws accuracies over the ghost batch size, a figure not in the paper."""
    figure = new_figure(8, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=[1.8, 1], sharey=True)
    colors = (BLUE, VERMILION, GREEN, BLACK)
    for at, (name, color) in enumerate(zip(VARIANTS, colors)):
        found = {row_name: row for (v, row_name), row in rows.items() if v == name}
        of_batch_groups = found.pop(BATCH_GROUP, None)
        sizes = [size for _, size in found]
        for values, style, face in ((at_best, "o-", color), (at_zero, "s--", "white")):
            label = name if values is at_best else None
            means = [mean_of(values(row, "accuracy")) for row in found.values()]
            if means:
                left.plot(sizes, means, style, color=color, mfc=face, label=label)
            if of_batch_groups is not None:
                # Side by side, so that none hides the other.
                x = at - 0.12 if values is at_best else at + 0.12
                mean = mean_of(values(of_batch_groups, "accuracy"))
                right.plot(x, mean, style[0], color=color, mfc=face)
    left.set_xscale("log", base=2)
    sizes = [size for method, size in ROWS if method == "ghosts"]
    left.set_xticks(sizes, [str(size) for size in sizes])
    left.set_xlabel("ghost batch size B' (log scale)")
    left.set_ylabel("test accuracy, %")
    left.set_ylim(0)
    left.set_title("ghosts (filled: weighed, open: unweighed)")
    left.legend(loc="upper left")
    right.set_title("batch-group, B' = 2")
    right.set_xticks(range(len(VARIANTS)), [n.replace(" ", "\n") for n in VARIANTS])
    right.set_xlim(-0.5, len(VARIANTS) - 0.5)
    right.set_xlabel("variant")
    return figure

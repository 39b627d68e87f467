"""Figure 3: accuracy over the ghost batch size.

Question: Do ghosts of an intermediate size regularize best, with less accuracy both for
the whole batch and for the smallest ghosts?

    python -m keras_bn4.experiments figure3

Setting: the usual one (`settings.py`), with ghosts of 128 (the whole batch, which is
batch normalization), 32, 16, 8, 4 and 2, at example weight 0, without decay of γ and β.
5 seeds at the small scale, 1 at the paper's, which doesn't say how many it has. The
paper shows validation accuracy. Here the best size is selected by the mean validation
accuracy over seeds, and compared on test data.

Selection: The setting of the small scale was chosen because three of its rows overfit
in it, with one seed. Nothing was tuned for any row.

Expected: On CIFAR-100 the best ghosts gain 0.84 points over the whole batch.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLUE, new_figure
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.summary import (
    FORMS,
    Difference,
    at_zero,
    claim,
    mean_and_spread,
    mean_of,
    rows_of,
)

TITLE = "accuracy over the ghost batch size"
SEEDS = {"small": 5, "paper": 1}
HOURS = {"small": 1.3, "paper": None}
GHOST_BATCH_SIZES = (128, 32, 16, 8, 4, 2)


def trainings(scale, seeds, dataset="cifar100", **changes):
    """Lists the settings of all trainings, seed by seed."""
    return [
        Settings.at_scale(
            scale,
            dataset=dataset,
            seed=seed,
            ghost_batch_size=None if size == 128 else size,
            **changes,
        )
        for seed in range(seeds)
        for size in GHOST_BATCH_SIZES
    ]


def rows_by_size(records):
    """Rows by ghost batch size, the whole batch first."""
    rows = rows_of(records, lambda s: s["ghost_batch_size"] or s["batch_size"])
    return dict(sorted(rows.items(), reverse=True))


def best_ghosts(rows):
    """The size of ghosts with the best mean validation accuracy.

    The whole batch is not among them, since it is what they are compared with.
    """

    def mean(size):
        return mean_of(at_zero(rows[size], "accuracy", "validation"))

    return max((size for size in rows if size != max(rows)), key=mean)


def report(records):
    """A table, and a line on each claim of the paper, as plain text."""
    rows = rows_by_size(records)
    whole = max(rows)
    lines = [["B'", "n", "validation accuracy, %", "test accuracy, %"]]
    lines[0] += [f"difference to {whole}", "test loss", f"difference to {whole}"]
    for size, row in rows.items():
        validation = at_zero(row, "accuracy", "validation")
        line = [str(size), str(len(row)), mean_and_spread(validation, ".2f")]
        for metric, form in FORMS.items():
            values = at_zero(row, metric)
            line.append(mean_and_spread(values, form))
            change = Difference.between(values, at_zero(rows[whole], metric))
            line.append("" if size == whole else change.text(form))
        lines.append(line)
    return "\n".join([tables.text(lines), "", *_claims(rows)])


def _claims(rows):
    if len(rows) < 3:
        return ["The claims need the whole batch and ghosts of two sizes."]
    best, whole, smallest = best_ghosts(rows), max(rows), min(rows)
    chosen = f"ghosts of {best}, which are best on validation data,"
    lines = [
        _better(
            rows, best, whole, f"{chosen} beat the whole batch", "+0.84 (validation)"
        )
    ]
    if best == smallest:
        best = best_ghosts({size: row for size, row in rows.items() if size > smallest})
        chosen = f"ghosts of {best}, the best of the larger ones on validation data,"
    text = f"ghosts can be too small: {chosen} beat those of {smallest}"
    return [*lines, _better(rows, best, smallest, text, "shown without number")]


def _better(rows, size, other, text, paper):
    values = (at_zero(rows[s], "accuracy") for s in (size, other))
    difference = Difference.between(*values)
    text += " (test accuracy, in points)"
    return claim(text, paper, difference, 1, ".2f")


def draw(records, path):
    """Draws accuracy over ghost batch size, as the paper does."""
    rows = rows_by_size(records)
    figure = new_figure(5, 3.6, dpi=160)
    panel = figure.subplots()
    for split, color, offset in (("validation", "0.55", 0.97), ("test", BLUE, 1)):
        for size, row in rows.items():
            values = list(at_zero(row, "accuracy", split).values())
            panel.plot([size * offset] * len(values), values, ".", color=color, mew=0)
        means = [mean_of(at_zero(row, "accuracy", split)) for row in rows.values()]
        at = [size * offset for size in rows]
        panel.plot(at, means, "o-", color=color, label=f"{split}, mean of seeds")
    panel.set_xscale("log", base=2)
    panel.set_xticks(list(rows), [str(size) for size in rows])
    panel.set_xlabel("ghost batch size B'")
    panel.set_ylabel("accuracy, %")
    panel.legend()
    figure.savefig(path)

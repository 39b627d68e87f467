"""Figure 3: accuracy over the ghost batch size.

Question: Do ghosts of an intermediate size regularize best, with lower accuracy both
for the whole batch and for the smallest ghosts?

    python -m keras_bn4.experiments figure3

Setting: the usual one (`settings.py`), with ghosts of 128 (the whole batch, which is
batch normalization), 32, 16, 8, 4 and 2, at example weight 0, without decay of γ and β.
5 seeds at the small scale, 1 at the paper's, where the number is not given. The paper
shows validation accuracy. Here the best size is selected by the mean validation
accuracy over seeds, and compared on test data.

Selection: The setting of the small scale was chosen because three of its rows overfit
in it, with one seed. Nothing was tuned for any row.

Expected: On CIFAR-100 the best ghosts gain 0.84 points over the whole batch.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLUE, new_figure
from keras_bn4.experiments.reproduction.differences import change, claim
from keras_bn4.experiments.reproduction.rows import (
    FORMS,
    at_zero,
    best_row,
    mean_and_spread,
    mean_of,
)
from keras_bn4.experiments.reproduction.settings import Settings

TITLE = "accuracy over the ghost batch size"
SEEDS = {"small": 5, "paper": 1}
HOURS = {"small": 1.3, "paper": None}
GHOST_BATCH_SIZES = (128, 32, 16, 8, 4, 2)


def trainings(scale, seed, dataset="cifar100"):
    usual = Settings.at_scale(scale, dataset=dataset, seed=seed)
    return [usual, *(usual.replace(ghost_batch_size=n) for n in GHOST_BATCH_SIZES[1:])]


def row_of(settings):
    return settings.ghost_batch_size or settings.batch_size


def best_ghosts(rows):
    """The size of ghosts with the best mean validation accuracy.

    The whole batch is not among them, since it is what they are compared with.
    """
    return best_row({size: row for size, row in rows.items() if size != max(rows)})


def table(rows):
    whole = max(rows)
    lines = [["B'", "n", "validation accuracy, %", "test accuracy, %"]]
    lines[0] += [f"difference to {whole}", "test loss", f"difference to {whole}"]
    for size, row in rows.items():
        validation = at_zero(row, "accuracy", "validation")
        line = [str(size), str(len(row)), mean_and_spread(validation, ".2f")]
        for metric, form in FORMS.items():
            values, baseline = at_zero(row, metric), at_zero(rows[whole], metric)
            line.append(mean_and_spread(values, form))
            line.append("" if size == whole else change(values, baseline, form))
        lines.append(line)
    return tables.folded(lines, keys=2)


def claims(rows):
    def better(size, other, text, paper, number=None):
        values = (at_zero(rows[one], "accuracy") for one in (size, other))
        text += " (test accuracy, in points)"
        return claim(text, paper, *values, sign=1, form=".2f", number=number)

    best, whole, smallest = best_ghosts(rows), max(rows), min(rows)
    chosen = f"ghosts of {best}, which are best on validation data,"
    text = f"{chosen} beat the whole batch"
    found = [better(best, whole, text, "+0.84 (validation)", 0.84)]
    if best == smallest:
        best = best_ghosts({size: row for size, row in rows.items() if size > smallest})
        chosen = f"ghosts of {best}, the best of the larger ones on validation data,"
    text = f"ghosts can be too small: {chosen} beat those of {smallest}"
    return [*found, better(best, smallest, text, None)]


def plot(rows, ax=None):
    """Draws accuracy over ghost batch size, as the paper does."""
    ax = ax or new_figure(5, 3.6, dpi=160).subplots()
    for split, color, offset in (("validation", "0.55", 0.97), ("test", BLUE, 1)):
        for size, row in rows.items():
            values = list(at_zero(row, "accuracy", split).values())
            ax.plot([size * offset] * len(values), values, ".", color=color, mew=0)
        means = [mean_of(at_zero(row, "accuracy", split)) for row in rows.values()]
        at = [size * offset for size in rows]
        ax.plot(at, means, "o-", color=color, label=f"{split}, mean of seeds")
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(rows), [str(size) for size in rows])
    ax.set_xlabel("ghost batch size B'")
    ax.set_ylabel("accuracy, %")
    ax.legend()
    return ax.figure

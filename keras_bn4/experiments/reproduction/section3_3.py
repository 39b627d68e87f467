"""Section 3.3: weight decay of γ and β.

Question: Does decay of γ and β raise the accuracy of a residual network? Does it matter
whether γ is pulled to 0 or to 1? Does a network without residual connections gain
nothing, where most γ and β have no path to the output without another normalization?

    python -m keras_bn4.experiments section3.3

Setting: the usual one (`settings.py`) with batch normalization at example weight 0. γ
and β decay by the same factor as kernels, or not at all. The network without residual
connections is the same chain of convolutions. (The paper compares ResNet-50 with
Inception-v3 on Caltech-256 instead.) 5 seeds at the small scale, 10 at the paper's, as
in the paper. The trainings of the residual network without decay of γ and β are those
of Figure 3.

Selection: nothing was tuned. Test data.

Expected: On CIFAR-100 decay gains 0.3 points (10 runs, p = 0.002); pulling γ to 1
instead of 0 makes no difference (p = 0.46). On Caltech-256 it gains 0.91 points for
ResNet-50 and loses 0.13 for Inception-v3.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLUE, new_figure
from keras_bn4.experiments.reproduction.differences import change, claim
from keras_bn4.experiments.reproduction.rows import (
    FORMS,
    at_zero,
    mean_and_spread,
    mean_of,
)
from keras_bn4.experiments.reproduction.settings import Settings

TITLE = "weight decay of γ and β"
SEEDS = {"small": 5, "paper": 10}
HOURS = {"small": 1.3, "paper": None}
DECAYS = ("none", "to 0", "to 1")
NETWORKS = {True: "residual", False: "plain"}
# The smallest effect that the paper calls significant, in points.
MARGIN = 0.3


def trainings(scale, seed, dataset="cifar100"):
    usual = Settings.at_scale(scale, dataset=dataset, seed=seed)
    return [
        usual.replace(residual=residual, affine_decay=decay)
        for residual in NETWORKS
        for decay in DECAYS
    ]


def row_of(settings):
    return settings.residual, settings.affine_decay


def table(rows):
    lines = [["network", "decay of γ, β", "n", "test accuracy, %", "difference"]]
    lines[0] += ["test loss", "difference"]
    for (residual, decay), row in rows.items():
        line = [NETWORKS[residual], decay, str(len(row))]
        for metric, form in FORMS.items():
            values = at_zero(row, metric)
            baseline = at_zero(rows.get((residual, "none"), {}), metric)
            line.append(mean_and_spread(values, form))
            line.append(change(values, baseline, form) if decay != "none" else "")
        lines.append(line)
    return tables.folded(lines, left=2, keys=3)


def claims(rows):
    values = {row: at_zero(records, "accuracy") for row, records in rows.items()}
    effects = {
        residual: {
            seed: after - values[residual, "none"][seed]
            for seed, after in values[residual, "to 0"].items()
            if seed in values[residual, "none"]
        }
        for residual in NETWORKS
    }
    helps = "decay of γ and β helps a residual network"
    return [
        claim(helps, 0.3, effects[True], sign=1, form=".2f"),
        claim(
            "it makes no difference whether γ is pulled to 1 or to 0",
            "p = 0.46",
            values[True, "to 1"],
            values[True, "to 0"],
            sign=0,
            form=".2f",
            margin=MARGIN,
        ),
        claim(
            f"{helps} more than one without residual connections",
            "+0.91 against -0.13, on Caltech-256",
            effects[True],
            effects[False],
            sign=1,
            form=".2f",
        ),
    ]


def plot(rows, ax=None):
    """Draws accuracies, a dot for each seed, a figure not in the paper."""
    ax = ax or new_figure(5.4, 3.6, dpi=160).subplots()
    for at, row in enumerate(rows.values()):
        values = at_zero(row, "accuracy")
        ax.plot([at] * len(values), list(values.values()), ".", color="0.55", mew=0)
        ax.plot(at, mean_of(values), "o", color=BLUE)
    names = [f"{NETWORKS[residual]}\n{decay}" for residual, decay in rows]
    ax.set_xticks(range(len(rows)), names)
    ax.set_xlabel("network, and decay of γ and β")
    ax.set_ylabel("test accuracy, %; seeds and mean")
    return ax.figure

"""Section 3.3: weight decay of γ and β.

Question: Does decay of γ and β raise the accuracy of a residual network, does it matter
whether γ is pulled to 0 or to 1, and does a network without residual connections, most
of whose γ and β have no path to the output without another normalization, gain nothing?

    python -m keras_bn4.experiments section3.3

Setting: the usual one (`settings.py`) with batch normalization at example weight 0. γ
and β decay by the same factor as kernels, or not at all. The network without residual
connections is the same chain of convolutions. (For this the paper compares ResNet-50
with Inception-v3 on Caltech-256.) 5 seeds at the small scale, 10 at the paper's, as in
the paper. The trainings of the residual network without this decay are those of Figure
3.

Selection: nothing was tuned. Test data.

Expected: On CIFAR-100 decay gains 0.3 points (10 runs, p = 0.002); pulling γ to 1 and
not to 0 makes no difference (p = 0.46). On Caltech-256 it gains 0.91 points for
ResNet-50 and loses 0.13 for Inception-v3.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLUE, new_figure
from keras_bn4.experiments.reproduction.settings import Settings
from keras_bn4.experiments.reproduction.summary import (
    FORMS,
    Difference,
    at_zero,
    claim,
    claim_of_no_change,
    mean_and_spread,
    mean_of,
    rows_of,
)

TITLE = "weight decay of γ and β"
SEEDS = {"small": 5, "paper": 10}
HOURS = {"small": 1.3, "paper": None}
DECAYS = ("none", "to 0", "to 1")
NETWORKS = {True: "residual", False: "plain"}
# The smallest effect that the paper calls significant, in points.
MARGIN = 0.3


def trainings(scale, seeds, dataset="cifar100", **changes):
    """Lists the settings of all trainings, seed by seed."""
    return [
        Settings.at_scale(
            scale,
            dataset=dataset,
            seed=seed,
            residual=residual,
            affine_decay=decay,
            **changes,
        )
        for seed in range(seeds)
        for residual in NETWORKS
        for decay in DECAYS
    ]


def report(records):
    """A table, and a line on each claim of the paper, as plain text."""
    rows = _rows(records)
    lines = [["network", "decay of γ, β", "n", "test accuracy, %", "difference"]]
    lines[0] += ["test loss", "difference"]
    for (residual, decay), row in rows.items():
        line = [NETWORKS[residual], decay, str(len(row))]
        for metric, form in FORMS.items():
            values = at_zero(row, metric)
            baseline = at_zero(rows.get((residual, "none"), {}), metric)
            line.append(mean_and_spread(values, form))
            change = Difference.between(values, baseline)
            line.append(change.text(form) if decay != "none" else "")
        lines.append(line)
    return "\n".join([tables.text(lines, left=2), "", *_claims(rows)])


def _rows(records):
    return rows_of(records, lambda s: (s["residual"], s["affine_decay"]))


def _claims(rows):
    if len(rows) < 6:
        return ["Claims need all rows."]
    values = {row: at_zero(records, "accuracy") for row, records in rows.items()}
    effects = {
        residual: {
            seed: after - values[residual, "none"][seed]
            for seed, after in values[residual, "to 0"].items()
            if seed in values[residual, "none"]
        }
        for residual in NETWORKS
    }
    return [
        claim(
            "decay of γ and β helps a residual network",
            "+0.3",
            Difference.between(effects[True]),
            1,
            ".2f",
        ),
        claim_of_no_change(
            "it makes no difference whether γ is pulled to 1 or to 0",
            "p = 0.46",
            Difference.between(values[True, "to 1"], values[True, "to 0"]),
            MARGIN,
            ".2f",
        ),
        claim(
            "decay of γ and β helps a residual network more than one without residual "
            "connections",
            "+0.91 against -0.13, on Caltech-256",
            Difference.between(effects[True], effects[False]),
            1,
            ".2f",
        ),
    ]


def draw(records, path):
    """Draws accuracies, a dot for each seed, which the paper doesn't."""
    rows = _rows(records)
    figure = new_figure(5.4, 3.6, dpi=160)
    panel = figure.subplots()
    for at, row in enumerate(rows.values()):
        values = at_zero(row, "accuracy")
        panel.plot([at] * len(values), list(values.values()), ".", color="0.55", mew=0)
        panel.plot(at, mean_of(values), "o", color=BLUE)
    names = [f"{NETWORKS[residual]}\n{decay}" for residual, decay in rows]
    panel.set_xticks(range(len(rows)), names)
    panel.set_xlabel("network, and decay of γ and β")
    panel.set_ylabel("test accuracy, %; seeds and mean")
    panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)

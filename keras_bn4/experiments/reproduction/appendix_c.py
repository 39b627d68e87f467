"""Appendix C: what did not work.

Question: Is it better to recompute the moving statistics after the training, from
training images without augmentation or from the test images without their labels? Does
group normalization benefit from randomness like that of minibatches, by noise on the
statistics of groups or by groups of random channels? Does it benefit from groups with
equally many elements in all layers?

    python -m keras_bn4.experiments appendix-c

Setting: the usual one (`settings.py`), 3 seeds. Batch normalization at example weight 0
gets its moving statistics recomputed from training and from test images, with and
without augmentation; the training images are those of one more epoch. (The paper
continues training for some epochs at a learning rate of 0.) Group normalization is that
of Figure 2, whose trainings are shared, at example weight 1. Noise on means has a
strength of 0.1 or 0.3 moving standard deviations, and noise on variances of as many
moving variances. Groups are random in all steps or in half of them. 1,024 is the number
of elements of a group in the second stage of the networks of Figure 2; at the small
scale, groups then have 1, 4 and 16 channels. The paper gives neither strengths nor
sizes. It also tried numbers of groups that change during training, and Switchable
Normalization, which are left out here.

Selection: nothing was tuned. Test data.

Expected: Statistics of images without augmentation lose half a point of accuracy on
CIFAR-100 and have a slightly better loss. Test images are equivalent to training
images, within 0.1 points and 1 % of the loss, with and without augmentation. Stochastic
group normalization does not work well. A constant number of elements has mild success,
but not on every data set.
"""

from keras_bn4.common import tables
from keras_bn4.common.figures import BLUE, new_figure
from keras_bn4.experiments.reproduction import figure2
from keras_bn4.experiments.reproduction.differences import change, claim
from keras_bn4.experiments.reproduction.rows import (
    FORMS,
    at_one,
    at_zero,
    mean_and_spread,
    mean_of,
)
from keras_bn4.experiments.reproduction.section3_3 import MARGIN
from keras_bn4.experiments.reproduction.settings import Settings

TITLE = "what did not work: recomputed moving statistics, stochastic groups"
SEEDS = {"small": 3, "paper": 1}
HOURS = {"small": 0.9, "paper": None}
USUAL = "of the training"
RECALIBRATIONS = (
    *("training images", "augmented training images"),
    *("test images", "augmented test images"),
)
BATCH_NORM = "batch normalization"
GROUP_NORM = "group normalization"
EQUAL = "1,024 elements a group"
# What differs from group normalization.
VARIANTS = {
    GROUP_NORM: {},
    "noise of 0.1": {"statistics_noise": 0.1},
    "noise of 0.3": {"statistics_noise": 0.3},
    "random groups": {"random_groups": 1.0},
    "random groups, half of the steps": {"random_groups": 0.5},
    EQUAL: {"groups": None, "elements_per_group": 1024},
}
# Of the paper, in points and in percent of the loss.
ACCURACY_MARGIN, LOSS_MARGIN = 0.1, 1


def trainings(scale, seed, dataset="cifar100"):
    """Lists the settings of all trainings of a seed, that of Figure 2 included."""
    usual = Settings.at_scale(scale, dataset=dataset, seed=seed)
    (group_norm,) = figure2.trainings(scale, seed, dataset)
    return [
        usual.replace(recalibrations=RECALIBRATIONS),
        *(group_norm.replace(**variant) for variant in VARIANTS.values()),
    ]


def row_of(settings):
    if settings.recalibrations:
        return BATCH_NORM
    return next(
        name
        for name, variant in reversed(VARIANTS.items())
        if all(getattr(settings, field) == v for field, v in variant.items())
    )


def table(rows):
    parts = []
    if BATCH_NORM in rows:
        parts.append(
            _table("Batch normalization, moving statistics", _by_statistics(rows))
        )
    if GROUP_NORM in rows:
        parts.append(_table("Group normalization at α = 1", _by_variant(rows)))
    return "\n\n".join(parts)


def _by_statistics(rows):
    """The values by metric, of a dict by statistics."""
    row = rows.get(BATCH_NORM, {})
    values = {USUAL: {metric: at_zero(row, metric) for metric in FORMS}}
    for name in RECALIBRATIONS:
        values[name] = {metric: at_zero(row, metric, name) for metric in FORMS}
    return values


def _by_variant(rows):
    """The same, of a dict by variant."""
    return {
        name: {metric: at_one(rows[name], metric) for metric in FORMS}
        for name in VARIANTS
        if name in rows
    }


def _table(title, found):
    lines = [[title, "n", "test accuracy, %", "difference", "test loss", "difference"]]
    baseline = next(iter(found.values()))
    for name, values in found.items():
        line = [name, str(len(values["accuracy"]))]
        for metric, form in FORMS.items():
            its_change = change(values[metric], baseline[metric], form)
            line.append(mean_and_spread(values[metric], form))
            line.append(its_change if values is not baseline else "")
        lines.append(line)
    return tables.folded(lines, left=1, keys=2)


def claims(rows):
    return [*_claims_on_statistics(rows[BATCH_NORM]), *_claims_on_groups(rows)]


def _claims_on_statistics(row):
    def values(metric, name):
        return at_zero(row, metric, name)

    found = []
    for metric, paper, what in (
        ("accuracy", -0.5, "lower the accuracy"),
        ("cross_entropy", None, "lower the loss"),
    ):
        text = f"statistics of training images without augmentation {what}"
        pair = values(metric, "training images"), at_zero(row, metric)
        found.append(claim(text, paper, *pair, sign=-1, form=FORMS[metric]))
    for before, with_or_without in (("", "without"), ("augmented ", "with")):
        names = f"{before}test images", f"{before}training images"
        text = "statistics of test images are equivalent to those of training images, "
        text += f"both {with_or_without} augmentation"
        points = [values("accuracy", name) for name in names]
        test, train = (values("cross_entropy", name) for name in names)
        shares = [{seed: 100 * (test[seed] / train[seed] - 1) for seed in test}]
        for unit, paper, pair, margin in (
            ("points", "0.1", points, ACCURACY_MARGIN),
            ("% of the loss", "1", shares, LOSS_MARGIN),
        ):
            keywords = {"sign": 0, "form": ".2f", "margin": margin}
            found.append(claim(f"{text}, {unit}", paper, *pair, **keywords))
    return found


def _claims_on_groups(rows):
    accuracies = {n: v["accuracy"] for n, v in _by_variant(rows).items()}
    group_norm, found = accuracies.pop(GROUP_NORM), []
    for name, values in accuracies.items():
        text = f"{name}: group normalization gains nothing, points"
        paper, margin = "does not work well", MARGIN
        if name == EQUAL:
            text = f"{name} beat a constant number of groups, points"
            paper, margin = "mild success, not on every data set", None
        keywords = {"sign": 1, "form": ".2f", "margin": margin}
        found.append(claim(text, paper, values, group_norm, **keywords))
    return found


def plot(rows):
    """Draws accuracies, a dot for each seed, a figure not in the paper."""
    figure = new_figure(9.6, 3.6, dpi=160)
    for panel, title, found in zip(
        figure.subplots(1, 2),
        ("batch normalization, by moving statistics", "group normalization, α = 1"),
        (_by_statistics(rows), _by_variant(rows)),
    ):
        for at, values in enumerate(found.values()):
            accuracies = list(values["accuracy"].values())
            panel.plot(accuracies, [at] * len(accuracies), ".", color="0.55", mew=0)
            if accuracies:
                panel.plot(mean_of(values["accuracy"]), at, "o", color=BLUE)
        panel.set_yticks(range(len(found)), list(found))
        panel.invert_yaxis()
        panel.set_title(title)
        panel.set_xlabel("test accuracy, %; seeds and mean")
    return figure

"""Derives advice for a model from the paper's findings."""

import collections

from keras_bn4.common.arguments import check_integer, common_divisors
from keras_bn4.common.models import BatchNormalization
from keras_bn4.weight_decay import normalization_paths


class Advice(collections.namedtuple("Advice", ["what", "why", "section"])):
    """One piece of advice.

    Attributes:
        what: String, what to do or not to do.
        why: String, the facts about the model and the findings of the paper that it
            follows from.
        section: String, the section of the paper with these findings.
    """

    def __str__(self):
        return f"{self.what}\n    {self.why} ({self.section})"


def advise(model, *, batch_size=None, overfits=None):
    """Advises on ghosts, example weight, channel groups and weight decay of a model.

    Take the advice as the start of a search, and not as its result: the paper's
    findings are from image classification.

    Args:
        model: A built Functional or Sequential `keras.Model`.
        batch_size: Positive integer, the batch size of the training, or `None` if
            unknown.
        overfits: Whether the model does much better on its training data than on
            others, or `None` if unknown.

    Returns:
        List of `Advice`. It is empty for a model without normalizers.

    Raises:
        ValueError: if an argument is not as above.
    """
    if batch_size is not None:
        check_integer("batch_size", batch_size)
    paths = normalization_paths(model)
    layers = [row.layer for row in paths if isinstance(row.layer, BatchNormalization)]
    advice = []
    if layers:
        advice += _weighing(layers)
        advice += _ghosts(layers, batch_size, overfits)
    if paths:
        advice += _decay(paths, overfits)
    return advice


def _weighing(layers):
    weights = {getattr(layer, "example_weight", 0.0) for layer in layers}
    if any(weights):
        return []
    return [
        Advice(
            "Sweep the example weight on validation data, for each metric by itself: "
            "keras_bn4.sweep_example_weight. No training needed.",
            f"At inference, {len(layers)} batch normalization layers give an example "
            "no share in its own statistics. In the paper every model gained from one. "
            "The best weight is not 1 / batch size, and grows as batches or ghosts "
            "shrink",
            "Sec. 3.1",
        )
    ]


def _ghosts(layers, batch_size, overfits):
    sizes = {getattr(layer, "ghost_batch_size", None) for layer in layers} - {None}
    if sizes or any(getattr(layer, "channels_per_group", 1) > 1 for layer in layers):
        return []
    if batch_size is not None and batch_size <= 2:
        return _groups(layers, batch_size, overfits)
    if overfits is False:
        return [
            Advice(
                "Leave ghosts out.",
                "They regularize, so a model that does not overfit gains nothing. This "
                "was so on SVHN, where accuracy was 98.8 % without ghosts",
                "Sec. 3.2",
            )
        ]
    tries = [8, 16, 32]
    if batch_size is not None:
        tries = [size for size in tries if size < batch_size]
        tries = tries or [max(2, batch_size // 2)]
    tries = ", ".join(map(str, tries))
    if batch_size is None:
        condition = "ghosts must be smaller than the batch size, which is not known"
    else:
        condition = f"the batch size is {batch_size}"
    if overfits is None:
        condition += "; only useful if the model overfits"
    return [
        Advice(
            f"Train with ghosts: keras_bn4.convert(model, ghost_batch_size=...), try "
            f"{tries}.",
            f"Ghosts regularize at no cost ({condition}). Accuracy is best at an "
            "intermediate size: +5.8 % on Caltech-256, +0.8 % on CIFAR-100. Sweep the "
            "example weight again afterwards; it gains more with ghosts",
            "Sec. 3.2",
        )
    ]


def _groups(layers, batch_size, overfits):
    divisors = common_divisors(layer.moving_mean.shape[0] for layer in layers)
    which = f"groups that divide the channels of all layers: {divisors[-6:]}"
    if divisors == [1]:
        which = (
            "no number but 1 divides the channels of all layers, so give a function of "
            "the layer"
        )
    if batch_size == 1:
        return [
            Advice(
                "With batches of 1, use group normalization: keras_bn4.convert(model, "
                f"groups=..., ghost_batch_size=1); {which}.",
                "There are no other examples to normalize with. What the paper gains "
                "here comes from weight decay of γ and β",
                "Sec. 4.2",
            )
        ]
    if overfits is False:
        return [
            Advice(
                "Try groups of channels: keras_bn4.convert(model, groups=...); "
                f"{which}. Compare with group normalization.",
                "Statistics of 2 examples are noisy, which regularizes. On SVHN, where "
                "the model did not overfit, they did slightly worse than group "
                "normalization",
                "Sec. 3.4",
            )
        ]
    return [
        Advice(
            "Group channels across both examples: "
            f"keras_bn4.convert(model, groups=...); {which}.",
            "Batches of 2 are too small for batch normalization. Against tuned group "
            "normalization: +0.7 % on CIFAR-100, +5.0 % on Caltech-256",
            "Sec. 3.4",
        )
    ]


def _decay(paths, overfits):
    acts = [r for r in paths if r.kind == "open" or r.merge == "addition"]
    counts = paths.counts
    what = (
        f"{counts['open']} of {len(paths)} normalizers have a path to the output, "
        f"and {sum(row.merge == 'addition' for row in paths)} more have an addition "
        "before the next normalizer"
    )
    if overfits is False:
        return [
            Advice(
                "Leave γ and β without weight decay.",
                "Decay of γ and β regularizes, and made no difference to a model that "
                "did not overfit (SVHN)",
                "Sec. 3.3",
            )
        ]
    if len(acts) < 0.2 * len(paths):
        return [
            Advice(
                "Leave γ and β without weight decay: "
                'keras_bn4.exclude_from_weight_decay(optimizer, model, decay="none").',
                f"Only {what}, so normalizers undo most of the decay. Inception-v3 "
                "lost 0.13 % of accuracy by it",
                "Sec. 3.3",
            )
        ]
    condition = "" if overfits else "This is useful if the model overfits: "
    return [
        Advice(
            "Decay γ and β where it acts: keras_bn4.exclude_from_weight_decay("
            'optimizer, model, decay=("open", "residual")), or keras_bn4.convert(model,'
            " gamma_regularizer=..., beta_regularizer=...).",
            f"{condition}{what}. The decay improved accuracy by 0.91 % for ResNet-50 "
            "on Caltech-256, and by 0.3 % for a ResNet-18 on CIFAR-100. Whether γ "
            "decayed to 0 or to 1 made no difference",
            "Sec. 3.3",
        )
    ]

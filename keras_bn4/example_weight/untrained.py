"""Detection of models that look untrained, such as one given a wrong range."""

import math
import operator

import keras

UNTRAINED = "The model looks untrained at weight 0"
# An accuracy that rises as much at such a weight, beyond its interval, was spoiled by
# the moving statistics.
GAIN = 0.05
LARGE_WEIGHT = 0.3


def loss_name(model):
    """The name of the loss that a model was compiled with, or `None`."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, str):
        return loss
    return getattr(loss, "name", None) or getattr(loss, "__name__", None)


def loss_of_guessing(model):
    """The loss of a classifier to which all classes are equally likely.

    That is infinite where the loss of the model is not a cross-entropy over classes.
    """
    shape = getattr(model, "output_shape", None)
    names = ("sparse_categorical_crossentropy", "categorical_crossentropy")
    if loss_name(model) not in names or not isinstance(shape, tuple) or not shape[-1]:
        return math.inf
    penalties = (
        float(keras.ops.convert_to_numpy(variable.regularizer(variable)))
        for variable in model.trainable_variables
        if variable.regularizer is not None
    )
    return math.log(shape[-1]) + sum(penalties)


def why_untrained(rows, shares, guessing):
    """Why a model looks untrained at weight 0, a sentence, or `""`.

    Args:
        rows: The rows of a sweep.
        shares: Names of metrics that are averages of values from 0 to 1, and better
            high.
        guessing: Float, what `loss_of_guessing` returns.
    """
    reason = ""
    for metric in shares:
        name = f"{metric}_difference"
        gaining = [
            row
            for row in rows
            if row["example_weight"] >= LARGE_WEIGHT and row[f"{name}_lower"] > GAIN
        ]
        if gaining:
            row = max(gaining, key=operator.itemgetter(name))
            reason = (
                f"weight {row['example_weight']:g} gains {100 * row[name]:.1f} points "
                f"of {metric}"
            )
    if rows[0].get("loss", 0) > guessing:
        reason = f"its loss is {rows[0]['loss']:.4g}, that of guessing {guessing:.4g}"
    if not reason:
        return ""
    return (
        f"{UNTRAINED}: {reason}. First compare the range of values that it is given "
        "with that of its training, such as 0 to 1 or 0 to 255. If they are equal, its "
        "moving statistics may lag behind its weights: `keras_bn4.recalibrate(model, "
        "training_images)`. No weight makes up for either."
    )

"""A sweep is `evaluate` at each weight for every loss and metric that Keras exports."""

import inspect
import math

import keras
import numpy as np
import pytest
from helpers import slow_but
from keras import layers, ops
from sweep_helpers import assert_rows_are_evaluations

from keras_bn4 import (
    ExampleWeightTuning,
    GhostBatchNormalization,
    sweep_example_weight,
)

# On TensorFlow, Keras weights a short last batch as a whole one in single outputs.
N, CLASSES = 24, 3
RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (N, 6, 4)).astype("float32")
LABELS = RNG.integers(0, CLASSES, N)
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]
STEPS = RNG.integers(1, CLASSES, (N, 2)).astype("int32")
SAMPLE_WEIGHT = RNG.uniform(0.5, 2, N).astype("float32")

# What has no default, expects classes as numbers, or has one for more classes.
ARGUMENTS = {
    "CategoricalGeneralizedCrossEntropy": {"q": 0.5},
    "MeanRelativeError": {"normalizer": ops.ones(CLASSES)},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.4},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "IoU": {"num_classes": CLASSES, "target_class_ids": [0, 2]},
    "OneHotIoU": {"num_classes": CLASSES, "target_class_ids": [0, 2]},
    "MeanIoU": {"num_classes": CLASSES},
    "OneHotMeanIoU": {"num_classes": CLASSES},
    "SparseTopKCategoricalAccuracy": {"k": 2},
    "TopKCategoricalAccuracy": {"k": 2},
}
OF_NUMBERS = ("IoU", "MeanIoU")
# Classes to derive others from, and metrics of values and not of predictions.
NO_CASES = ("Loss", "Metric", "MeanMetricWrapper", "Mean", "Sum")


def exported(module):
    classes = (keras.losses.Loss, keras.metrics.Metric)
    for name, value in vars(module).items():
        is_case = inspect.isclass(value) and issubclass(value, classes)
        if is_case and name not in NO_CASES:
            yield value.__name__, value


LOSSES, METRICS = (dict(exported(m)) for m in (keras.losses, keras.metrics))


def made(kind):
    name = kind.__name__
    sparse = {"sparse_y_pred": False, "sparse_y_true": False}
    return kind(**ARGUMENTS.get(name, {}), **(sparse if name in OF_NUMBERS else {}))


def network(outputs="classes"):
    inputs = keras.Input((6, 4))
    x = GhostBatchNormalization()(inputs)
    if outputs == "steps":
        return keras.Model(inputs, layers.Dense(CLASSES)(x))
    x = layers.GlobalAveragePooling1D()(layers.ReLU()(x))
    if outputs == "directions":
        x = layers.UnitNormalization()(layers.Dense(CLASSES)(x))
    else:
        x = layers.Dense(CLASSES, activation="softmax")(x)
    return keras.Model(inputs, x)


def fitting(name):
    """A model and labels that a loss or a metric fits."""
    if name == "CTC":
        return network("steps"), STEPS
    if name == "Circle":
        return network("directions"), LABELS
    if "Sparse" in name or name == "CategoricalGeneralizedCrossEntropy":
        return network(), LABELS
    return network(), ONE_HOT


def check(model, x, y, **arguments):
    """Checks a sweep against `evaluate`, and returns its last row."""
    arguments |= {"batch_size": 8, "verbose": 0}
    sweep = sweep_example_weight(model, x, y, example_weights=[0.6], **arguments)
    assert_rows_are_evaluations(model, sweep, lambda: {"x": x, "y": y, **arguments})
    return sweep.rows[1]


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
@pytest.mark.parametrize("name", slow_but(["Dice", "CTC"], LOSSES))
def test_losses(name):
    model, y = fitting(name)
    model.compile(loss=made(LOSSES[name]))
    row = check(model, X, y)
    assert row["loss_difference"] != 0
    has_interval = not math.isnan(row["loss_difference_lower"])
    assert has_interval == (name not in ("Dice", "Tversky"))
    if name not in ("CTC", "Circle"):
        row = check(model, X, y, sample_weight=SAMPLE_WEIGHT)
        has_interval = not math.isnan(row["loss_difference_lower"])
        assert has_interval == (name not in ("Dice", "Tversky"))


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
@pytest.mark.filterwarnings("ignore:You are passing weight as `float`")
@pytest.mark.parametrize("name", slow_but(["MeanIoU"], METRICS))
def test_metrics(name):
    model, y = fitting(name)
    model.compile(
        loss="sparse_categorical_crossentropy" if y is LABELS else "mse",
        metrics=[made(METRICS[name])],
        # Keras' own can't weigh examples of several classes.
        weighted_metrics=[] if name == "BinaryIoU" else [made(METRICS[name])],
    )
    check(model, X, y, sample_weight=SAMPLE_WEIGHT)


def batch_mean(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2)


def by_class(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2, 0)


def test_one_number_for_a_batch_has_no_interval():
    model = network()
    losses = [keras.losses.Dice(), keras.losses.Tversky(name="tversky")]
    model.compile("sgd", "dice", metrics=["mae", *losses, batch_mean, by_class])
    row = check(model, X, ONE_HOT)
    with_interval = [
        name
        for name in ("loss", "mae", "dice", "tversky", "batch_mean", "by_class")
        if not math.isnan(row[f"{name}_difference_lower"])
    ]
    assert with_interval == ["mae"]
    tuning = ExampleWeightTuning((X, ONE_HOT), example_weights=[0.6])
    model.fit(X, ONE_HOT, verbose=0, callbacks=[tuning])
    assert tuning.sweep.best()["loss"] == min(r["loss"] for r in tuning.sweep.rows)


@pytest.mark.slow
def test_one_output_without_values_by_example():
    inputs = keras.Input((6, 4))
    x = network()(inputs)
    model = keras.Model(inputs, [layers.Dense(CLASSES, name=n)(x) for n in "ab"])
    model.compile(loss=["mse", batch_mean])
    row = check(model, X, [ONE_HOT, ONE_HOT])
    missing = [
        name
        for name in ("loss", "a_loss", "b_loss")
        if math.isnan(row[f"{name}_difference_lower"])
    ]
    assert missing == ["loss", "b_loss"]


class TripledLoss(keras.Model):
    def compute_loss(self, *arguments, **keywords):
        return 3 * super().compute_loss(*arguments, **keywords)


class DoubledError(keras.metrics.MeanAbsoluteError):
    def result(self):
        return 2 * super().result()


def test_values_that_do_not_add_up_make_no_interval():
    inner = network()
    model = TripledLoss(inner.inputs, inner.outputs)
    model.compile(loss="mse", metrics=["mae", DoubledError(name="doubled")])
    row = check(model, X, ONE_HOT)
    assert math.isnan(row["loss_difference_lower"])
    assert math.isnan(row["doubled_difference_lower"])
    assert row["mae_difference_lower"] < row["mae_difference"]

"""The curve through a sweep: its equations, and what it decides on real networks."""

import pathlib

import keras
import numpy as np
import pytest
import reference

import keras_bn4
from keras_bn4.example_weight import EXAMPLE_WEIGHTS, ExampleWeightSweep
from keras_bn4.example_weight.curve import Curve
from keras_bn4.example_weight.paired_differences import PairedDifferences

# Which images of the test sets four networks get right at 21 weights, as bits:
# ResNets for CIFAR-10 and CIFAR-100, and a MobileNet for 1,300 images of ImageNet.
RECORDS = sorted((pathlib.Path(__file__).parent / "correct").glob("*.npz"))
WITHIN = 0.005


def losses_of(values, weights, batch_size=None):
    """Weights above 0, and the arguments of a curve, from values of shape `(K, n)`."""
    paired, count = PairedDifferences(), values.shape[1]
    for first in range(0, count, batch_size or count):
        part = values[:, first : first + (batch_size or count)]
        paired.add(part, np.broadcast_to(weights, values.shape)[:, : part.shape[1]])
    return -paired.means[1:], paired.covariance[1:, 1:], paired.count


def test_it_is_fitted_as_the_specification_says(rng):
    weights = np.array([0.05, 0.1, 0.2, 0.4])
    falls = np.concatenate([[0], 0.1 * weights + 0.2 * weights**1.5])
    values = (rng.random(600) > 0.2 + falls[:, None]).astype(float)
    losses, covariance, count = losses_of(values, np.ones(600), batch_size=7)
    expected = reference.loss_covariance(values, np.ones(600))
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-15)
    curve = Curve.fitted(weights, losses, covariance, count)
    coefficients, errors = reference.loss_curve(weights, losses, expected, ridge=0.1)
    np.testing.assert_allclose(curve.coefficients, coefficients, rtol=1e-7)
    np.testing.assert_allclose(curve.covariance, errors, rtol=1e-7)


def test_weights_of_examples_count(rng):
    values, weights = rng.random((3, 60)), rng.integers(0, 3, 60).astype(float)
    _, covariance, _ = losses_of(values, weights)
    expected = reference.loss_covariance(values, weights)
    np.testing.assert_allclose(covariance, expected, rtol=1e-9)


def test_the_choice_is_the_largest_of_the_grid_up_to_which_all_are_within():
    weights, covariance = np.array([0.1, 0.2, 0.3, 0.4]), 1e-6 * np.eye(4)
    curve = Curve.fitted(weights, 0.02 * weights, covariance, 100)
    np.testing.assert_allclose(curve.loss(weights), 0.02 * weights, rtol=1e-9)
    half = curve.half_width(0.2)
    assert curve.examples_needed(0.2, half / 2) == pytest.approx(400)
    # A margin of 0.35 standard errors is counted as lost.
    bound = 0.004 + 0.35 * half / 1.959964
    chosen = [curve.largest(x) for x in (0.001, bound - 1e-9, bound + 1e-9, 0.02)]
    assert chosen == [0, 0.1, 0.2, 0.4]


def test_weights_count_up_to_the_first_that_loses_a_tenth():
    weights = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    losses = np.array([0.0, 0.02, 0.05, 0.1, -3.0])
    curve = Curve.fitted(weights, losses, 1e-6 * np.eye(5), 100)
    assert curve.weights.tolist() == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("losses", "variance", "count", "reason"),
    [
        ([0, 0, 0], 1e-6, 49, "49 examples"),
        ([0, 0.1, 0], 1e-6, 50, "3 weights"),
        ([0, 0, 0], 0, 50, "no example changes"),
        ([np.nan] * 3, np.nan, 50, "no example changes"),
    ],
)
def test_why_there_is_no_curve(losses, variance, count, reason):
    found = Curve.fitted([0.1, 0.2, 0.3], np.array(losses), variance * np.eye(3), count)
    assert reason in found


def draws(path, count, examples, grid=None):
    """What both rules choose on random images of a network, and what it truly costs.

    Returns:
        The standard deviations of the logarithm of the weight by the curve and weight
        by weight, the mean true loss, and how often the interval holds the true loss.
    """
    file = np.load(path)
    correct = np.unpackbits(file["correct"], axis=1)[:, : file["n"]].astype(float)
    used = np.isin(file["weights"], file["weights"] if grid is None else grid)
    correct, weights = correct[used], file["weights"][used][1:]
    true = {0.0: 0.0, **dict(zip(weights, (correct[0] - correct[1:]).mean(1)))}
    rng = np.random.default_rng(0)
    by_curve, by_point, is_inside = [], [], []
    for _ in range(count):
        some = rng.choice(correct.shape[1], examples, replace=False)
        losses, covariance, _ = losses_of(correct[:, some], np.ones(examples))
        curve = Curve.fitted(weights, losses, covariance, examples)
        by_curve.append(curve.largest(WITHIN))
        beyond = np.flatnonzero(losses > WITHIN + 1e-9)
        by_point.append([0.0, *weights][beyond[0] if len(beyond) else len(weights)])
        at = by_curve[-1] or weights[0]
        is_inside.append(abs(curve.loss(at) - true[at]) <= curve.half_width(at))

    def spread(chosen):
        return np.log([x or weights[0] / 2 for x in chosen]).std(ddof=1)

    loss = np.mean([true[x] for x in by_curve])
    return spread(by_curve), spread(by_point), loss, np.mean(is_inside)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_on_real_networks_it_is_surer_than_the_weights_one_by_one(path):
    by_curve, by_point, loss, coverage = draws(path, 300, 500)
    assert by_curve <= 0.7 * by_point
    assert loss <= WITHIN + 0.001
    assert coverage >= 0.93
    # Half as many weights, those of a sweep by default, choose about as surely.
    by_default, _, loss, coverage = draws(path, 300, 500, EXAMPLE_WEIGHTS)
    assert by_default <= 1.15 * by_curve
    assert loss <= WITHIN + 0.001
    assert coverage >= 0.93


def classifier(rng, examples):
    """A classifier, which is right for nine of ten examples, and these."""
    x = rng.normal(1, 2, (examples, 6, 4)).astype("float32")
    inputs = keras.Input((6, 4))
    hidden = keras_bn4.GhostBatchNormalization()(inputs)
    hidden = keras.layers.GlobalMaxPooling1D()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    kernel = rng.normal(size=(4, 2)).astype("float32")
    statistics = [np.full(4, 1, "float32"), np.full(4, 4, "float32")]
    model.set_weights([np.ones(4), np.zeros(4), *statistics, kernel, np.zeros(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    right = model.predict(x, verbose=0).argmax(-1)
    return model, x, np.where(rng.random(examples) < 0.9, right, 1 - right)


def test_a_sweep_chooses_by_the_curve_of_its_predictions(rng):
    model, x, y = classifier(rng, 600)
    weights = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5]
    sweep = keras_bn4.sweep_example_weight(
        model, x, y, example_weights=weights, batch_size=64, verbose=0
    )
    correct = []
    for weight in weights:
        keras_bn4.set_example_weight(model, weight)
        correct.append(model.predict(x, verbose=0).argmax(-1) == y)
    losses, covariance, _ = losses_of(np.array(correct, float), np.ones(600))
    curve = Curve.fitted(weights[1:], losses, covariance, 600)
    for row in sweep.rows[1 : 1 + len(curve.weights)]:
        change = -curve.loss(row["example_weight"])
        half = curve.half_width(row["example_weight"])
        for name, value in (("", change), ("_lower", change - half)):
            found = row[f"accuracy_fitted_difference{name}"]
            assert found == pytest.approx(value, abs=1e-5)
    assert sweep.rows[0]["accuracy_fitted_difference"] == 0
    within = float(curve.loss(0.2) + 0.2 * curve.half_width(0.2))
    chosen = sweep.largest("accuracy", within=within)
    assert chosen["example_weight"] == curve.largest(within) == 0.2
    # The loss keeps to its weights.
    assert "loss_fitted_difference" not in sweep.rows[0]
    assert "one by one, without a curve: loss is not an" in sweep.certainty(
        "loss", within=0
    )


def test_few_examples_are_compared_weight_by_weight(rng):
    model, x, y = classifier(rng, 40)
    sweep = keras_bn4.sweep_example_weight(
        model, x, y, example_weights=[0.1, 0.2, 0.3], verbose=0
    )
    assert "there are 40 examples" in sweep.certainty("accuracy", within=0.01)
    assert sweep.largest("accuracy", within=1) is sweep.rows[-1]


def test_it_is_said_how_sure_a_choice_is():
    weights = np.array([0.1, 0.2, 0.3])
    rows = [
        {"schedule": "uniform", "example_weight": w, "accuracy": 0.9}
        for w in (0, *weights)
    ]

    def sweep(variance):
        curve = Curve.fitted(weights, 0.01 * weights, variance * np.eye(3), 400)
        curves = {("accuracy", "uniform"): curve}
        return ExampleWeightSweep(rows, {"accuracy": "max"}, curves), curve

    found, curve = sweep(variance=1e-8)
    assert found.largest("accuracy", within=0.0025)["example_weight"] == 0.2
    said = found.certainty("accuracy", within=0.0025)
    needed = curve.examples_needed(0.2, 0.0025)
    assert said.startswith("The fitted change of accuracy at 0.2 is -0.0020 [")
    assert said.endswith(
        f"with 400 examples; about {needed:,.0f} would narrow it to ± 0.0025."
    )
    assert "sweep larger ones" in found.certainty("accuracy", within=0.1)
    assert "sweep smaller ones" in found.certainty("accuracy", within=0)
    found, curve = sweep(variance=1e-3)
    assert curve.half_width(0.2) > 0.02
    with pytest.warns(UserWarning, match=r"far from sure. The fitted change"):
        found.largest("accuracy", within=0.0025)

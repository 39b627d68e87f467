"""Intervals of paired differences, which come from what every example adds."""

import math

import numpy as np
import pytest
from sweep_helpers import classifier, images

from keras_bn4 import set_example_weight, sweep_example_weight

WEIGHTS = [0.0, 0.1, 0.5]


@pytest.fixture
def data(rng):
    return images(rng)


def example_values(model, x, y, weight):
    set_example_weight(model, weight)
    logits = model.predict(x, verbose=0).astype("float64")
    set_example_weight(model, 0)
    log = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -log[np.arange(len(y)), y], (logits.argmax(-1) == y).astype("float64")


def test_intervals_are_those_of_the_mean_paired_difference(data):
    model = classifier()
    sweep = sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    at_zero = example_values(model, *data, 0.0)
    at_half = example_values(model, *data, 0.5)
    for metric, before, after in zip(("loss", "accuracy"), at_zero, at_half):
        difference = after - before
        half = 1.959964 * difference.std(ddof=1) / math.sqrt(len(difference))
        row = sweep.rows[2]
        expected = [difference.mean() + d for d in (0, -half, half)]
        actual = [row[f"{metric}_difference{e}"] for e in ("", "_lower", "_upper")]
        np.testing.assert_allclose(actual, expected, atol=2e-6)
    zero = sweep.rows[0]
    assert zero["loss_difference_lower"] == zero["loss_difference_upper"] == 0


def test_sample_weights_weigh_in_the_interval(data, rng):
    weights = rng.uniform(size=70)
    model = classifier(metrics=[], weighted_metrics=["accuracy"])
    sweep = sweep_example_weight(
        model, *data, sample_weight=weights, example_weights=[0.5], verbose=0
    )
    d = example_values(model, *data, 0.5)[1] - example_values(model, *data, 0.0)[1]
    mean = (weights * d).sum() / weights.sum()
    error = np.sqrt((weights**2 * (d - mean) ** 2).sum() * 70 / 69) / weights.sum()
    row = sweep.rows[1]
    assert row["accuracy_difference"] == pytest.approx(mean, abs=1e-6)
    width = row["accuracy_difference_upper"] - row["accuracy_difference_lower"]
    assert width == pytest.approx(2 * 1.959964 * error, rel=1e-5)

"""Temperatures against a grid, and losses against Keras."""

import keras
import numpy as np
import pytest

from keras_bn4.demo import temperature


@pytest.fixture
def outputs(rng):
    return 6 * rng.normal(size=(300, 5)), rng.integers(0, 5, 300)


def test_losses_are_those_of_keras(outputs):
    logits, y = outputs
    for divisor in (1.0, 0.3, 7.0):
        expected = keras.losses.sparse_categorical_crossentropy(
            y, logits / divisor, from_logits=True
        )
        expected = keras.ops.convert_to_numpy(expected)
        np.testing.assert_allclose(
            temperature.losses(logits, y, divisor), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_the_temperature_is_the_best_of_a_grid(scale, rng):
    # The labels are drawn by these logits, so that a temperature of 1 is right.
    logits = rng.normal(size=(4000, 5))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(-1)
    found = temperature.fit(scale * logits, y)
    grid = np.geomspace(scale / 2, scale * 2, 2001)
    losses = [temperature.losses(scale * logits, y, one).mean() for one in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=1e-3)
    assert found == pytest.approx(scale, rel=0.15)

"""The mixture of statistics at inference, and the moving statistics."""

import numpy as np
import pytest
import reference
from helpers import array, close, tensor

from keras_bn4.layers.mixing import mix, move
from keras_bn4.layers.moments import Moments

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


@pytest.mark.parametrize("example_weight", [0.0, 0.1, 0.5, 1.0])
def test_mix(rng, example_weight):
    mean, variance = rng.normal(1, 2, (3, 4)), rng.uniform(0.1, 2, (3, 4))
    moving = rng.normal(1, 2, 4), rng.uniform(0.1, 2, 4)
    got = mix(
        Moments(tensor(mean), tensor(variance)),
        Moments(tensor(moving[0][None]), tensor(moving[1][None])),
        tensor(example_weight),
    )
    expected = reference.mix((mean, variance), moving, example_weight)
    close(array(got.mean), expected[0], **TOLERANCE)
    close(array(got.variance), expected[1], **TOLERANCE)


def test_mix_leaves_the_moving_statistics_where_nothing_counts():
    example = Moments(*map(tensor, ([[5.0, 5.0]], [[6.0, 6.0]], [[0.0, 2.0]])))
    moving = Moments(*map(tensor, ([[1.0, 1.0]], [[2.0, 2.0]])))
    got = mix(example, moving, tensor(0.5))
    # 4 = (6 + 2) / 2, and 0.5 (1 - 0.5) (5 - 1)² = 4.
    np.testing.assert_array_equal(array(got.mean), [[1.0, 3.0]])
    np.testing.assert_array_equal(array(got.variance), [[2.0, 4.0 + 4.0]])


def test_mix_takes_numpy_arrays(rng):
    """And a share of one set in two gives the moments of both together."""
    one, two = rng.normal(3, 2, (3, 2)), rng.normal(0, 1, (5, 2))
    got = mix(*(Moments(x.mean(0), x.var(0)) for x in (one, two)), 3 / 8)
    both = np.concatenate([one, two])
    assert isinstance(got.mean, np.ndarray)
    np.testing.assert_allclose(got.mean, both.mean(0), rtol=1e-12)
    np.testing.assert_allclose(got.variance, both.var(0), rtol=1e-12)


@pytest.mark.parametrize("rule", ["second_moment", "variance"])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_move(rng, rule, momentum):
    x = rng.normal(3, 2, (5, 2, 4))
    mean, variance = rng.normal(1, 2, 4), rng.uniform(0.1, 2, 4)
    got = move(
        Moments(tensor(mean), tensor(variance)),
        Moments(tensor(x.mean((0, 1))), tensor(x.var((0, 1)))),
        momentum,
        rule == "second_moment",
    )
    expected = reference.move(mean, variance, x, momentum, rule)
    close(array(got.mean), expected[0], **TOLERANCE)
    close(array(got.variance), expected[1], **TOLERANCE)


def test_move_skips_channels_of_which_nothing_counts():
    moving = Moments(tensor([1.0, 1.0]), tensor([2.0, 2.0]))
    batch = Moments(tensor([0.0, 3.0]), tensor([0.0, 4.0]), tensor([0.0, 5.0]))
    got = move(moving, batch, 0.5, False)
    np.testing.assert_array_equal(array(got.mean), [1.0, 2.0])
    np.testing.assert_array_equal(array(got.variance), [2.0, 3.0])

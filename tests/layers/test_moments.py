"""Moments of examples against the specification, their sums and their masks."""

import keras
import numpy as np
import pytest
import reference
from helpers import array, close, reference_moments, tensor

from keras_bn4.layers.backend import MOST_PARTS, sum_positions
from keras_bn4.layers.moments import (
    element_mask,
    example_moments,
    hide_masked,
    with_count,
)

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5, 4), 1), ((5, 3, 4), 2), ((5, 4, 3), 1), ((5, 2, 4, 3), 2), ((0, 3, 4), 2)],
)
@pytest.mark.parametrize("masked", [False, True])
def test_of_examples(rng, shape, axis, masked):
    x = rng.normal(3, 2, shape).astype("float32")
    mask = rng.random(shape) < 0.6 if masked else None
    got = example_moments(
        tensor(x), axis, None if mask is None else keras.ops.convert_to_tensor(mask)
    )
    values = reference.rows(x, axis)
    counts = np.ones(values.shape, bool) if mask is None else reference.rows(mask, axis)
    mean, variance = reference_moments(values, counts.astype(bool), 1)
    close(array(got.mean), mean, **TOLERANCE)
    close(array(got.variance), variance, **TOLERANCE)
    if masked:
        np.testing.assert_array_equal(array(got.count), counts.sum(1))
    else:
        assert got.count is None


def test_a_count_is_that_of_the_positions(rng):
    x = tensor(rng.normal(0, 1, (5, 2, 4, 3)))
    counted = with_count(example_moments(x, 2), x)
    np.testing.assert_array_equal(array(counted.count), np.full((5, 4), 6))
    masked = counted._replace(count=tensor(np.ones((5, 4))))
    assert with_count(masked, x) is masked


@pytest.mark.parametrize("size", [1, 7, 2 * MOST_PARTS, 11])
@pytest.mark.parametrize("by_xla", [False, True])
def test_sums_over_positions_are_the_same_in_parts(rng, monkeypatch, size, by_xla):
    """XLA sums in parts, of which there are as many as divide the positions."""
    monkeypatch.setattr("keras_bn4.layers.backend.in_xla", lambda: by_xla)
    x, y = rng.normal(1, 2, (2, 3, size, 2, 4))
    got = sum_positions(lambda x, y: x * y, (tensor(x), tensor(y)), 3)
    close(array(got), (x * y).sum((1, 2), keepdims=True), **TOLERANCE)


def test_masked_infinities_are_hidden_and_others_stay():
    x = np.float32([[[np.nan, np.inf], [1, 2], [np.nan, 4]]])
    hidden, mask = hide_masked(
        tensor(x), keras.ops.convert_to_tensor([[False, False, True]]), 2
    )
    np.testing.assert_array_equal(array(hidden), [[[0, 0], [1, 2], [np.nan, 4]]])
    np.testing.assert_array_equal(array(mask), [[[False] * 2, [False] * 2, [True] * 2]])
    unmasked = tensor(x)
    assert hide_masked(unmasked, None, 2) == (unmasked, None)


@pytest.mark.parametrize(
    ("mask_shape", "shape", "axis", "expanded"),
    [
        ((2, 3), (2, 3, 4), 2, -1),
        ((2, 5), (2, 3, 5), 1, 1),
        # What `keras.layers.Masking` makes of channels-first inputs.
        ((2, 3), (2, 3, 5), 1, -1),
        ((2, 1), (2, 3, 4), 2, -1),
        ((2,), (2, 4), 1, -1),
    ],
)
def test_element_mask(rng, mask_shape, shape, axis, expanded):
    mask = rng.random(mask_shape) < 0.5
    got = element_mask(keras.ops.convert_to_tensor(mask), keras.ops.zeros(shape), axis)
    expected = np.broadcast_to(np.expand_dims(mask, expanded), shape)
    np.testing.assert_array_equal(array(got), expected)


def test_element_mask_of_another_rank_is_an_error():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        element_mask(keras.ops.ones((2, 3, 4)), keras.ops.zeros((2, 3, 4)), 2)

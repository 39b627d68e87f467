"""Cuts, moments, pools and mixtures as properties, held against the specification.

The sizes of a batch are few, because JAX compiles every operation for each of them.
"""

import keras
import numpy as np
import pytest
import reference
from helpers import array, close, reference_moments, tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bn4.layers import ghosts
from keras_bn4.layers.backend import MOST_PARTS, sum_positions
from keras_bn4.layers.mixing import mix, move
from keras_bn4.layers.moments import (
    Moments,
    element_mask,
    example_moments,
    hide_masked,
    with_count,
)
from keras_bn4.layers.pooling import batch_moments, ghost_moments, group_moments, pool

TOLERANCE = {"rtol": 5e-5, "atol": 5e-5}
few = settings(max_examples=25, deadline=None, derandomize=True)
many = settings(max_examples=200, deadline=None, derandomize=True)
SIZES = st.none() | st.integers(1, 40)
SEEDS = st.integers(0, 2**31)


def boolean(x):
    return None if x is None else keras.ops.convert_to_tensor(x)


# How a batch is cut.


@many
@given(n=st.integers(0, 100), ghost_batch_size=SIZES)
def test_a_cut_is_that_of_array_split(n, ghost_batch_size):
    k = 1 if ghost_batch_size is None else max(1, n // ghost_batch_size)
    expected = [list(part) for part in np.array_split(np.arange(n), k)]
    sizes = [len(part) for part in expected]
    assert reference.ghosts(n, ghost_batch_size) == expected
    equal = k if n and len(set(sizes)) == 1 else None
    assert ghosts.number_of_equal_ghosts(n, ghost_batch_size) == equal
    cut = ghosts.cut(n, ghost_batch_size)
    assert all(isinstance(number, int) for number in cut)
    check_cut(cut, n, expected)


@few
@given(n=st.integers(0, 100), ghost_batch_size=SIZES)
def test_so_is_the_cut_of_a_batch_of_unknown_size(n, ghost_batch_size):
    assert ghosts.number_of_equal_ghosts(None, ghost_batch_size) is None
    unknown = keras.ops.convert_to_tensor(np.int32(n))
    expected = reference.ghosts(n, ghost_batch_size)
    check_cut(ghosts.cut(unknown, ghost_batch_size), n, expected)


def check_cut(cut, n, expected):
    sizes = [len(part) for part in expected]
    assert int(cut.ghosts) == len(expected)
    assert [size for k, size in cut.runs for _ in range(int(k))] == sizes
    assert int(cut.end_of_longer) == int(cut.longer) * (int(cut.size) + 1)
    # More than there are, because JAX compiles for every length.
    numbers = keras.ops.convert_to_tensor(np.arange(100, dtype="int32"))
    assert list(array(cut.size_of(numbers))[: len(sizes)]) == sizes
    of_ghost = list(array(cut.ghost_of(numbers))[:n])
    assert of_ghost == [i for i, size in enumerate(sizes) for _ in range(size)]
    for i in {0, len(sizes) - 1}:
        rows = cut.rows(i)
        assert list(range(n))[int(rows.start) : int(rows.stop)] == expected[i]
        assert int(cut.size_of(i)) == sizes[i]


# Moments.


@few
@given(
    seed=SEEDS,
    shape_and_axis=st.sampled_from(
        [((7, 4), 1), ((7, 3, 4), 2), ((6, 4, 3), 1), ((5, 2, 4, 3), 2)]
    ),
    masked=st.booleans(),
    training=st.booleans(),
    ghost_batch_size=st.sampled_from([None, 1, 2, 3, 16]),
    groups=st.sampled_from([1, 2, 4]),
)
def test_moments_of_ghosts_and_groups(
    seed, shape_and_axis, masked, training, ghost_batch_size, groups
):
    (shape, axis), rng = shape_and_axis, np.random.default_rng(seed)
    x = rng.normal(3, 2, shape).astype("float32")
    mask = rng.random(shape) < 0.6 if masked else np.ones(shape, bool)
    examples = example_moments(
        tensor(x), axis, boolean(mask) if masked else None, training
    )
    values, counting = reference.rows(x, axis), reference.rows(mask, axis).astype(bool)
    for got, size, together in (
        (examples, 1, -1),
        (ghost_moments(examples, ghost_batch_size), ghost_batch_size, -1),
        (group_moments(examples, groups), 1, groups),
        (
            group_moments(ghost_moments(examples, ghost_batch_size), groups),
            ghost_batch_size,
            groups,
        ),
    ):
        mean, variance = reference_moments(values, counting, size, together)
        close(np.broadcast_to(array(got.mean), mean.shape), mean, **TOLERANCE)
        close(np.broadcast_to(array(got.variance), mean.shape), variance, **TOLERANCE)
    mean, variance = reference_moments(values, counting, None)
    batch = batch_moments(with_count(examples, tensor(x)))
    close(array(batch.mean), mean[0], **TOLERANCE)
    close(array(batch.variance), variance[0], **TOLERANCE)
    np.testing.assert_array_equal(array(batch.count), counting.sum((0, 1)))
    if masked:
        assert with_count(examples, tensor(x)) is examples
        np.testing.assert_array_equal(array(examples.count), counting.sum(1))
    else:
        assert examples.count is None
        close(array(batch_moments(examples).mean), mean[0], **TOLERANCE)


def test_moments_of_an_empty_batch():
    empty = example_moments(tensor(np.zeros((0, 3, 4))), 2)
    for moments in batch_moments(empty):
        np.testing.assert_array_equal(array(moments), np.zeros(4))


@few
@given(seed=SEEDS, sizes=st.sampled_from([(1,), (5,), (1, 4, 7), (3, 3, 3)]))
def test_a_pool_holds_the_moments_of_the_union(seed, sizes):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(5 * i, 2, (size, 3)) for i, size in enumerate(sizes)]
    union = np.concatenate(parts)
    mean, variance = (
        tensor([getattr(part, name)(0) for part in parts]) for name in ("mean", "var")
    )
    counts = np.broadcast_to(np.array(sizes)[:, None], (len(sizes), 3))
    equal = [Moments(mean, variance)] * (len(set(sizes)) == 1)
    for moments in (Moments(mean, variance, tensor(counts)), *equal):
        got = pool(moments, 0)
        close(array(got.mean), [union.mean(0)], **TOLERANCE)
        close(array(got.variance), [union.var(0)], **TOLERANCE)
        assert got.count is None or array(got.count).min() == len(union)


@pytest.mark.parametrize("counts", [False, True])
def test_pooling_rounds_a_large_mean_once(rng, counts):
    """What two roundings do would depend on how the batch is cut."""
    for n in (7, 100, 1000):
        means = np.float32(1e4 + rng.normal(0, 1, (n, 8)))
        count = np.full_like(means, 3) if counts else None
        got = pool(
            Moments(tensor(means), tensor(np.ones_like(means)), tensor(count)), 0
        )
        expected = means.mean(0, dtype="float64")
        np.testing.assert_array_less(
            np.abs(array(got.mean)[0] - expected), 0.6 * np.spacing(np.float32(1e4))
        )
        close(array(got.variance)[0], 1 + means.var(0, dtype="float64"), rtol=1e-6)


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
    hidden, mask = hide_masked(tensor(x), boolean([[False, False, True]]), 2)
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
    got = element_mask(boolean(mask), keras.ops.zeros(shape), axis)
    expected = np.broadcast_to(np.expand_dims(mask, expanded), shape)
    np.testing.assert_array_equal(array(got), expected)


# Mixtures.


@few
@given(seed=SEEDS, example_weight=st.floats(0, 1))
def test_a_mixture_is_that_of_the_specification(seed, example_weight):
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(1, 2, (3, 4)), rng.uniform(0.1, 2, (3, 4))
    moving = rng.normal(1, 2, 4), rng.uniform(0.1, 2, 4)
    count = rng.integers(0, 2, (3, 4))
    got = mix(
        Moments(tensor(mean), tensor(variance), tensor(count)),
        Moments(tensor(moving[0][None]), tensor(moving[1][None])),
        tensor(example_weight),
    )
    # Where nothing counts, the moving statistics are left.
    for each, expected, own in zip(
        got, reference.mix((mean, variance), moving, example_weight), moving
    ):
        close(array(each), np.where(count > 0, expected, own), **TOLERANCE)


@few
@given(seed=SEEDS, sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_a_share_of_one_set_in_two_gives_the_moments_of_the_union(seed, sizes):
    """Without counts this is plain arithmetic, which NumPy arrays take as well."""
    rng = np.random.default_rng(seed)
    one, two = (rng.normal(i, 2, (size, 2)) for i, size in enumerate(sizes))
    share = sizes[0] / sum(sizes)
    got = mix(*(Moments(x.mean(0), x.var(0)) for x in (one, two)), share)
    union = np.concatenate([one, two])
    assert isinstance(got.mean, np.ndarray)
    np.testing.assert_allclose(got.mean, union.mean(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.variance, union.var(0), rtol=1e-10)


@few
@given(
    seed=SEEDS,
    momentum=st.floats(0, 1),
    rule=st.sampled_from(["second_moment", "variance"]),
)
def test_moving_statistics_are_those_of_the_specification(seed, momentum, rule):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, (5, 2, 4))
    mean, variance = rng.normal(1, 2, 4), rng.uniform(0.1, 2, 4)
    # Channels of which nothing counts keep what they have.
    count = np.array([10, 10, 0, 10])
    mask = np.broadcast_to(count > 0, x.shape)
    got = move(
        Moments(tensor(mean), tensor(variance)),
        Moments(tensor(x.mean((0, 1))), tensor(x.var((0, 1))), tensor(count)),
        momentum,
        rule == "second_moment",
    )
    expected = reference.move(mean, variance, x, momentum, rule, mask)
    close(array(got.mean), expected[0], **TOLERANCE)
    close(array(got.variance), expected[1], **TOLERANCE)

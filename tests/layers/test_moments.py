"""Moments and their pooling against the specification, and the laws they obey."""

import keras
import numpy as np
import pytest
import reference

from keras_bn4.layers.mixing import mix, move
from keras_bn4.layers.moments import (
    Moments,
    batch_moments,
    element_mask,
    example_moments,
    ghost_moments,
    group_moments,
    pool,
)

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


def tensor(x):
    return None if x is None else keras.ops.convert_to_tensor(np.asarray(x, "float32"))


def array(x):
    return keras.ops.convert_to_numpy(x).astype("float64")


def random_examples(rng, n, channels=4, counts=False):
    """Moments of `n` examples and, for the reference, values that have them.

    A pair of values has mean `m` and variance `v` at `m ± √v`, and is repeated for
    as many positions as are asked for; the rest is masked.
    """
    mean = rng.normal(1, 2, (n, channels))
    variance = rng.uniform(0.1, 2, (n, channels))
    pairs = rng.integers(0, 4, (n, 1)) if counts else np.full((n, 1), 1)
    values = np.zeros((n, 6, channels))
    mask = np.zeros((n, 6, channels), bool)
    for i in range(n):
        for s in range(2 * pairs[i, 0]):
            values[i, s] = mean[i] + (-1) ** s * np.sqrt(variance[i])
            mask[i, s] = True
    present = pairs > 0
    count = np.broadcast_to(2 * pairs, mean.shape) if counts else None
    moments = Moments(tensor(mean * present), tensor(variance * present), tensor(count))
    return moments, values, mask


def reference_moments(values, mask, ghost_batch_size, groups=-1):
    mean, variance = np.zeros(values.shape[::2]), np.zeros(values.shape[::2])
    sets = reference.normalized_together(values, mask, ghost_batch_size, groups)
    for together, counting in sets:
        for i, _, c in together:
            mean[i, c], variance[i, c] = reference.moments(values, counting)
    return mean, variance


@pytest.mark.parametrize("n", [1, 7, 12, 13])
@pytest.mark.parametrize("ghost_batch_size", [None, 1, 2, 3, 5, 16])
def test_reference_cuts_as_array_split(n, ghost_batch_size):
    k = 1 if ghost_batch_size is None else max(1, n // ghost_batch_size)
    expected = [list(part) for part in np.array_split(np.arange(n), k)]
    assert reference.ghosts(n, ghost_batch_size) == expected


@pytest.mark.parametrize("masked", [False, True])
def test_reference_gradients_are_those_of_the_reference(rng, masked):
    x, upstream = rng.normal(1, 2, (2, 5, 2, 4))
    gamma, beta = rng.normal(1, 0.5, (2, 4))
    mask = rng.random((5, 2, 4)) < 0.6 if masked else None
    options = {"ghost_batch_size": 2, "groups": 2, "mask": mask}

    def loss(x=x, gamma=gamma, beta=beta):
        return np.sum(upstream * reference.train(x, gamma, beta, 1e-3, **options))

    gradients = reference.train_gradients(x, upstream, gamma, 1e-3, **options)
    for name, value, gradient in zip(
        ("x", "gamma", "beta"), (x, gamma, beta), gradients
    ):
        expected = reference.central_differences(
            lambda v, name=name: loss(**{name: v}), value
        )
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


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
    np.testing.assert_allclose(array(got.mean), mean, **TOLERANCE)
    np.testing.assert_allclose(array(got.variance), variance, **TOLERANCE)
    if masked:
        np.testing.assert_array_equal(array(got.count), counts.sum(1))
    else:
        assert got.count is None


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("n", [1, 7, 12])
@pytest.mark.parametrize("ghost_batch_size", [None, 1, 2, 3, 5, 16])
def test_of_ghosts(rng, n, ghost_batch_size, counts):
    examples, values, mask = random_examples(rng, n, counts=counts)
    got = ghost_moments(examples, ghost_batch_size)
    mean, variance = reference_moments(values, mask, ghost_batch_size)
    np.testing.assert_allclose(
        np.broadcast_to(array(got.mean), mean.shape), mean, **TOLERANCE
    )
    np.testing.assert_allclose(
        np.broadcast_to(array(got.variance), mean.shape), variance, **TOLERANCE
    )


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_of_groups(rng, groups, counts):
    examples, values, mask = random_examples(rng, 5, counts=counts)
    got = group_moments(examples, groups)
    mean, variance = reference_moments(values, mask, 1, groups)
    np.testing.assert_allclose(array(got.mean), mean, **TOLERANCE)
    np.testing.assert_allclose(array(got.variance), variance, **TOLERANCE)


def test_groups_pool_moving_statistics(rng):
    mean, variance = rng.normal(1, 2, 6), rng.uniform(0.1, 2, 6)
    got = group_moments(Moments(tensor(mean[None]), tensor(variance[None])), 2)
    for group in reference.channel_groups(6, 2):
        expected = reference.pool(mean[group], variance[group])
        np.testing.assert_allclose(
            array(got.mean)[0, group], expected[0] * np.ones(3), **TOLERANCE
        )
        np.testing.assert_allclose(
            array(got.variance)[0, group], expected[1] * np.ones(3), **TOLERANCE
        )


@pytest.mark.parametrize("counts", [False, True])
def test_of_batch(rng, counts):
    examples, values, mask = random_examples(rng, 7, counts=counts)
    got = batch_moments(examples)
    mean, variance = reference_moments(values, mask, None)
    np.testing.assert_allclose(array(got.mean), mean[0], **TOLERANCE)
    np.testing.assert_allclose(array(got.variance), variance[0], **TOLERANCE)


@pytest.mark.parametrize("parts", [1, 3])
def test_pooling_obeys_the_law_of_total_variance(rng, parts):
    x = rng.normal(2, 3, (parts, 4)) + 5 * np.arange(parts)[:, None]
    got = pool(Moments(tensor(x.mean(1)), tensor(x.var(1))), 0)
    np.testing.assert_allclose(array(got.mean), [x.mean()], **TOLERANCE)
    np.testing.assert_allclose(array(got.variance), [x.var()], **TOLERANCE)


def test_pooling_weighs_by_count(rng):
    sizes = (1, 4, 7)
    parts = [rng.normal(5 * i, 2, size) for i, size in enumerate(sizes)]
    x = np.concatenate(parts)
    got = pool(
        Moments(
            tensor([part.mean() for part in parts]),
            tensor([part.var() for part in parts]),
            tensor(sizes),
        ),
        0,
    )
    np.testing.assert_allclose(array(got.mean), [x.mean()], **TOLERANCE)
    np.testing.assert_allclose(array(got.variance), [x.var()], **TOLERANCE)
    assert array(got.count) == [len(x)]


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
    np.testing.assert_allclose(array(got.mean), expected[0], **TOLERANCE)
    np.testing.assert_allclose(array(got.variance), expected[1], **TOLERANCE)


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
    np.testing.assert_allclose(array(got.mean), expected[0], **TOLERANCE)
    np.testing.assert_allclose(array(got.variance), expected[1], **TOLERANCE)


def test_move_skips_channels_of_which_nothing_counts():
    moving = Moments(tensor([1.0, 1.0]), tensor([2.0, 2.0]))
    batch = Moments(tensor([0.0, 3.0]), tensor([0.0, 4.0]), tensor([0.0, 5.0]))
    got = move(moving, batch, 0.5, False)
    np.testing.assert_array_equal(array(got.mean), [1.0, 2.0])
    np.testing.assert_array_equal(array(got.variance), [2.0, 3.0])


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
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(got), expected)


def test_element_mask_of_another_rank_is_an_error():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        element_mask(keras.ops.ones((2, 3, 4)), keras.ops.zeros((2, 3, 4)), 2)

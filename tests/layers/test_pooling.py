"""Pooling of moments against the specification, and the laws it obeys."""

import numpy as np
import pytest
import reference
from helpers import array, close, reference_moments, tensor

from keras_bn4.layers.moments import Moments
from keras_bn4.layers.pooling import batch_moments, ghost_moments, group_moments, pool

TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


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


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("n", [1, 7, 12])
@pytest.mark.parametrize("ghost_batch_size", [None, 1, 2, 3, 5, 16])
def test_of_ghosts(rng, n, ghost_batch_size, counts):
    examples, values, mask = random_examples(rng, n, counts=counts)
    got = ghost_moments(examples, ghost_batch_size)
    mean, variance = reference_moments(values, mask, ghost_batch_size)
    close(np.broadcast_to(array(got.mean), mean.shape), mean, **TOLERANCE)
    close(np.broadcast_to(array(got.variance), mean.shape), variance, **TOLERANCE)


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_of_groups(rng, groups, counts):
    examples, values, mask = random_examples(rng, 5, counts=counts)
    got = group_moments(examples, groups)
    mean, variance = reference_moments(values, mask, 1, groups)
    close(array(got.mean), mean, **TOLERANCE)
    close(array(got.variance), variance, **TOLERANCE)


def test_groups_pool_moving_statistics(rng):
    mean, variance = rng.normal(1, 2, 6), rng.uniform(0.1, 2, 6)
    got = group_moments(Moments(tensor(mean[None]), tensor(variance[None])), 2)
    for group in reference.channel_groups(6, 2):
        expected = reference.pool(mean[group], variance[group])
        close(array(got.mean)[0, group], expected[0] * np.ones(3), **TOLERANCE)
        close(array(got.variance)[0, group], expected[1] * np.ones(3), **TOLERANCE)


@pytest.mark.parametrize("counts", [False, True])
def test_of_batch(rng, counts):
    examples, values, mask = random_examples(rng, 7, counts=counts)
    got = batch_moments(examples)
    mean, variance = reference_moments(values, mask, None)
    close(array(got.mean), mean[0], **TOLERANCE)
    close(array(got.variance), variance[0], **TOLERANCE)


def test_of_an_empty_batch():
    empty = tensor(np.zeros((0, 4)))
    for moments in batch_moments(Moments(empty, empty)):
        np.testing.assert_array_equal(array(moments), np.zeros(4))


@pytest.mark.parametrize("parts", [1, 3])
def test_pooling_obeys_the_law_of_total_variance(rng, parts):
    x = rng.normal(2, 3, (parts, 4)) + 5 * np.arange(parts)[:, None]
    got = pool(Moments(tensor(x.mean(1)), tensor(x.var(1))), 0)
    close(array(got.mean), [x.mean()], **TOLERANCE)
    close(array(got.variance), [x.var()], **TOLERANCE)


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
    close(array(got.mean), [x.mean()], **TOLERANCE)
    close(array(got.variance), [x.var()], **TOLERANCE)
    assert array(got.count) == [len(x)]


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

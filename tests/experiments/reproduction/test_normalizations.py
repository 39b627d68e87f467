"""How layers of a training normalize: group normalizations with noise, or by elements.

The specification is in NumPy and loops, like that of the package's layers, in the
layout `(n, S, C)` of `reference.rows`.
"""

import math

import numpy as np
import pytest
import reference
from helpers import EPSILON, MOMENTUM, array, close, randomize
from reference import rows

from keras_bn4 import BatchGroupNormalization
from keras_bn4.experiments.reproduction import training
from keras_bn4.experiments.reproduction.normalizations import (
    EqualGroupNormalization,
    StochasticGroupNormalization,
)
from keras_bn4.experiments.reproduction.settings import Settings

SHAPE = (2, 3, 6)
STOCHASTIC = {"noise": 0.5, "random_share": 1.0}


def noisy(statistics, moving_variance, to_mean, to_variance):
    """App. C: noise on a mean and a variance, by the moving variance of the group."""
    mean, variance = statistics
    mean += to_mean * math.sqrt(moving_variance)
    return mean, max(variance + to_variance * moving_variance, variance / 4)


def train_with_noise(x, layer, order, to_mean, to_variance):
    """Training output: channels in groups as `order` has them, and noise on each."""
    n, positions, channels = x.shape
    gamma, beta = array(layer.gamma), array(layer.beta)
    moving = array(layer.moving_mean), array(layer.moving_variance)
    y = np.zeros(x.shape)
    for i in range(n):
        for g, places in enumerate(reference.channel_groups(channels, layer.groups)):
            group = [int(order[place]) for place in places]
            together = [(i, s, c) for s in range(positions) for c in group]
            _, scale = reference.pool(*([m[c] for c in group] for m in moving))
            mean, variance = noisy(
                reference.moments(x, together), scale, to_mean[i, g], to_variance[i, g]
            )
            for index in together:
                c = index[-1]
                y[index] = reference.normalize(
                    x[index], mean, variance, gamma[c], beta[c], EPSILON
                )
    return y


def made(rng, seed=3, groups=2, **arguments):
    layer = StochasticGroupNormalization(
        groups, seed=seed, epsilon=EPSILON, momentum=MOMENTUM, **arguments
    )
    return randomize(layer, SHAPE, rng)


def drawn(layer, n):
    """What a layer draws in its next step, with what it leaves out filled in."""
    order, *noise = layer.draw(n)
    channels = layer.moving_mean.shape[0]
    order = range(channels) if order is None else array(order)
    zeros = np.zeros((n, layer.groups))
    return order, *(zeros if part is None else array(part) for part in noise)


@pytest.mark.parametrize(
    "arguments", [{}, {"noise": 0.5}, {"random_share": 1.0}, STOCHASTIC], ids=str
)
def test_training_is_that_of_the_specification(rng, arguments):
    layer = made(rng, **arguments)
    x = rng.normal(1, 2, (4, *SHAPE)).astype("float32")
    x[0] *= 0.01  # So little variance that noise would make it negative.
    state = array(layer.seed_generator.state)
    for _ in range(2):
        draws = drawn(layer, 4)
        layer.seed_generator.state.assign(state)
        expected = train_with_noise(rows(x, -1), layer, *draws)
        moved = reference.move(
            array(layer.moving_mean),
            array(layer.moving_variance),
            rows(x, -1),
            MOMENTUM,
            "second_moment",
        )
        close(rows(array(layer(x, training=True)), -1), expected)
        close((array(layer.moving_mean), array(layer.moving_variance)), moved)
        state = array(layer.seed_generator.state)


def test_steps_and_seeds_draw_differently(rng):
    x = rng.normal(1, 2, (4, *SHAPE)).astype("float32")
    layers = (made(np.random.default_rng(0), seed, **STOCHASTIC) for seed in (3, 3, 4))
    found, again, other = (
        [array(layer(x, training=True)) for _ in range(2)] for layer in layers
    )
    np.testing.assert_array_equal(found, again)
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert np.abs(found[0] - other[0]).max() > 0.01


def test_groups_are_random_in_a_share_of_the_steps(rng):
    layer = made(rng, random_share=0.5)
    orders = [array(layer.draw(1)[0]) for _ in range(160)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    neighbours = sum((order == range(6)).all() for order in orders)
    assert 60 <= neighbours <= 100
    # Each channel comes to each place.
    found = {(place, int(c)) for order in orders for place, c in enumerate(order)}
    assert len(found) == 6 * 6


def test_noise_is_normal_and_of_its_strength(rng):
    _, to_mean, to_variance = made(rng, noise=0.3).draw(2000)
    for part in (array(to_mean), array(to_variance)):
        assert part.shape == (2000, 2)
        np.testing.assert_allclose(part.mean(), 0, atol=0.02)
        np.testing.assert_allclose(part.std(), 0.3, rtol=0.05)
    assert (
        abs(np.corrcoef(array(to_mean).ravel(), array(to_variance).ravel())[0, 1]) < 0.1
    )


def test_inference_is_that_of_batch_group_normalization(rng):
    layer = made(rng, **STOCHASTIC)
    plain = BatchGroupNormalization(2, ghost_batch_size=1, epsilon=EPSILON)
    plain.build((None, *SHAPE))
    plain.set_weights(layer.get_weights())
    x = rng.normal(1, 2, (4, *SHAPE)).astype("float32")
    for weight in (0.0, 0.5, 1.0):
        layer.example_weight = plain.example_weight = weight
        close(array(layer(x)), array(plain(x)))
    layer.trainable = False
    close(array(layer(x, training=True)), array(plain(x)))


@pytest.mark.parametrize(
    ("elements", "shape", "groups"),
    [
        (64, (4, 4, 8), 2),
        (64, (8, 4, 8), 4),
        (64, (8, 8, 8), 8),
        (64, (16, 8, 8), 8),  # One channel alone has more.
        (64, (2, 2, 8), 1),  # There are not so many channels.
        (64, (4, 4, 6), 2),  # 4 don't divide 6.
    ],
)
def test_groups_have_equally_many_elements(elements, shape, groups, rng):
    layer = EqualGroupNormalization(elements, epsilon=EPSILON)
    randomize(layer, shape, rng)
    assert layer.groups == groups
    x = rng.normal(1, 2, (2, *shape)).astype("float32")
    expected = reference.train(
        rows(x, -1), array(layer.gamma), array(layer.beta), EPSILON, 1, groups
    )
    close(rows(array(layer(x, training=True)), -1), expected)


def test_layers_of_a_network_draw_differently_and_by_its_seed():
    def seeds(seed):
        settings = Settings(filters=(4,), groups=2, random_groups=1.0, seed=seed)
        model = training.build(settings, (8, 8, 1), 10)
        states = [v for v in model.variables if "seed" in v.path]
        return [int(array(state)[0]) for state in states]

    first, again, other = seeds(0), seeds(0), seeds(1)
    assert first == again
    assert len({*first, *other}) == 6

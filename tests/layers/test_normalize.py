"""Outputs from inputs and moments, and their gradients."""

import keras
import numpy as np
import pytest
import reference
from helpers import EPSILON, array, close, gradients_of, tensor

from keras_bn4.layers.moments import Moments
from keras_bn4.layers.normalize import normalize, scale_and_shift

SHAPES = [((5, 6), 1), ((5, 3, 6), 2), ((5, 6, 3), 1), ((5, 2, 6, 3), 2)]


def expected_outputs(x, mean, variance, gamma, beta, axis):
    """The specification, with moments of shape `(n, C)`, in the axes of `x`."""
    y = np.array(reference.rows(x, axis))
    for i, s, c in np.ndindex(y.shape):
        y[i, s, c] = reference.normalize(
            y[i, s, c], mean[i, c], variance[i, c], gamma[c], beta[c], EPSILON
        )
    channels_last = np.moveaxis(x, axis, -1).shape
    return np.moveaxis(y.reshape(channels_last), -1, axis)


def random_arguments(rng, shape, axis, moments_of_batch):
    n, channels = shape[0], shape[axis]
    rows = 1 if moments_of_batch else n
    return (
        rng.normal(2, 2, shape),
        rng.normal(1, 2, (rows, channels)),
        rng.uniform(0.1, 2, (rows, channels)),
        *rng.normal(0, 1, (2, channels)),
    )


@pytest.mark.parametrize("moments_of_batch", [False, True])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("function", [normalize, scale_and_shift])
def test_outputs(rng, function, shape, axis, moments_of_batch):
    x, mean, variance, gamma, beta = random_arguments(
        rng, shape, axis, moments_of_batch
    )
    got = function(
        tensor(x),
        Moments(tensor(mean), tensor(variance)),
        tensor(gamma),
        tensor(beta),
        axis,
        EPSILON,
    )
    n, channels = shape[0], shape[axis]
    mean, variance = (np.broadcast_to(m, (n, channels)) for m in (mean, variance))
    close(array(got), expected_outputs(x, mean, variance, gamma, beta, axis))


@pytest.mark.parametrize("moments_of_batch", [False, True])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gradients(rng, shape, axis, moments_of_batch):
    arguments = random_arguments(rng, shape, axis, moments_of_batch)
    upstream = rng.normal(0, 1, shape)

    def loss(x, mean, variance, gamma, beta):
        moments = Moments(mean, variance)
        outputs = normalize(x, moments, gamma, beta, axis, EPSILON)
        return keras.ops.sum(outputs * tensor(upstream))

    def expected_loss(x, mean, variance, gamma, beta):
        n, channels = shape[0], shape[axis]
        mean, variance = (np.broadcast_to(m, (n, channels)) for m in (mean, variance))
        outputs = expected_outputs(x, mean, variance, gamma, beta, axis)
        return np.sum(outputs * upstream)

    for i, gradient in enumerate(gradients_of(loss, *arguments)):
        expected = reference.central_differences(
            lambda value, i=i: expected_loss(
                *arguments[:i], value, *arguments[i + 1 :]
            ),
            arguments[i],
        )
        close(gradient, expected, atol=2e-4)


@pytest.mark.parametrize("function", [normalize, scale_and_shift])
def test_a_missing_gamma_is_1_and_a_missing_beta_is_0(rng, function):
    x, mean, variance, gamma, beta = random_arguments(rng, (5, 3, 6), 2, False)
    moments = Moments(tensor(mean), tensor(variance))
    for with_gamma, with_beta in ((False, True), (True, False), (False, False)):
        got = function(
            tensor(x),
            moments,
            tensor(gamma) if with_gamma else None,
            tensor(beta) if with_beta else None,
            2,
            EPSILON,
        )
        expected = expected_outputs(
            x,
            mean,
            variance,
            gamma if with_gamma else np.ones(6),
            beta if with_beta else np.zeros(6),
            2,
        )
        close(array(got), expected)


@pytest.mark.parametrize("function", [normalize, scale_and_shift])
def test_where_nothing_counts_the_output_is_beta(rng, function):
    x, mean, variance, gamma, beta = random_arguments(rng, (5, 3, 6), 2, False)
    mean[1], variance[1] = 0, 0
    count = np.ones((5, 6))
    count[1] = 0
    moments = Moments(*map(tensor, (mean, variance, count)))
    got = function(tensor(x), moments, tensor(gamma), tensor(beta), 2, EPSILON)
    expected = expected_outputs(x, mean, variance, gamma, beta, 2)
    expected[1] = beta
    close(array(got), expected)


def test_a_large_mean_does_not_round_training(rng):
    """`x * scale + shift` would be wrong in the second digit."""
    deviations = np.round(rng.normal(0, 100, (8, 4))) / 1024
    x, mean = np.float32(1e4 + deviations), np.full((1, 4), 1e4)
    variance, gamma, beta = np.full((1, 4), 1e-2), np.ones(4), np.zeros(4)
    got = normalize(
        tensor(x), Moments(tensor(mean), tensor(variance)), None, None, 1, EPSILON
    )
    mean, variance = (np.broadcast_to(m, (8, 4)) for m in (mean, variance))
    close(array(got), expected_outputs(x, mean, variance, gamma, beta, 1), rtol=1e-5)

"""Outputs from inputs and moments, and their gradients."""

import keras
import numpy as np
import pytest
import reference
from helpers import EPSILON, array, close, gradients_of, tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bn4.layers.moments import Moments
from keras_bn4.layers.normalize import normalize, scale_and_shift


def expected_outputs(x, mean, variance, gamma, beta, axis):
    """The specification, with moments of shape `(n, C)`, in the axes of `x`."""
    y = np.array(reference.rows(x, axis))
    mean, variance = (np.broadcast_to(m, y.shape[::2]) for m in (mean, variance))
    for i, s, c in np.ndindex(y.shape):
        y[i, s, c] = reference.normalize(
            y[i, s, c], mean[i, c], variance[i, c], gamma[c], beta[c], EPSILON
        )
    channels_last = np.moveaxis(x, axis, -1).shape
    return np.moveaxis(y.reshape(channels_last), -1, axis)


@pytest.mark.parametrize("function", [normalize, scale_and_shift])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    shape_and_axis=st.sampled_from(
        [((5, 6), 1), ((5, 3, 6), 2), ((5, 6, 3), 1), ((5, 2, 6, 3), 2)]
    ),
    of_batch=st.booleans(),
    has_gamma=st.booleans(),
    has_beta=st.booleans(),
)
def test_outputs_and_gradients(
    function, seed, shape_and_axis, of_batch, has_gamma, has_beta
):
    (shape, axis), rng = shape_and_axis, np.random.default_rng(seed)
    rows = 1 if of_batch else shape[0]
    gamma, beta = rng.normal(0, 1, (2, 6))
    arguments = [
        rng.normal(2, 2, shape),
        rng.normal(1, 2, (rows, 6)),
        rng.uniform(0.1, 2, (rows, 6)),
        *([gamma] * has_gamma),
        *([beta] * has_beta),
    ]
    upstream = rng.normal(0, 1, shape)

    def affine(given, missing):
        given = list(given)
        one = given.pop(0) if has_gamma else missing[0]
        return one, given.pop(0) if has_beta else missing[1]

    def outputs(x, mean, variance, *given):
        moments, (gamma, beta) = Moments(mean, variance), affine(given, (None, None))
        return function(x, moments, gamma, beta, axis, EPSILON)

    def loss(*arguments):
        return keras.ops.sum(outputs(*arguments) * tensor(upstream))

    def expected(x, mean, variance, *given):
        gamma, beta = affine(given, (np.ones(6), np.zeros(6)))
        return expected_outputs(x, mean, variance, gamma, beta, axis)

    close(array(outputs(*map(tensor, arguments))), expected(*arguments))
    for i, gradient in enumerate(gradients_of(loss, *arguments)):
        wanted = reference.central_differences(
            lambda value, i=i: np.sum(
                expected(*arguments[:i], value, *arguments[i + 1 :]) * upstream
            ),
            arguments[i],
        )
        close(gradient, wanted, atol=4e-4)


@pytest.mark.parametrize("function", [normalize, scale_and_shift])
def test_where_nothing_counts_the_output_is_beta(rng, function):
    x, (gamma, beta) = rng.normal(2, 2, (5, 3, 6)), rng.normal(0, 1, (2, 6))
    mean, variance = rng.normal(1, 2, (5, 6)), rng.uniform(0.1, 2, (5, 6))
    count = np.ones((5, 6))
    mean[1] = variance[1] = count[1] = 0
    moments = Moments(*map(tensor, (mean, variance, count)))
    got = function(tensor(x), moments, tensor(gamma), tensor(beta), 2, EPSILON)
    expected = expected_outputs(x, mean, variance, gamma, beta, 2)
    expected[1] = beta
    close(array(got), expected)


def test_a_large_mean_does_not_round_training(rng):
    """`x * scale + shift` would be wrong in the second digit."""
    deviations = np.round(rng.normal(0, 100, (8, 4))) / 1024
    x, mean, variance = np.float32(1e4 + deviations), [[1e4] * 4], [[1e-2] * 4]
    moments = Moments(tensor(mean), tensor(variance))
    got = normalize(tensor(x), moments, None, None, 1, EPSILON)
    expected = expected_outputs(x, mean, variance, np.ones(4), np.zeros(4), 1)
    close(array(got), expected, rtol=1e-5)

"""The kernels of training, without a layer, held against the specification."""

import math

import keras
import numpy as np
import pytest
import reference
from helpers import BACKEND, EPSILON, array, close, gradients_of, tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bn4.layers import kernels
from keras_bn4.layers.kernels import (
    general,
    tensorflow_fused,
    torch_fused,
    training_kernel,
)
from keras_bn4.layers.moments import Moments
from keras_bn4.layers.normalize import normalize

FUSED = {"tensorflow": tensorflow_fused, "jax": general, "torch": torch_fused}[BACKEND]


def kernels_for(x, mask, groups, axis):
    """Pairs of a kernel that supports these inputs, and the least size for its loop."""
    pairs = [(general.normalize_batch, 0)]
    if FUSED is not general and FUSED.supports(x, mask, groups, axis, EPSILON, False):
        pairs += [(FUSED.normalize_batch, least) for least in (0, math.inf)]
    return pairs


@settings(
    max_examples=60 if BACKEND == "torch" else 25, deadline=None, derandomize=True
)
@given(
    seed=st.integers(0, 2**31),
    n=st.sampled_from([1, 7, 12]),
    shape_and_axis=st.sampled_from(
        [((6,), 1), ((3, 6), 2), ((6, 3), 1), ((2, 6, 2), 2), ((2, 1, 2, 6), 4)]
    ),
    masked=st.booleans(),
    ghost_batch_size=st.sampled_from([None, 1, 2, 3, 5, 16]),
    groups=st.sampled_from([1, 2, 3, 6]),
    affine=st.booleans(),
)
def test_outputs_moments_and_gradients(
    seed, n, shape_and_axis, masked, ghost_batch_size, groups, affine
):
    (shape, axis), rng = shape_and_axis, np.random.default_rng(seed)
    x, upstream = rng.normal(2, 2, (2, n, *shape)).astype("float32")
    others = tuple(np.delete(x.shape, axis))
    mask = rng.random(others) < 0.6 if masked else np.ones(others, bool)
    counting = reference.mask_rows(mask, x.shape, axis)
    gamma = rng.uniform(0.5, 1.5, 6) if affine else np.ones(6)
    beta = rng.normal(0, 1, 6) if affine else np.zeros(6)
    values, g = reference.rows(x, axis), reference.rows(upstream, axis)
    grouping = {"ghost_batch_size": ghost_batch_size, "mask": counting}
    grouping["groups"] = groups
    expected = reference.train(values, gamma, beta, EPSILON, **grouping)
    gradients = reference.train_gradients(values, g, gamma, EPSILON, **grouping)
    moved = reference.move(np.zeros(6), np.ones(6), values, 0.0, "variance", counting)
    mask = keras.ops.convert_to_tensor(mask) if masked else None
    for kernel, least in kernels_for(tensor(x), mask, groups, axis):

        def step(x, gamma, beta, kernel=kernel):
            return kernel(
                x,
                mask,
                gamma if affine else None,
                beta if affine else None,
                ghost_batch_size,
                groups,
                axis,
                EPSILON,
            )

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FUSED, "LEAST_ELEMENTS", least, raising=False)
            outputs, batch = step(*map(tensor, (x, gamma, beta)))
            found = gradients_of(
                lambda *arguments: keras.ops.sum(
                    step(*arguments)[0] * tensor(upstream)
                    + 0 * keras.ops.sum(arguments[1] + arguments[2])
                ),
                *(x, gamma, beta),
            )
        close(reference.rows(outputs, axis), expected)
        any_count = counting.any((0, 1))
        close(array(batch.mean), moved[0])
        close(array(batch.variance), np.where(any_count, moved[1], 0))
        # Where the variance is 0 a gradient of 0 is left of terms of 1 / √ε.
        close(reference.rows(found[0], axis), gradients[0], atol=4e-4)
        for gradient, wanted in zip(found[1:], gradients[1:]):
            close(gradient, wanted * affine, atol=4e-4)


def test_the_first_kernel_that_supports_its_inputs_is_taken():
    x, mask = tensor(np.ones((4, 3, 6))), keras.ops.ones((4, 3), "bool")
    for arguments, expected in (
        ((x, None, 6, 2), FUSED),
        ((x, mask, 6, 2), general),
        ((x, None, 3, 2), general),
        ((x, None, 3, 1), torch_fused if FUSED is torch_fused else general),
    ):
        # Outside of a strategy nothing is synchronized.
        for synchronized in (False, True):
            kernel = training_kernel(*arguments, EPSILON, synchronized)
            assert kernel is expected.normalize_batch
    assert kernels.TRAINING[-1] is general


def test_a_large_mean_is_subtracted_before_anything_is_multiplied(rng):
    """`x * scale + shift` would be wrong in the second digit."""
    deviations = np.round(rng.normal(0, 100, (8, 4))) / 1024
    x, mean, variance = np.float32(1e4 + deviations), [[1e4] * 4], [[1e-2] * 4]
    moments = Moments(tensor(mean), tensor(variance))
    got = normalize(tensor(x), moments, None, None, 1, EPSILON)
    close(array(got), deviations / np.sqrt(1e-2 + EPSILON), rtol=1e-5)

"""Masks in training and at inference, of both layers, against the specification.

The parameter `groups` says which layer it is, as in `test_training.py`. Training with a
mask never meets the fused kernel, according to `test_tensorflow_fused.py`.
"""

import keras
import numpy as np
import pytest
import reference
from helpers import (
    COMPILED,
    EPSILON,
    array,
    check_moved,
    check_weights_unchanged,
    close,
    example_batch,
    layer_of,
    randomize,
    run,
    slow_by_xla,
    weights,
)
from reference import rows


def masked_batch(rng, n, shape, axis):
    """A batch whose masked positions are NaN, and its mask.

    The first two examples and the last are masked as a whole.
    """
    x, upstream = example_batch(rng, n, shape)
    others = [size for i, size in enumerate(x.shape) if i != axis % x.ndim]
    mask = rng.random(others) < 0.6
    mask[:2], mask[-1] = False, False
    elements = np.broadcast_to(np.expand_dims(mask, axis), x.shape)
    return np.where(elements, x, np.nan).astype("float32"), upstream * elements, mask


@pytest.mark.parametrize("how", slow_by_xla(["eager", *COMPILED]))
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 6), -1), ((6, 4), 1), ((2, 3, 6), -1), ((6,), -1)]
)
def test_masked_training(rng, shape, axis, groups, how):
    layer = randomize(layer_of(groups, ghost_batch_size=2, axis=axis), shape, rng)
    before = weights(layer)
    # 6 examples: ghosts of 2, so that the first ghost is masked as a whole.
    x, upstream, mask = masked_batch(rng, 6, shape, axis)
    outputs, to_x, (to_gamma, to_beta) = run(layer, x, upstream, mask, how=how)
    # What is masked can't matter.
    values, g = rows(np.nan_to_num(x), axis), rows(upstream, axis)
    counting = reference.mask_rows(mask, x.shape, axis)
    grouping = {"ghost_batch_size": 2, "groups": groups or -1, "mask": counting}
    gamma, beta = before["gamma"], before["beta"]
    expected = reference.train(values, gamma, beta, EPSILON, **grouping)
    close(rows(outputs, axis)[counting], expected[counting])
    np.testing.assert_allclose(
        rows(outputs, axis)[:2], np.broadcast_to(beta, expected[:2].shape), rtol=1e-6
    )
    gradients = reference.train_gradients(values, g, gamma, EPSILON, **grouping)
    close(rows(to_x, axis), gradients[0], atol=2e-4)
    close(to_gamma, gradients[1], atol=2e-4)
    close(to_beta, gradients[2], atol=2e-4)
    check_moved(layer, before, values, counting)


@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("example_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((6, 4), 1)])
def test_masked_inference(rng, shape, axis, example_weight, groups):
    layer = layer_of(groups, axis=axis, example_weight=example_weight)
    randomize(layer, shape, rng)
    x, _, mask = masked_batch(rng, 7, shape, axis)
    # The example that is masked as a whole falls back to the moving statistics.
    x[-1] = 1.5
    outputs = array(layer(x, training=False, mask=keras.ops.convert_to_tensor(mask)))
    counting = reference.mask_rows(mask, x.shape, axis)
    expected = reference.infer(
        rows(np.nan_to_num(x), axis),
        **weights(layer),
        epsilon=EPSILON,
        example_weight=example_weight,
        groups=groups or -1,
        mask=counting,
    )
    close(rows(outputs, axis)[counting], expected[counting])
    close(rows(outputs, axis)[-1], expected[-1])


@pytest.mark.parametrize("how", slow_by_xla(["eager", *COMPILED]))
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((6, 4), 1)])
def test_gradients_of_inference_beside_masked_nan(
    rng, shape, axis, groups, trainable, how
):
    layer = layer_of(groups, axis=axis, example_weight=0.3, trainable=trainable)
    randomize(layer, shape, rng)
    before = weights(layer)
    x, upstream, mask = masked_batch(rng, 4, shape, axis)
    _, to_x, to_weights = run(layer, x, upstream, mask, training=False, how=how)
    values, g = rows(np.nan_to_num(x), axis), rows(upstream, axis)
    counting = reference.mask_rows(mask, x.shape, axis)

    def loss(x=values, **changed):
        arguments = {"epsilon": EPSILON, "example_weight": 0.3, "mask": counting}
        arguments |= {**before, **changed, "groups": groups or -1}
        return np.sum(reference.infer(x, **arguments) * g)

    close(rows(to_x, axis), reference.central_differences(loss, values), atol=2e-4)
    assert len(to_weights) == 2 * trainable
    for name, gradient in zip(("gamma", "beta"), to_weights):
        expected = reference.central_differences(
            lambda value, name=name: loss(**{name: value}), before[name]
        )
        close(gradient, expected, atol=2e-4)


def test_finite_masked_positions_are_normalized_too(rng):
    layer = randomize(layer_of(ghost_batch_size=2), (4, 6), rng)
    before = weights(layer)
    x, upstream = example_batch(rng, 5, (4, 6))
    mask = rng.random((5, 4)) < 0.6
    counting = reference.mask_rows(mask, x.shape, -1)
    outputs, to_x, (to_gamma, _) = run(layer, x, upstream, mask)
    expected = reference.train(
        rows(x, -1), before["gamma"], before["beta"], EPSILON, 2, mask=counting
    )
    gradients = reference.train_gradients(
        rows(x, -1), rows(upstream, -1), before["gamma"], EPSILON, 2, mask=counting
    )
    close(outputs, expected)
    close(to_x, gradients[0], atol=2e-4)
    close(to_gamma, gradients[1], atol=2e-4)


@pytest.mark.parametrize("ghost_batch_size", [None, 2])
def test_a_fully_masked_batch_moves_nothing(rng, ghost_batch_size):
    layer = randomize(layer_of(ghost_batch_size=ghost_batch_size), (4, 6), rng)
    before = weights(layer)
    x, upstream = example_batch(rng, 5, (4, 6))
    outputs, to_x, (to_gamma, _) = run(layer, x, upstream, np.zeros((5, 4), bool))
    close(outputs, np.broadcast_to(before["beta"], x.shape))
    np.testing.assert_array_equal(to_x, 0)
    np.testing.assert_array_equal(to_gamma, 0)
    check_weights_unchanged(layer, before)


@pytest.mark.parametrize("groups", [None, 2])
def test_keras_masking(rng, groups):
    layer = layer_of(groups, ghost_batch_size=2, example_weight=0.3)
    model = keras.Sequential(
        [keras.Input((None, 6)), keras.layers.Masking(mask_value=9.0), layer]
    )
    randomize(layer, (None, 6), rng)
    before = weights(layer)
    x, _ = example_batch(rng, 5, (4, 6))
    mask = np.arange(4) < rng.integers(1, 5, (5, 1))
    x[~mask] = 9.0
    counting = reference.mask_rows(mask, x.shape, -1)
    outputs = model.predict(x, verbose=0)
    expected = reference.infer(
        x.astype("float64"),
        **before,
        epsilon=EPSILON,
        example_weight=0.3,
        groups=groups or -1,
        mask=counting,
    )
    close(outputs[mask], expected[mask])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=5, shuffle=False, verbose=0)
    check_moved(layer, before, rows(x, -1), counting)

"""Inference without a mask, of both layers, against the specification.

The parameter `groups` says which layer it is, as in `test_training.py`. Inference never
meets the fused kernel, according to `test_tensorflow_fused.py`.
"""

import keras
import numpy as np
import pytest
import reference
from helpers import (
    COMPILED,
    EPSILON,
    SHAPES,
    array,
    check_inference,
    check_weights_unchanged,
    close,
    example_batch,
    layer_of,
    randomize,
    run,
    slow_by_xla,
    weights,
)

from keras_bn4 import GhostBatchNormalization


@pytest.mark.filterwarnings("ignore:Layer .* normalizes single numbers")
@pytest.mark.parametrize("example_weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("groups", [None, 1, 2, -1])
@pytest.mark.parametrize("shape", [(6,), (3, 6)])
def test_inference(rng, shape, groups, example_weight):
    layer = layer_of(groups, ghost_batch_size=2, example_weight=example_weight)
    randomize(layer, shape, rng)
    before = weights(layer)
    for n in (1, 7):
        check_inference(layer, example_batch(rng, n, shape)[0], groups or -1)
    check_weights_unchanged(layer, before)


@pytest.mark.parametrize("example_weight", [0.0, 0.3])
@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_inference_of_any_rank_and_axis(rng, shape, axis, groups, example_weight):
    layer = layer_of(groups, axis=axis, example_weight=example_weight)
    randomize(layer, shape, rng)
    check_inference(layer, example_batch(rng, 4, shape)[0], groups or -1)


@pytest.mark.parametrize(
    ("example_weight", "training"), [(0.0, False), (0.0, True), (0.3, True)]
)
@pytest.mark.parametrize(
    ("groups", "shape"), [(None, (3, 4)), (None, (4,)), (2, (3, 4))]
)
@pytest.mark.parametrize("how", slow_by_xla(["eager", *COMPILED]))
def test_a_frozen_layer_infers_and_passes_gradients(
    rng, how, groups, shape, example_weight, training
):
    layer = layer_of(groups, ghost_batch_size=2, example_weight=example_weight)
    randomize(layer, shape, rng)
    layer.trainable = False
    before, (x, upstream) = weights(layer), example_batch(rng, 3, shape)
    outputs, to_x, to_weights = run(layer, x, upstream, training=training, how=how)
    assert to_weights == []
    check_inference(layer, x, groups or -1, outputs)

    values, g = reference.rows(x, -1), reference.rows(upstream, -1)

    def loss(values):
        inferred = reference.infer(
            values,
            **before,
            epsilon=EPSILON,
            example_weight=example_weight,
            groups=groups or -1,
        )
        return np.sum(inferred * g)

    expected = reference.central_differences(loss, values)
    close(reference.rows(to_x, -1), expected)
    check_weights_unchanged(layer, before)


@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("how", slow_by_xla(["eager", *COMPILED]))
def test_gradients_of_a_frozen_layer_where_channels_are_0(rng, how, groups):
    layer = layer_of(groups, example_weight=0.3)
    randomize(layer, (4, 4, 2), rng)
    layer.trainable = False
    before, (x, upstream) = weights(layer), example_batch(rng, 2, (4, 4, 2))
    x[0, ..., 0] = x[1] = 0
    outputs, to_x, _ = run(layer, x, upstream, training=False, how=how)
    check_inference(layer, x, groups or -1, outputs)
    values, g = reference.rows(x, -1), reference.rows(upstream, -1)

    def loss(values):
        inferred = reference.infer(
            values, **before, epsilon=EPSILON, example_weight=0.3, groups=groups or -1
        )
        return np.sum(inferred * g)

    expected = reference.central_differences(loss, values)
    close(reference.rows(to_x, -1), expected)


@pytest.mark.parametrize("example_weight", [0.05, 0.2])
@pytest.mark.parametrize("mean", [0, 3, 10, 100, 1e3, 1e4])
def test_means_of_many_standard_deviations(rng, mean, example_weight):
    layer = layer_of(example_weight=example_weight)
    model = keras.Sequential([keras.Input((4, 8, 2)), layer])
    randomize(layer, (4, 8, 2), rng)
    x = (mean + rng.normal(0, 1, (3, 4, 8, 2))).astype("float32")
    outputs = model.predict(x, verbose=0)
    check_inference(layer, x, outputs=outputs)
    # As after training on such inputs: whatever comes from rounding the inputs shows.
    layer.moving_mean.assign(mean + np.array([0.3, -0.2]))
    tolerance = max(1e-4, 3e-7 * mean)
    expected = reference.infer(
        reference.rows(x, -1),
        epsilon=EPSILON,
        example_weight=example_weight,
        **weights(layer),
    )
    outputs = reference.rows(model.predict(x, verbose=0), -1)
    close(outputs, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("example_weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("groups", [None, 2])
def test_predictions_do_not_depend_on_batch_mates(rng, groups, example_weight):
    layer = layer_of(groups, ghost_batch_size=3, example_weight=example_weight)
    model = keras.Sequential([keras.Input((3, 6)), layer])
    randomize(layer, (3, 6), rng)
    x, _ = example_batch(rng, 7, (3, 6))
    together = model.predict(x, verbose=0)
    for i in range(len(x)):
        alone = model.predict(x[i : i + 1], verbose=0)
        close(together[i : i + 1], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch_size", [2, 8])
def test_example_weight_gives_inference_the_bound_of_training(rng, batch_size):
    """Sec. 3.1: one number, at α = 1 / B."""
    layer = GhostBatchNormalization(example_weight=1 / batch_size)
    randomize(layer, (6,), rng)
    layer.gamma.assign(np.ones(6))
    layer.beta.assign(np.zeros(6))
    bound = reference.output_bound(batch_size)
    for scale in (1.0, 1e2, 1e6):
        x = (scale * rng.standard_cauchy((50, 6))).astype("float32")
        assert np.abs(array(layer(x))).max() <= bound * (1 + 1e-5)
    far = array(layer(np.float32([[1e6] * 6, [-1e6] * 6])))
    close(far, bound * np.array([[1.0] * 6, [-1.0] * 6]), rtol=1e-5)

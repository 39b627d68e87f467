"""`GhostBatchNormalization` beside Keras' layer, and what the paper says about it.

What holds for both layers is in files by subject: `test_training.py`,
`test_inference.py`, `test_masks.py`, `test_configuration.py` and `test_files.py`.
"""

import keras
import numpy as np
import pytest
import reference
from helpers import (
    BACKEND,
    SHAPES,
    array,
    check_same_training,
    close,
    example_batch,
    layer_and_keras_layer,
    run,
)
from reference import rows

from keras_bn4 import GhostBatchNormalization

# The axis.


def test_the_one_positional_argument_is_the_axis():
    assert GhostBatchNormalization(1).axis == 1
    assert GhostBatchNormalization().axis == -1


def test_a_ghost_size_by_position_is_told_its_name():
    with pytest.raises(ValueError, match=r"\(ghost_batch_size=16\)"):
        GhostBatchNormalization(16).build((None, 8, 8, 3))


# Relation to Keras' layer.


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_the_whole_batch_is_keras_batch_normalization(rng, shape, axis):
    layer, keras_layer = layer_and_keras_layer(rng, shape, axis=axis, momentum=0.9)
    for _ in range(2):
        check_same_training(layer, keras_layer, *example_batch(rng, 7, shape))
    x, _ = example_batch(rng, 7, shape)
    keras_layer.set_weights(layer.get_weights())
    got, expected = (array(each(x, training=False)) for each in (layer, keras_layer))
    if BACKEND == "tensorflow":
        np.testing.assert_array_equal(got, expected)
    close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arguments", [{"scale": False}, {"center": False}])
def test_without_gamma_or_beta(rng, arguments):
    layer, keras_layer = layer_and_keras_layer(rng, (3, 6), **arguments)
    check_same_training(layer, keras_layer, *example_batch(rng, 7, (3, 6)))
    x, _ = example_batch(rng, 7, (3, 6))
    close(array(layer(x)), array(keras_layer(x)))
    layer.example_weight = 1.0
    group_layer = keras.layers.GroupNormalization(groups=-1, **arguments)
    group_layer.build((None, 3, 6))
    group_layer.set_weights(keras_layer.get_weights()[:1])
    close(array(layer(x)), array(group_layer(x)))


def test_a_ghost_of_the_whole_batch_is_batch_normalization(rng):
    keras_layer = keras.layers.BatchNormalization(momentum=0.9)
    layer = GhostBatchNormalization(
        ghost_batch_size=7, variance_tracking="variance", momentum=0.9
    )
    for each in (layer, keras_layer):
        each.build((None, 3, 6))
    check_same_training(layer, keras_layer, *example_batch(rng, 7, (3, 6)))


@pytest.mark.parametrize("renorm_clipping", [None, {"rmax": 3, "rmin": 0.3, "dmax": 5}])
def test_renorm_is_that_of_keras(rng, renorm_clipping):
    layer, keras_layer = layer_and_keras_layer(
        rng, (3, 6), renorm=True, renorm_clipping=renorm_clipping, momentum=0.9
    )
    for _ in range(3):
        check_same_training(layer, keras_layer, *example_batch(rng, 7, (3, 6)))
    x, _ = example_batch(rng, 7, (3, 6))
    close(array(layer(x)), array(keras_layer(x)))


@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((6, 4), 1)])
def test_moments_of_renorm_are_centred_and_masked(rng, shape, axis):
    layer = GhostBatchNormalization(axis=axis, renorm=True, renorm_momentum=0.0)
    x = (1e3 + 0.1 * rng.normal(size=(7, *shape))).astype("float32")
    mask = rng.random((7, 4)) < 0.6
    layer(x, training=True, mask=keras.ops.convert_to_tensor(mask))
    moved = reference.move(
        np.zeros(6),
        np.zeros(6),
        rows(x, axis),
        0.0,
        "variance",
        reference.mask_rows(mask, x.shape, axis),
    )
    close(array(layer.renorm_mean), moved[0], rtol=1e-6)
    close(array(layer.renorm_stddev), np.sqrt(moved[1] + layer.epsilon), rtol=1e-3)


@pytest.mark.parametrize("masked", [False, True])
def test_renorm_stays_where_nothing_counts(masked, rng):
    layer = GhostBatchNormalization(renorm=True, momentum=0.5)
    layer.build((None, 3, 6))
    layer(rng.normal(2, 3, (4, 3, 6)), training=True)
    before = [array(weight) for weight in layer.weights]
    x = keras.ops.convert_to_tensor(np.ones((4 if masked else 0, 3, 6), "float32"))
    mask = keras.ops.zeros((4, 3), "bool") if masked else None
    layer(x, training=True, mask=mask)
    for weight, value in zip(layer.weights, before, strict=True):
        close(array(weight), value, rtol=0, atol=0)


def test_what_renorm_masks_does_not_reach_gradients(rng):
    layer, other = (GhostBatchNormalization(renorm=True) for _ in range(2))
    for each in (layer, other):
        each.build((None, 3, 6))
    x, upstream = example_batch(rng, 4, (3, 6))
    mask = np.ones((4, 3), bool)
    mask[1, 2] = False
    upstream[1, 2] = 0
    x[1, 2] = 0
    *_, expected = run(other, x, upstream, mask)
    x[1, 2] = np.nan
    *_, found = run(layer, x, upstream, mask)
    for gradient, value in zip(found, expected, strict=True):
        close(gradient, value)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_integers_are_not_rounded(dtype):
    x = np.array([[70001], [70002], [70003], [70004]], "int32")
    layer = GhostBatchNormalization(dtype=dtype, momentum=0.0)
    expected = (x - x.mean()) / np.sqrt(x.var() + layer.epsilon)
    for training in (True, False):
        found = layer(keras.ops.convert_to_tensor(x), training=training)
        assert keras.backend.standardize_dtype(found.dtype) == layer.compute_dtype
        close(array(keras.ops.cast(found, "float32")), expected, rtol=5e-3)
    close(array(layer.moving_mean), [x.mean()])
    close(array(layer.moving_variance), [1.25], rtol=1e-3)


# Properties of the paper.


@pytest.mark.parametrize("ghost_batch_size", [1, 2, 5])
def test_every_ghost_has_mean_0_and_variance_1(rng, ghost_batch_size):
    layer = GhostBatchNormalization(ghost_batch_size=ghost_batch_size, epsilon=1e-12)
    x, _ = example_batch(rng, 12, (4, 6))
    outputs = array(layer(x, training=True)).astype("float64")
    for ghost in reference.ghosts(12, ghost_batch_size):
        close(outputs[ghost].mean((0, 1)), np.zeros(6))
        close(outputs[ghost].var((0, 1)), np.ones(6))


@pytest.mark.parametrize("batch_size", [2, 8])
def test_training_outputs_reach_the_bound_and_never_pass_it(rng, batch_size):
    """Eq. 2 and appendix A, at γ = 1 and β = 0."""
    layer = GhostBatchNormalization(ghost_batch_size=batch_size, epsilon=1e-12)
    bound = reference.output_bound(batch_size)
    for x in rng.standard_cauchy((20, batch_size, 3)).astype("float32"):
        assert np.abs(array(layer(x, training=True))).max() <= bound * (1 + 1e-5)
    x = np.where(np.arange(batch_size)[:, None] == 0, 0.0, [[1.0, 10.0, -1e3]])
    outputs = array(layer(x.astype("float32"), training=True))
    close(outputs[0], bound * np.array([-1, -1, 1]), rtol=1e-5)


def training_of(layer):
    """A function that executes a training step, compiled where many are cheaper so."""
    if BACKEND != "tensorflow":
        return lambda x: layer(x, training=True)
    import tensorflow as tf

    layer.build((64, 8))
    return tf.function(lambda x: layer(x, training=True), [tf.TensorSpec((64, 8))])


@pytest.mark.parametrize(
    ("arguments", "after_50", "after_300"),
    [
        ({"ghost_batch_size": 16}, 7.0, 2.2),
        ({"ghost_batch_size": 16, "variance_tracking": "variance"}, 1.0, 1.0),
        ({}, 1.0, 1.0),
    ],
)
def test_start_up_of_the_moving_variance(rng, arguments, after_50, after_300):
    layer = GhostBatchNormalization(momentum=0.99, **arguments)
    train = training_of(layer)
    for step in range(1, 301):
        train(rng.normal(5, 1, (64, 8)).astype("float32"))
        if step == 50:
            close(array(layer.moving_variance).mean(), after_50, atol=0.1)
    close(array(layer.moving_variance).mean(), after_300, atol=0.1)


def test_start_up_that_is_over_sooner(rng):
    """`momentum=0.9`, the advice for short runs."""
    layer = GhostBatchNormalization(ghost_batch_size=16, momentum=0.9)
    train = training_of(layer)
    for _ in range(100):
        train(rng.normal(5, 1, (64, 8)).astype("float32"))
    close(array(layer.moving_variance).mean(), 1.0, atol=0.1)

"""Shapes that are unknown, empty or ragged, and dtypes that overflow."""

import keras
import numpy as np
import pytest
import reference
from helpers import BACKEND, EPSILON, array, close, layer_of, on_tensorflow

from keras_bn4 import GhostBatchNormalization, recalibrate


@on_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("groups", [None, 2])
def test_a_known_batch_size_with_another_axis_that_is_unknown(rng, groups, jit_compile):
    """As `padded_batch(8, drop_remainder=True)` and lengths that vary make it."""
    import tensorflow as tf

    x = rng.normal(2, 2, (8, 5, 4)).astype("float32")
    for size in (None, 2, 3, 8):
        layer = layer_of(groups, ghost_batch_size=size)
        layer.build((None, None, 4))
        train = tf.function(
            lambda x, layer=layer: layer(x, training=True),
            input_signature=[tf.TensorSpec((8, None, 4))],
            jit_compile=jit_compile,
        )
        for length in (5, 3):
            expected = reference.train(
                x[:, :length], np.ones(4), np.zeros(4), EPSILON, size, groups or -1
            )
            close(array(train(x[:, :length])), expected)


@on_tensorflow
def test_data_of_known_batch_size_and_varying_length_train_and_recalibrate(rng):
    import tensorflow as tf

    lengths = [3, 5, 2, 4] * 4
    data = tf.data.Dataset.from_generator(
        lambda: (rng.normal(1, 2, (n, 4)).astype("float32") for n in lengths),
        output_signature=tf.TensorSpec((None, 4)),
    ).padded_batch(8, drop_remainder=True)
    data = data.apply(tf.data.experimental.assert_cardinality(2))
    model = keras.Sequential(
        [keras.Input((None, 4)), GhostBatchNormalization(ghost_batch_size=4)]
    )
    model.compile("sgd", "mse")
    history = model.fit(data.map(lambda x: (x, x)), shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    recalibrate(model, data, verbose=0)
    for n in (8, 8, 5):
        x = rng.normal(size=(8, n, 4)).astype("float32")
        model.train_on_batch(x, x)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("ghost_batch_size", [None, 2])
@pytest.mark.parametrize("groups", [None, 2])
def test_a_batch_without_positions_moves_no_statistic(groups, ghost_batch_size):
    layer = layer_of(groups, ghost_batch_size=ghost_batch_size)
    layer.build((None, None, 4))
    before = layer.get_weights()
    x = np.zeros((4, 0, 4), "float32")
    assert layer(x, training=True).shape == x.shape
    if BACKEND == "tensorflow":
        import tensorflow as tf

        train = tf.function(
            lambda x: layer(x, training=True),
            input_signature=[tf.TensorSpec((None, None, 4))],
        )
        assert train(x).shape == x.shape
    for weight, expected in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(weight, expected)


@on_tensorflow
@pytest.mark.parametrize(
    ("training", "example_weight"), [(True, 0.0), (False, 0.0), (False, 0.3)]
)
def test_ragged_inputs_are_those_of_a_mask(rng, training, example_weight):
    import tensorflow as tf

    lengths = [3, 1, 4, 2]
    rows = [rng.normal(1, 2, (n, 4)).astype("float32") for n in lengths]
    ragged = tf.RaggedTensor.from_row_lengths(np.concatenate(rows), lengths)
    mask = np.arange(4) < np.array(lengths)[:, None]
    arguments = {"ghost_batch_size": 2, "example_weight": example_weight}
    one, other = (GhostBatchNormalization(**arguments) for _ in range(2))
    outputs = one(ragged, training=training)
    assert isinstance(outputs, tf.RaggedTensor)
    expected = other(ragged.to_tensor(), training=training, mask=mask).numpy()
    np.testing.assert_allclose(outputs.flat_values, expected[mask], atol=1e-6)
    for weight, expected in zip(one.get_weights(), other.get_weights()):
        np.testing.assert_allclose(weight, expected, atol=1e-6)
    theirs = keras.layers.BatchNormalization()
    if not example_weight and not training:
        np.testing.assert_allclose(
            outputs.flat_values, theirs(ragged).flat_values, atol=1e-6
        )


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_policies_of_half_precision_keep_statistics_in_float32(rng, policy):
    layer = GhostBatchNormalization(ghost_batch_size=2, dtype=policy, momentum=0.5)
    x = rng.normal(7e4, 7e3, (6, 3, 4)).astype("float32")
    outputs = layer(x, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy
    assert {v.dtype for v in layer.variables} == {"float32"}
    assert all(np.isfinite(w).all() for w in layer.get_weights())
    expected = reference.train(
        x.astype("float64"), np.ones(4), np.zeros(4), layer.epsilon, 2
    )
    close(
        array(keras.ops.cast(outputs, "float32")),
        expected,
        atol=2e-2,
        rtol=2e-2,
    )

"""The groups of `BatchGroupNormalization`, and its relation to Keras' layer.

What holds for both layers is in files by subject: `test_training.py`,
`test_inference.py`, `test_masks.py`, `test_configuration.py` and `test_files.py`.
"""

import keras
import pytest
from helpers import (
    array,
    check_same_training,
    close,
    example_batch,
    randomize,
    run,
)

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization


def test_positional_arguments_are_groups_and_axis():
    layer = BatchGroupNormalization(4, 1)
    assert (layer.groups, layer.axis) == (4, 1)
    layer = BatchGroupNormalization()
    assert (layer.groups, layer.axis) == (32, -1)


@pytest.mark.parametrize(("groups", "channels"), [(1, 6), (2, 3), (6, 1), (-1, 1)])
def test_channels_per_group(groups, channels):
    layer = BatchGroupNormalization(groups)
    layer.build((None, 3, 6))
    assert layer.channels_per_group == channels


@pytest.mark.parametrize("ghost_batch_size", [None, 3])
def test_one_group_a_channel_is_the_other_layer(rng, ghost_batch_size):
    arguments = {
        "ghost_batch_size": ghost_batch_size,
        "variance_tracking": "variance",
        "momentum": 0.9,
    }
    layer, other = (
        randomize(each, (3, 6), rng)
        for each in (
            BatchGroupNormalization(-1, **arguments),
            GhostBatchNormalization(**arguments),
        )
    )
    other.set_weights(layer.get_weights())
    check_same_training(layer, other, *example_batch(rng, 7, (3, 6)))


@pytest.mark.parametrize("groups", [1, 2, -1])
def test_one_example_a_ghost_is_group_normalization(rng, groups):
    keras_layer = keras.layers.GroupNormalization(groups)
    layer = BatchGroupNormalization(groups, ghost_batch_size=1, example_weight=1.0)
    keras_layer.build((None, 3, 6))
    randomize(layer, (3, 6), rng)
    keras_layer.set_weights(layer.get_weights()[:2])
    x, upstream = example_batch(rng, 5, (3, 6))
    expected, *gradients = run_without_training(keras_layer, x, upstream)
    outputs, to_x, to_weights = run(layer, x, upstream)
    close(outputs, expected)
    close(to_x, gradients[0], atol=2e-4)
    for gradient, keras_gradient in zip(to_weights, gradients[1]):
        close(gradient, keras_gradient, atol=2e-4)
    close(array(layer(x, training=False)), expected)


def run_without_training(layer, x, upstream):
    """`run` for a layer whose call knows neither `training` nor `mask`."""

    class Adapter(keras.layers.Layer):
        def call(self, inputs, training=None, mask=None):
            return layer(inputs)

    adapter = Adapter()
    adapter.inner = layer
    adapter.built = True
    return run(adapter, x, upstream)

"""What the recipes promise; that their blocks run is held with the other pages."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_bn4

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def fully_convolutional():
    """A network that takes images of any size and pads nothing, with random weights."""
    inputs = keras.Input((None, None, 2))
    x = inputs
    for _ in range(3):
        x = layers.Conv2D(4, 1, activation="relu")(x)
        x = layers.BatchNormalization()(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture
def images(rng):
    return rng.normal(1, 2, (3, 8, 8, 2)).astype("float32")


@pytest.mark.parametrize("groups", [2, -1, 1])
def test_ghosts_of_one_image_are_group_normalization(groups, images):
    model = fully_convolutional()
    converted = keras_bn4.convert(
        model, ghost_batch_size=1, groups=groups, example_weight=1
    )
    x = images
    for layer in model.layers[1:]:
        if isinstance(layer, layers.BatchNormalization):
            alike = layers.GroupNormalization(groups, epsilon=layer.epsilon)
            alike.build(x.shape)
            alike.set_weights([layer.gamma, layer.beta])
            layer = alike
        x = layer(x)
    for training in (True, False):
        found = converted(images, training=training)
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (found, x)), 1e-3)


def test_frozen_normalizers_run_as_at_inference_beside_dropout(images):
    model = keras_bn4.convert(fully_convolutional(), example_weight=0.2)
    expected = model.predict(images, verbose=0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    found = keras.ops.convert_to_numpy(model(images, training=True))
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_statistics_of_all_tiles_are_an_example_weight_of_the_whole(images):
    model, image = fully_convolutional(), images[:1]

    def cut(x):
        tiles = x.reshape(2, 4, 2, 4, x.shape[-1]).swapaxes(1, 2)
        return tiles.reshape(4, 4, 4, x.shape[-1])

    weighing = keras_bn4.convert(model, example_weight=0.1)
    whole = cut(weighing.predict(image, verbose=0)[0])
    in_tiles = weighing.predict(cut(image[0]), verbose=0)
    assert np.abs(in_tiles - whole).max() > 0.01  # What the page warns of.
    tiled = keras_bn4.convert(model, example_weight=0)
    keras_bn4.recalibrate(tiled, cut(image[0]), prior=9 * 4, verbose=0)
    found = tiled.predict(cut(image[0]), verbose=0)
    np.testing.assert_allclose(found, whole, **TOLERANCE)

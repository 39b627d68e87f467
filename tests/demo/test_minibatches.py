"""The same minibatches as arrays have, to the bit."""

import keras
import numpy as np
import pytest

from keras_bn4.demo.minibatches import minibatches


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=["accuracy"])
    return model


def test_a_model_learns_and_predicts_the_same(model, rng):
    x, y = rng.random((14, 6, 6, 3), "float32"), rng.integers(0, 3, 14)
    first = model.get_weights()

    def results(with_labels, without):
        model.set_weights(first)
        losses = model.fit(**with_labels, shuffle=False, epochs=2, verbose=0).history
        score = model.evaluate(**with_labels, verbose=0)
        return losses, score, model.predict(**without, verbose=0), model.get_weights()

    expected = results({"x": x, "y": y, "batch_size": 4}, {"x": x, "batch_size": 4})
    found = results(minibatches(x, y, batch_size=4), minibatches(x, batch_size=4))
    assert found[:2] == expected[:2]
    np.testing.assert_array_equal(found[2], expected[2])
    for weight, other in zip(found[3], expected[3]):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="what TensorFlow does with arrays"
)
@pytest.mark.parametrize(
    ("n", "known", "sizes"), [(4, 2, [2, 2]), (5, None, [2, 2, 1])]
)
def test_the_size_is_known_where_it_can_be_and_nothing_is_tuned(rng, n, known, sizes):
    dataset = minibatches(rng.random((n, 2)), batch_size=2)["x"]
    assert dataset.options().autotune.enabled is False
    assert dataset.element_spec[0].shape[0] == known
    assert [len(batch) for (batch,) in dataset] == sizes

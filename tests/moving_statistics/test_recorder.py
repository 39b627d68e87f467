"""What layers receive while a model runs, with everything put back afterwards."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_bn4.moving_statistics.recorder import (
    Recorder,
    input_batches,
    preserved,
    training_layers,
)


@pytest.fixture
def model():
    """Doubles its inputs, normalizes them in two layers, and drops nothing."""
    inputs = keras.Input((3,))
    x = layers.Rescaling(2)(inputs)
    x = layers.BatchNormalization(name="first", momentum=0.5)(x)
    x = layers.Dropout(0.9)(x)
    return keras.Model(inputs, layers.BatchNormalization(name="second")(x))


def mean_of(layer, inputs, mask):
    return {"mean": ops.mean(inputs, 0)}


@pytest.mark.parametrize("training", [False, True])
def test_layers_see_their_inputs(training, model, rng):
    x = rng.normal(5, 1, (6, 3)).astype("float32")
    found = training_layers(model)
    assert [layer.name for layer in found] == ["first", "second"]
    before = model.get_weights()
    with preserved(found):
        first, second = Recorder(model, found, mean_of, training).record(x)
    np.testing.assert_allclose(first[0]["mean"], 2 * x.mean(0), rtol=1e-5)
    # In training the first layer takes the mean away, at inference it has moved none.
    expected = 0 if training else 2 * x.mean(0) / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(second[0]["mean"], expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    assert "call" not in vars(found[0])


def test_a_shared_layer_has_an_entry_for_each_call(rng):
    layer = layers.BatchNormalization()
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(layer(inputs) + 1))
    x = rng.normal(size=(4, 3)).astype("float32")
    (entries,) = Recorder(model, [layer], mean_of, False).record(x)
    assert len(entries) == 2
    np.testing.assert_allclose(entries[0]["mean"], x.mean(0), atol=1e-6)


def test_data_that_do_not_fit_leave_the_model_as_it_was(model):
    found = training_layers(model)
    with pytest.raises(ValueError, match=r"can't be called .*\(2, 5\)"):
        Recorder(model, found, mean_of, False).record(np.zeros((2, 5), "float32"))
    assert "call" not in vars(found[0])


def test_renorm_is_off_for_a_while():
    layer = layers.BatchNormalization(renorm=True)
    layer.build((None, 3))
    with preserved([layer]):
        assert layer.renorm is False
        layer.moving_mean.assign(np.ones(3))
    assert layer.renorm is True
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), 0)


def test_models_without_layers_to_record(model):
    with pytest.raises(ValueError, match="it has no moving statistics"):
        training_layers(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
    model.trainable = False
    with pytest.raises(ValueError, match="2 have trainable=False"):
        training_layers(model)


def test_batches_are_inputs_alone_and_none_is_empty():
    pairs = [(np.ones((n, 2)), np.zeros(n)) for n in (3, 0, 2)]
    assert [len(x) for x in input_batches(iter(pairs), None, None, 0)] == [3, 2]
    with pytest.raises(ValueError, match="ended after 3 of steps=4"):
        list(input_batches(iter(pairs), None, 4, 0))

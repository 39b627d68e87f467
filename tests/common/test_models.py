import keras
import pytest
from keras import layers

from keras_bn4.common import models


def network():
    shared = layers.BatchNormalization(name="shared")
    inputs = keras.Input((4, 4))
    inner = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(name="in")])
    x = layers.TimeDistributed(inner)(shared(shared(inputs)))
    return keras.Model(inputs, x)


def test_layers_are_found_wherever_they_are_and_once():
    found = models.layers_of(network(), layers.BatchNormalization)
    assert sorted(layer.name for layer in found) == ["in", "shared"]
    assert len(models.layers_of(network(), (layers.TimeDistributed, keras.Model))) == 3


def test_models_that_are_not_built_or_compiled():
    with pytest.raises(ValueError, match=r"Expected a keras.Model. Received: 'model'"):
        models.check_built("model")
    with pytest.raises(ValueError, match=r"isn't built.*`model.build\(input_shape\)`"):
        models.check_built(keras.Sequential([layers.Dense(1)]))
    models.check_built(network())
    with pytest.raises(ValueError, match=r"isn't compiled.*model.compile"):
        models.check_compiled(network())


def test_what_to_do_with_what_is_no_model():
    for value, hint in (
        ("a.keras", "keras.models.load_model"),
        (layers.Dense(1), "make a model with it"),
        (keras.Model, "Make an object"),
    ):
        with pytest.raises(ValueError, match=rf"Expected a keras\.Model.*{hint}"):
            models.check_built(value)


def test_models_of_legacy_keras():
    names = {"__module__": "tf_keras.src.engine.functional"}
    legacy = type("Functional", (), names)
    own = type("Own", (legacy,), {"__module__": "somewhere"})
    for value in (legacy(), own(), own):
        with pytest.raises(ValueError, match=r"legacy Keras.*`tf_keras`") as error:
            models.check_built(value)
        assert "TF_USE_LEGACY_KERAS=1" in str(error.value)

import keras
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

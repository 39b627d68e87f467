"""Layers and models that create their normalization themselves, as KerasHub's do."""

import keras
import numpy as np
from keras import layers

register = keras.saving.register_keras_serializable("test_parts")


@register
class Block(layers.Layer):
    """Creates one normalizer when it is made and one when it is built."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = layers.Dense(units)
        self.first = layers.BatchNormalization()

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.first.build((*input_shape[:-1], self.units))
        self.second = layers.BatchNormalization()
        self.second.build((*input_shape[:-1], self.units))

    def call(self, inputs, training=None):
        hidden = self.first(self.dense(inputs), training=training)
        return self.second(hidden, training=training)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class Subclassed(keras.Model):
    """Has parts that create normalizers, in a list, and creates some itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(), Block()]
        self.normalizations = [layers.BatchNormalization() for _ in range(2)]

    def call(self, inputs, training=None):
        for block, normalization in zip(self.blocks, self.normalizations):
            inputs = normalization(block(inputs, training=training), training=training)
        return inputs


class Unregistered(Subclassed):
    pass


def called(model):
    model(np.zeros((2, 3), "float32"))
    return model


def functional(*parts):
    outputs = inputs = keras.Input((3,))
    for part in parts:
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


def trained(model, rng):
    """The model with random weights, whose normalizers matter."""
    for variable in model.weights:
        if variable.dtype == "float32" and "seed" not in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def predict(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def normalizers(model):
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    ]

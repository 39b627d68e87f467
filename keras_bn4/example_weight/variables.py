"""Reads and assigns variables, as a sweep does between two steps."""

import keras
import numpy as np
from keras import ops

from keras_bn4.common.models import layers_of


def value_of(variable):
    """The value of a variable, a NumPy array of its own."""
    return np.array(ops.convert_to_numpy(variable))


def are_equal(a, b):
    """Whether two arrays of the same dtype are equal. NaN is equal to NaN."""
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def assign_changed(variables, values):
    """Gives variables the values that they had, where they have another now."""
    for variable, value in zip(variables, values):
        if not are_equal(value_of(variable), value):
            variable.assign(value)


def assigning(variables):
    """Makes a function that assigns a list of arrays to these variables.

    Args:
        variables: List of `keras.Variable`.
    """

    def assign(values):
        for variable, value in zip(variables, values):
            variable.assign(value)

    if keras.backend.backend() != "tensorflow":
        return assign
    import tensorflow as tf

    # One call of TensorFlow for all, because one for each takes long in every step.
    return tf.function(assign, autograph=False)


def recurrent_states(model):
    """The states of stateful recurrent layers, which are none of `variables`."""
    states = [x.states for x in layers_of(model, keras.layers.RNN) if x.stateful]
    return [v for v in keras.tree.flatten(states) if isinstance(v, keras.Variable)]

"""The variables that a step may change: read, compared and assigned."""

import keras
import numpy as np
from keras import ops

from keras_bn4.common.models import layers_of


def example_weight_variables(layers):
    return [layer._example_weight_variable for layer in layers]


def recurrent_states(model):
    """The states of stateful recurrent layers, which are not among `variables`."""
    states = [x.states for x in layers_of(model, keras.layers.RNN) if x.stateful]
    return [v for v in keras.tree.flatten(states) if isinstance(v, keras.Variable)]


def value_of(variable):
    """The value of a variable, an independent NumPy array."""
    return np.array(ops.convert_to_numpy(variable))


def are_equal(a, b):
    """Whether two arrays of the same dtype are equal. NaN is equal to NaN."""
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def assign_changed(variables, values):
    """Assigns values to those variables that have other ones."""
    for variable, value in zip(variables, values):
        if not are_equal(value_of(variable), value):
            variable.assign(value)


def assignment(test_function, variables):
    """Makes a function that assigns a list of arrays to these variables.

    On TensorFlow it is a single call, because one for each variable is slow. It is kept
    with the test function, so that later sweeps of the same model need no new trace.
    """

    def assign(values):
        for variable, value in zip(variables, values):
            variable.assign(value)

    if keras.backend.backend() != "tensorflow":
        return assign
    import tensorflow as tf

    kept, traced = getattr(test_function, "assignment", ((), None))
    if list(map(id, kept)) != list(map(id, variables)):
        traced = tf.function(assign, autograph=False)
        test_function.assignment = variables, traced
    return traced

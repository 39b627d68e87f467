"""Models to sweep and data for them, and what their layers have."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import GhostBatchNormalization, set_example_weight
from keras_bn4.example_weight.setting import weighing_layers

# Tracing takes longer than all steps. What is traced is tested by `test_evaluation.py`,
# and by tests that ask for it.
EAGERLY = keras.backend.backend() == "tensorflow"


def images(rng):
    """Data for `classifier`."""
    x = rng.normal(1, 2, (70, 6, 6, 2)).astype("float32")
    return x, rng.integers(0, 3, 70)


def sequences(rng):
    """Data for `chain`."""
    return rng.normal(1, 2, (70, 5, 2)).astype("float32"), rng.integers(0, 3, 70)


class CountTraces(layers.Layer):
    """Counts how often a backend traces a model."""

    traces = 0

    def call(self, inputs):
        type(self).traces += 1
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def classifier(**compile_arguments):
    inputs = keras.Input((6, 6, 2))
    hidden = layers.Conv2D(4, 3, kernel_regularizer="l2")(CountTraces()(inputs))
    hidden = layers.ReLU()(GhostBatchNormalization(ghost_batch_size=4)(hidden))
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **{"metrics": ["accuracy"], "run_eagerly": EAGERLY, **compile_arguments},
    )
    return model


def chain(**compile_arguments):
    """A chain with one of its layers in a nested model, compiled as a classifier."""
    inner = keras.Sequential([keras.Input((5, 2)), GhostBatchNormalization()])
    inputs = keras.Input((5, 2))
    x = GhostBatchNormalization()(inputs)
    x = GhostBatchNormalization()(inner(layers.Dense(2)(x)))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"], **compile_arguments)
    return model


def weights_of(model):
    return [layer.example_weight for layer in weighing_layers(model)]


def rising(example_weight, depth):
    """A custom schedule."""
    return example_weight * depth


def assert_rows_are_evaluations(model, sweep, data, restart=lambda: None):
    """Asserts the property of all sweeps: `evaluate` says the same at each weight.

    Args:
        model: The model, which is at weight 0 afterwards.
        sweep: Its `ExampleWeightSweep`.
        data: Function that returns the arguments of `evaluate`, afresh each time.
        restart: Function that gives the model the state that it had before the sweep.
    """
    for row in sweep.rows:
        restart()
        set_example_weight(model, row)
        results = model.evaluate(**{"verbose": 0, **data()}, return_dict=True)
        expected = {}
        for name, value in results.items():
            if np.ndim(value):
                expected |= {f"{name}_{i}": v for i, v in enumerate(np.ravel(value))}
            else:
                expected[name] = value
        assert set(sweep.metrics) == set(expected)
        for name, value in expected.items():
            value = pytest.approx(float(value), rel=1e-6, abs=1e-6, nan_ok=True)
            assert row[name] == value, name
    set_example_weight(model, 0)

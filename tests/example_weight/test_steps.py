"""Single steps of a sweep: names of logs, several at once."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bn4 import GhostBatchNormalization
from keras_bn4.example_weight import steps


def test_logs_are_named_as_evaluate_names_them():
    logs = {
        "loss": ops.convert_to_tensor(2.0),
        "by class": {"recall": np.float32(0.5), "f1": np.array([0.25, 0.75])},
        "confusion": np.array([[1, 2], [3, 4]]),
    }
    assert dict(steps.flat(logs)) == {
        "loss": 2.0,
        "recall": 0.5,
        "f1_0": 0.25,
        "f1_1": 0.75,
        "confusion_0_0": 1.0,
        "confusion_0_1": 2.0,
        "confusion_1_0": 3.0,
        "confusion_1_1": 4.0,
    }


def test_an_execution_of_several_steps_takes_their_batches():
    model = keras.Sequential([keras.Input((2,)), GhostBatchNormalization()])
    model.compile(loss="mse", steps_per_execution=3)
    kind = steps.StatefulFunction
    if keras.backend.backend() == "jax":
        kind = steps.StatelessFunction
    batches = iter(range(5))
    of_model = kind(model, model.layers, [[0.0], [0.1]], print)
    assert of_model.batches(batches) == [0, 1, 2]
    assert of_model.batches(batches) == [3, 4]
    with pytest.raises(StopIteration):
        of_model.batches(batches)
    # No step was taken.
    assert of_model.results() == []

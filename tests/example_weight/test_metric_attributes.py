"""Attributes of metrics: copied, given back, and only those of the user's own."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bn4.example_weight.metric_attributes import (
    attributes_kept,
    attributes_of,
    give_attributes,
)


class Remembering(keras.metrics.Metric):
    def __init__(self):
        super().__init__(name="remembering")
        self.seen = []
        self.total = ops.zeros(())
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.append(y_pred)
        self.total = self.total + ops.sum(y_pred)
        self.count.assign_add(1)

    def result(self):
        return self.total

    def reset_state(self):
        self.seen, self.total = [], ops.zeros(())


def test_copies_do_not_change_with_the_metric():
    metric = Remembering()
    metric.update_state(ops.ones(2), ops.ones(2))
    (before,) = attributes_of([metric])
    metric.update_state(ops.ones(3), ops.ones(3))
    assert len(before["seen"]) == 1
    assert float(before["total"]) == 2
    give_attributes([metric], [before])
    metric.update_state(ops.ones(4), ops.ones(4))
    assert [len(values) for values in metric.seen] == [2, 4]
    assert float(metric.result()) == 6
    # What was given can be given again.
    assert len(before["seen"]) == 1


def test_variables_are_left_to_keras():
    metric = Remembering()
    (before,) = attributes_of([metric])
    metric.update_state(ops.ones(2), ops.ones(2))
    give_attributes([metric], [before])
    assert before["count"] is metric.count
    assert float(metric.count) == 1


def test_metrics_of_keras_have_none():
    metric = keras.metrics.MeanSquaredError()
    metric.update_state(np.ones((2, 1)), np.zeros((2, 1)))
    assert attributes_of([metric]) == [{}]


def test_attributes_come_back_after_an_error():
    metric = Remembering()

    def fail():
        with attributes_kept([metric]):
            metric.update_state(ops.ones(2), ops.ones(2))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert metric.seen == []
    assert float(metric.result()) == 0

"""The steps of a model, in an order in which they can run, with what connects them."""

import keras
import pytest
from keras import layers

from keras_bn4.weight_decay.graph import steps_of


def branched():
    """A nested model that is called twice, and a wrapped layer."""
    inside = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4), layers.BatchNormalization()], name="inside"
    )
    inputs = keras.Input((4,), name="inputs")
    once = inside(inputs)
    twice = inside(once)
    added = layers.Add(name="add")([once, twice])
    row = layers.Reshape((2, 2), name="reshape")(added)
    outputs = layers.TimeDistributed(layers.Dense(3), name="wrapper")(row)
    return keras.Model(inputs, [outputs, once])


def test_every_call_is_a_step_in_an_order_that_runs():
    model = branched()
    steps, outputs = steps_of(model)
    kinds = [type(step.operation) for step in steps]
    assert kinds.count(layers.BatchNormalization) == 2
    assert [type(step.operation) for step in steps if "wrapper" in step.name] == [
        layers.Dense
    ]
    made = set()
    for step in steps:
        # Only the inputs of the model come from no step.
        missing = [x for x in step.inputs if id(x) not in made]
        assert len(missing) <= 1
        made |= {id(x) for x in step.outputs}
    assert {id(x) for x in outputs} <= made


def test_steps_are_connected_by_what_they_pass_on():
    steps, outputs = steps_of(branched())
    by_output = {id(x): step for step in steps for x in step.outputs}
    (add,) = [step for step in steps if step.name == "add"]
    before = [by_output[id(x)] for x in add.inputs]
    assert all(isinstance(x.operation, layers.BatchNormalization) for x in before)
    # Two calls of the same layer are two steps.
    assert before[0].operation is before[1].operation
    assert before[0] is not before[1]
    assert outputs[1] is before[0].outputs[0]


def test_normalizers_where_no_graph_is_known():
    class Hidden(layers.Layer):
        def __init__(self):
            super().__init__(name="hidden")
            self.inner = layers.BatchNormalization()

        def call(self, x):
            return self.inner(x)

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Hidden()(inputs))
    with pytest.raises(ValueError, match=r"'hidden' of class Hidden.*subclassed"):
        steps_of(model)

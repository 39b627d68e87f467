"""Variables get the values they had, one by one or all at once."""

import keras
import numpy as np
import pytest

from keras_bn4.example_weight import variables


@pytest.fixture
def some():
    seeds = keras.random.SeedGenerator(3)
    numbers = keras.Variable(np.zeros((2, 3)), dtype="float32")
    return [numbers, keras.Variable(0.5, dtype="float32"), seeds.state]


def test_values_are_arrays_of_their_own(some):
    value = variables.value_of(some[0])
    value[:] = 7
    np.testing.assert_array_equal(variables.value_of(some[0]), np.zeros((2, 3)))


def test_all_are_assigned_at_once_and_again(some):
    assign = variables.assigning(some)
    for i in (1, 2):
        values = [np.full(v.shape, i, v.dtype) for v in some]
        assign(values)
        for variable, value in zip(some, values):
            np.testing.assert_array_equal(variables.value_of(variable), value)


def test_only_what_has_changed_is_assigned(some, monkeypatch):
    values = [variables.value_of(v) for v in some]
    some[1].assign(np.nan)
    values[1] = np.float32(np.nan)
    some[0].assign(np.ones((2, 3)))
    assigned = []
    own = keras.Variable.assign

    def assign(variable, value):
        assigned.append(variable)
        return own(variable, value)

    monkeypatch.setattr(keras.Variable, "assign", assign)
    variables.assign_changed(some, values)
    assert [v is some[0] for v in assigned] == [True]
    np.testing.assert_array_equal(variables.value_of(some[0]), np.zeros((2, 3)))


def test_states_of_stateful_layers_are_found_where_they_are():
    layers = [keras.layers.LSTM(2, stateful=True, return_sequences=True)]
    layers += [keras.layers.GRU(2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3, 1), batch_size=4), *layers])
    states = variables.recurrent_states(model)
    assert [tuple(v.shape) for v in states] == [(4, 2), (4, 2)]
    own = {id(v) for v in model.variables}
    assert not own & {id(v) for v in states}

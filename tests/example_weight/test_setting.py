"""The example weights of all layers of a model: set at once, and kept."""

import keras
import numpy as np
import pytest
from keras import layers
from sweep_helpers import chain, sequences, weights_of

from keras_bn4 import GhostBatchNormalization, convert, set_example_weight
from keras_bn4.example_weight.setting import weighing_layers


def test_layers_come_in_the_order_in_which_they_run():
    def build():
        parts = [GhostBatchNormalization(name=f"n{i}") for i in range(6)]
        inner = keras.Sequential(
            [keras.Input((4,)), parts[1], layers.Dense(4), parts[2]]
        )
        inputs = keras.Input((4,))
        x = parts[3](inner(parts[0](inputs)))
        branch = parts[4](layers.Dense(4)(x))
        outputs = parts[5](layers.Add()([x, branch]))
        return keras.Model(inputs, outputs)

    found = [layer.name for layer in weighing_layers(build())]
    assert found == ["n0", "n1", "n2", "n3", "n4", "n5"]
    # A layer that was made late and runs early.
    late = [GhostBatchNormalization(name=name) for name in ("runs_2nd", "runs_1st")]
    model = keras.Sequential([keras.Input((4,)), late[1], late[0]])
    assert [x.name for x in weighing_layers(model)] == ["runs_1st", "runs_2nd"]


def test_layers_of_a_subclassed_model_come_in_the_order_in_which_they_were_made():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [GhostBatchNormalization(name=f"p{i}") for i in range(3)]
            self.last = keras.Sequential(
                [GhostBatchNormalization(name=f"q{i}") for i in range(2)]
            )

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return self.last(x)

    model = Subclassed()
    model(np.zeros((2, 3), "float32"))
    names = [layer.name for layer in weighing_layers(model)]
    assert names == ["p0", "p1", "p2", "q0", "q1"]


@pytest.fixture
def data(rng):
    return sequences(rng)


def test_weights_by_layer_take_effect_without_a_trace(data):
    model = chain()
    x, _ = data
    traces = []
    # Python runs the model again only where a backend traces it.
    original = model.layers[1].call
    model.layers[1].call = lambda *a, **k: traces.append(1) or original(*a, **k)
    before = model.predict(x, verbose=0)
    traced = len(traces)
    by_sequence = {}
    for weights in ([0.3, 0.0, 0.0], (0.0, 0.0, 0.3), np.array([0.1, 0.2, 0.9])):
        set_example_weight(model, weights)
        assert weights_of(model) == [float(w) for w in weights]
        by_sequence[tuple(weights)] = model.predict(x, verbose=0)
    set_example_weight(
        model, lambda layer: 0.3 if layer is weighing_layers(model)[0] else 0
    )
    assert np.array_equal(model.predict(x, verbose=0), by_sequence[0.3, 0.0, 0.0])
    first, last = (by_sequence[key] for key in list(by_sequence)[:2])
    assert np.abs(first - last).max() > 1e-3
    if keras.backend.backend() != "torch":
        assert len(traces) == traced
    set_example_weight(model, 0)
    assert np.array_equal(model.predict(x, verbose=0), before)


@pytest.mark.parametrize(
    ("weight", "keywords", "message"),
    [
        *((w, {}, "example_weight=") for w in (-0.1, 1.1, float("nan"), True)),
        ([0.1, 0.2], {}, r"Give 3, or a single one for all. Received: 2"),
        ({"weight": 0.1}, {}, r"a list, tuple or array .*a function of a layer.*a row"),
        ({"example_weight": 2, "schedule": "uniform"}, {}, r"example_weight=2"),
        ({"example_weight": 0.1, "schedule": "up"}, {}, r"one of \['uniform'"),
        (
            {"example_weight": 0.1, "schedule": "uniform"},
            {"schedule": "falling"},
            r"schedule='falling' and a row of a sweep",
        ),
        ([0.1, 0.2, 1.2], {}, r"For layer '.*example_weight=1.2"),
        (lambda layer: "much", {}, r"For layer '.*'much'"),
        ([0.1, 0.2, 0.3], {"schedule": "falling"}, r"schedule='falling' and weights"),
        (0.1, {"schedule": "rising"}, r"one of \['uniform', 'falling'\].*'rising'"),
        (0.1, {"schedule": None}, r"must be one of"),
        (0.1, {"schedule": ["falling"]}, r"must be one of"),
        (0.1, {"schedule": lambda w, d: 1.5}, r"returned 1.5"),
    ],
)
def test_nothing_is_set_where_an_argument_is_bad(weight, keywords, message):
    model = chain()
    set_example_weight(model, [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=message):
        set_example_weight(model, weight, **keywords)
    assert weights_of(model) == [0.1, 0.2, 0.3]


def test_a_row_of_a_sweep_is_set_as_it_is():
    model = chain()
    for schedule in ("falling", lambda weight, depth: weight * (1 - depth)):
        row = {"schedule": schedule, "example_weight": 0.4, "loss": 1.0}
        set_example_weight(model, row)
        assert weights_of(model) == [0.4, 0.2, 0.0]
        set_example_weight(model, 0)


def test_weights_by_layer_survive_saving_and_conversion(tmp_path):
    model = chain()
    set_example_weight(model, 0.3, schedule="falling")
    expected = [0.3, 0.15, 0.0]
    assert weights_of(convert(model)) == weights_of(model) == expected
    model.save(tmp_path / "model.keras")
    assert weights_of(keras.models.load_model(tmp_path / "model.keras")) == expected

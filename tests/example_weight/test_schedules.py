"""Weights by layer: set, swept over schedules, chosen by `largest`, and searched."""

import math

import keras
import numpy as np
import pytest
from figure_helpers import labels_of
from keras import layers

from keras_bn4 import (
    ExampleWeightTuning,
    GhostBatchNormalization,
    convert,
    set_example_weight,
    sweep_example_weight,
)
from keras_bn4.example_weight import ExampleWeightSweep
from keras_bn4.example_weight.schedules import layer_weights
from keras_bn4.example_weight.setting import weighing_layers

WEIGHTS = [0.0, 0.05, 0.3, 0.9]


def rising(example_weight, depth):
    return example_weight * depth


def network(normalizers=3):
    """A chain with one of its normalizers in a nested model, and compiled."""
    inner = keras.Sequential([keras.Input((5, 2)), GhostBatchNormalization()])
    inputs = keras.Input((5, 2))
    x = GhostBatchNormalization()(inputs)
    for _ in range(normalizers - 2):
        x = inner(layers.Dense(2)(x))
    x = GhostBatchNormalization()(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    return model


@pytest.fixture
def data(rng):
    return rng.normal(1, 2, (70, 5, 2)).astype("float32"), rng.integers(0, 3, 70)


def weights_of(model):
    return [layer.example_weight for layer in weighing_layers(model)]


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


def test_layer_weights():
    assert layer_weights("uniform", 0.3, 3) == [0.3] * 3
    assert layer_weights("falling", 0.3, 4) == [0.3, 0.2, 0.1, 0.0]
    assert layer_weights("falling", 0.3, 1) == [0.3]
    assert layer_weights(rising, 0.5, 3) == [0.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("schedule", "weight", "message"),
    [
        (lambda w, d: 2 * w, 0.7, r"<lambda> returned 1.4 for example_weight=0.7"),
        (lambda w, d: 0.1, 0.0, r"returned 0.1 .* must return 0"),
        (lambda w, d: None, 0.1, r"returned None"),
    ],
    ids=["above 1", "not 0 at 0", "None"],
)
def test_schedules_that_return_no_weights(schedule, weight, message):
    with pytest.raises(ValueError, match=message):
        layer_weights(schedule, weight, 3)


def test_weights_by_layer_take_effect_without_a_trace(data):
    model = network()
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
        ([0.1, 0.2], {}, r"Give 3, or a single one for all. Received: 2"),
        ([0.1, 0.2, 1.2], {}, r"For layer '.*example_weight=1.2"),
        (lambda layer: "much", {}, r"For layer '.*'much'"),
        ([0.1, 0.2, 0.3], {"schedule": "falling"}, r"schedule='falling' and weights"),
        (0.1, {"schedule": "rising"}, r"one of \['uniform', 'falling'\].*'rising'"),
        (0.1, {"schedule": None}, r"must be one of"),
        (0.1, {"schedule": ["falling"]}, r"must be one of"),
        (0.1, {"schedule": lambda w, d: 1.5}, r"returned 1.5"),
    ],
    ids=["few", "large", "no number", "both", "name", "None", "list", "function"],
)
def test_nothing_is_set_where_an_argument_is_bad(weight, keywords, message):
    model = network()
    set_example_weight(model, [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=message):
        set_example_weight(model, weight, **keywords)
    assert weights_of(model) == [0.1, 0.2, 0.3]


def test_a_sweep_over_schedules_is_evaluate_at_each_of_their_weights(data):
    model = network()
    batches = []

    def read_once():
        for i in range(0, 70, 32):
            batches.append(i)
            yield data[0][i : i + 32], data[1][i : i + 32]

    schedules = ["uniform", "falling", rising]
    sweep = sweep_example_weight(
        model, read_once(), example_weights=WEIGHTS, schedule=schedules, verbose=0
    )
    assert batches == [0, 32, 64]
    assert sweep.schedules == schedules
    assert [(row["schedule"], row["example_weight"]) for row in sweep.rows] == [
        (schedule, weight) for schedule in schedules for weight in WEIGHTS
    ]
    for row in sweep.rows:
        set_example_weight(model, row["example_weight"], schedule=row["schedule"])
        expected = model.evaluate(*data, verbose=0, return_dict=True)
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-6)
            assert row[f"{name}_difference"] == row[name] - sweep.rows[0][name]
    values = {row["loss"] for row in sweep.rows}
    assert len(values) == len(schedules) * (len(WEIGHTS) - 1) + 1


def test_tables_of_several_schedules_name_them(data, tmp_path):
    sweep = sweep_example_weight(
        network(),
        *data,
        example_weights=[0.3],
        schedule=["falling", rising],
        verbose=0,
    )
    lines = str(sweep).splitlines()
    assert lines[0].split() == ["schedule", "example_weight", "loss", "accuracy"]
    assert [line.split()[0] for line in lines[1:5]] == ["falling"] * 2 + ["rising"] * 2
    sweep.to_csv(tmp_path / "rows.csv")
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["schedule", *["falling"] * 2] + [
        "rising"
    ] * 2
    pytest.importorskip("matplotlib")
    assert {"falling", "rising"} <= set(labels_of(sweep.plot()))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([], "must not be empty"),
        ("rising", "must be one of"),
        (["uniform", "uniform"], r"different names.* 2 of name 'uniform'"),
        ([lambda w, d: w, lambda w, d: 0], r"2 of name '<lambda>'"),
    ],
    ids=["empty", "unknown", "twice", "lambdas"],
)
def test_unfit_schedules(data, schedule, message):
    for attempt in (
        lambda: sweep_example_weight(network(), *data, schedule=schedule),
        lambda: ExampleWeightTuning(data, schedule=schedule),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_the_callback_sets_the_best_of_all_schedules(data):
    model = network()
    model.compile("adam", model.loss, metrics=["accuracy"])
    tuning = ExampleWeightTuning(
        data, example_weights=WEIGHTS, schedule=["falling", rising]
    )
    model.fit(*data, epochs=2, verbose=0, callbacks=[tuning])
    best = tuning.sweep.best("loss")
    expected = layer_weights(best["schedule"], best["example_weight"], 3)
    assert weights_of(model) == expected


def as_sweep(values, mode="max", schedule="uniform"):
    rows = [
        {
            "schedule": schedule,
            "example_weight": i / 10,
            "metric": value,
            "metric_difference": value - values[0],
        }
        for i, value in enumerate(values)
    ]
    return ExampleWeightSweep(rows, {"metric": mode})


def by_brute_force(values, within, mode):
    """The largest index such that no value up to it is worse by more than `within`."""
    worse = [
        (v - values[0] if mode == "min" else values[0] - v) if v == v else math.inf
        for v in values
    ]
    return max(
        i
        for i in range(len(values))
        if i == 0 or all(w <= within for w in worse[1 : i + 1])
    )


@pytest.mark.parametrize("mode", ["min", "max"])
def test_largest_is_that_of_brute_force(mode, rng):
    found = set()
    for _ in range(300):
        # Multiples of 1 / 64, whose differences are exact.
        values = (rng.integers(0, 5, rng.integers(1, 9)) / 64).tolist()
        if rng.random() < 0.2:
            values[rng.integers(len(values))] = math.nan
        within = rng.integers(0, 4) / 64
        expected = 0 if math.isnan(values[0]) else by_brute_force(values, within, mode)
        row = as_sweep(values, mode).largest("metric", within=within)
        assert row["example_weight"] == expected / 10
        found.add(expected)
    assert len(found) > 5


def test_largest_allows_what_single_precision_adds():
    values = np.asarray([0.91, 0.905, 0.904], "float32").astype(float).tolist()
    assert values[0] - values[1] > 0.005
    row = as_sweep(values).largest("metric", within=0.005)
    assert row["example_weight"] == 0.1


def test_largest_of_one_of_several_schedules():
    rows = as_sweep([0.9, 0.8]).rows + as_sweep([0.9, 0.9], schedule="falling").rows
    sweep = ExampleWeightSweep(rows, {"metric": "max"})
    assert sweep.largest("metric", within=0, schedule="uniform") is rows[0]
    assert sweep.largest("metric", within=0, schedule="falling") is rows[3]
    with pytest.raises(ValueError, match=r"Say which of \['uniform', 'falling'\]"):
        sweep.largest("metric", within=0)
    with pytest.raises(ValueError, match=r"Unknown schedule 'rising'"):
        sweep.largest("metric", within=0, schedule="rising")


def test_what_largest_is_given_is_checked():
    for within in (-0.1, None, "0.1", math.nan):
        with pytest.raises(ValueError, match="within"):
            as_sweep([1.0]).largest("metric", within=within)
    with pytest.raises(ValueError, match="Unknown metric 'loss'"):
        as_sweep([1.0]).largest("loss", within=0)
    with pytest.raises(ValueError, match="more is better"):
        as_sweep([1.0], mode=None).largest("metric", within=0)


def test_weights_by_layer_survive_saving_and_conversion(tmp_path):
    model = network()
    set_example_weight(model, 0.3, schedule="falling")
    expected = [0.3, 0.15, 0.0]
    assert weights_of(convert(model)) == weights_of(model) == expected
    model.save(tmp_path / "model.keras")
    assert weights_of(keras.models.load_model(tmp_path / "model.keras")) == expected

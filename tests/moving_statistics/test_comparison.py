"""Ranges against the specification, and the bound of Eq. 2 as a property (App. A)."""

import keras
import numpy as np
import pytest
import reference
from keras import layers

import keras_bn4
from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization, discrepancy
from keras_bn4.moving_statistics.comparison import WEIGHTS


def one_layer(layer, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def draw(rng, kind, shape):
    """Numbers of all kinds of distributions, those with one outlier among them."""
    if kind == "normal":
        return rng.normal(rng.normal(0, 30), 10 ** rng.uniform(-2, 2), shape)
    if kind == "two values":
        return rng.integers(0, 2, shape) * 5.0
    x = np.zeros(shape)
    x[rng.integers(shape[0])] = 1e3 * rng.choice([-1, 1])
    return x


@pytest.mark.parametrize("kind", ["normal", "two values", "outlier"])
def test_no_output_of_training_exceeds_the_bound(kind, rng):
    for _ in range(3):
        ghost = int(rng.integers(1, 7))
        positions = int(rng.integers(1, 4))
        groups = int(rng.choice([1, 2, 4]))
        n = int(rng.integers(1, 20))
        layer = BatchGroupNormalization(groups, ghost_batch_size=ghost, epsilon=1e-12)
        if rng.random() < 0.5:
            layer = GhostBatchNormalization(ghost_batch_size=ghost, epsilon=1e-12)
            groups = 4
        x = draw(rng, kind, (n, positions, 4)).astype("float32")
        model = one_layer(layer, (positions, 4))
        (row,) = discrepancy(model, x, batch_size=32, verbose=0).rows
        largest = max(map(len, reference.ghosts(n, ghost)))
        elements = largest * positions * (4 // groups)
        assert row["elements"] == elements
        assert row["bound"] == pytest.approx(reference.output_bound(elements))
        limit = row["bound"] * (1 + 1e-4) + 1e-4
        assert -limit <= row["training_minimum"] <= row["training_maximum"] <= limit
        outputs = keras.ops.convert_to_numpy(model(x, training=True))
        assert np.abs(outputs).max() <= limit


@pytest.mark.parametrize(("elements", "sign"), [(2, 1), (3, -1), (64, 1)])
def test_one_outlier_reaches_the_bound(elements, sign):
    x = np.zeros((elements, 1), "float32")
    x[elements // 2] = sign * 100
    model = one_layer(layers.BatchNormalization(epsilon=1e-12), (1,))
    (row,) = discrepancy(model, x, batch_size=elements, verbose=0).rows
    end = row["training_maximum" if sign > 0 else "training_minimum"]
    assert end == pytest.approx(sign * np.sqrt(elements - 1), rel=1e-4)
    assert row["inference_maximum"] - row["inference_minimum"] > 99


@pytest.mark.parametrize(
    ("groups", "ghost", "weight"), [(4, 3, 0.0), (2, 4, 0.2), (1, None, 0.1)]
)
@pytest.mark.parametrize("axis", [-1, 1])
def test_rows_are_those_of_the_specification(groups, ghost, weight, axis, rng):
    shape = (5, 4) if axis == -1 else (4, 5)
    x = rng.gamma(2, 2, (10, *shape)).astype("float32")
    layer = BatchGroupNormalization(groups, ghost_batch_size=ghost, axis=axis)
    model = one_layer(layer, shape)
    # What is set later takes effect without a new trace.
    discrepancy(model, x, batch_size=10, verbose=0)
    layer.example_weight = weight
    mean, variance = rng.normal(3, 0.2, 4), rng.uniform(2, 4, 4)
    layer.set_weights([np.ones(4), np.zeros(4), mean, variance])
    (row,) = discrepancy(model, x, batch_size=10, verbose=0).rows
    given = reference.rows(x, axis)
    one, zero = np.ones(4), np.zeros(4)
    trained = reference.train(given, one, zero, 1e-3, ghost, groups)

    def infer(weight):
        return reference.infer(
            given, mean, variance, one, zero, 1e-3, weight, groups=groups
        )

    for mode, y in (("training", trained), ("inference", infer(weight))):
        expected = {
            "minimum": y.min(),
            "maximum": y.max(),
            "mean": np.sqrt((y.mean((0, 1)) ** 2).mean()),
            "deviation": np.sqrt(y.var((0, 1)).mean()),
        }
        for name, value in expected.items():
            assert row[f"{mode}_{name}"] == pytest.approx(value, rel=1e-4, abs=1e-5)
    target = row["training_maximum"] - row["training_minimum"]
    found = row["example_weight"]
    if found == 0:
        assert np.ptp(infer(0.0)) <= target * (1 + 1e-5)
    elif np.isnan(found):
        assert min(np.ptp(infer(w)) for w in WEIGHTS) > target
    else:
        step = max(w for w in WEIGHTS if w < found)
        after = min(w for w in WEIGHTS if w >= found)
        assert np.ptp(infer(step)) > target >= np.ptp(infer(after)) * (1 - 1e-5)
        assert np.ptp(infer(found)) == pytest.approx(target, rel=2e-2)


def test_ranges_are_over_all_batches_and_moments_pooled(rng):
    x = rng.normal(2, 3, (50, 4)).astype("float32")
    layer = layers.BatchNormalization()
    model = one_layer(layer, (4,))
    layer.moving_mean.assign(np.ones(4))
    outputs = keras.ops.convert_to_numpy(model(x, training=False)).astype("float64")
    (row,) = discrepancy(model, x, batch_size=8, verbose=0).rows
    expected = {
        "inference_minimum": outputs.min(),
        "inference_maximum": outputs.max(),
        "inference_mean": np.sqrt((outputs.mean(0) ** 2).mean()),
        "inference_deviation": np.sqrt(outputs.var(0).mean()),
        "elements": 8,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_masked_steps_do_not_count(rng):
    inputs = keras.Input((3, 2))
    masked = layers.Masking(mask_value=1e4)(inputs)
    model = keras.Model(inputs, layers.BatchNormalization()(masked))
    x = rng.normal(size=(6, 3, 2)).astype("float32")
    x[1, 1:] = x[3] = 1e4
    (row,) = discrepancy(model, x, verbose=0).rows
    assert row["elements"] == 13
    counting = x[x[..., 0] < 1e4]
    scale = np.sqrt(1 + 1e-3)
    assert row["inference_maximum"] == pytest.approx(counting.max() / scale, rel=1e-5)
    assert row["training_maximum"] < row["bound"]


def test_the_model_is_left_as_it_was_and_frozen_layers_are_left_out(rng):
    inputs = keras.Input((4,))
    x = layers.BatchNormalization(name="first")(inputs)
    x = layers.Dropout(0.5)(x)
    frozen = layers.BatchNormalization(trainable=False, name="frozen")
    x = layers.BatchNormalization(name="last")(frozen(x))
    model = keras.Model(inputs, x)
    before = [np.array(w) for w in model.get_weights()]
    found = discrepancy(model, rng.normal(3, 1, (20, 4)), batch_size=8, verbose=0)
    assert [row["layer"] for row in found.rows] == ["first", "last"]
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    # At inference nothing has moved in between, nor has dropout run.
    assert found.rows[1]["inference_mean"] > 2


def test_ghosts_of_a_trained_network_narrow_the_range_of_training(digits_network):
    x, _ = keras_bn4.datasets.load("digits", "test")
    rows = discrepancy(digits_network, x[:768], batch_size=64, verbose=0).rows
    last = rows[-1]
    assert last["training_maximum"] > 0.9 * last["bound"]
    assert last["inference_maximum"] > last["bound"]
    assert 0 < last["example_weight"] < 1

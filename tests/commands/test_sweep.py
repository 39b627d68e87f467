"""`keras_bn4 sweep`: what it prints, saves and draws, and its errors."""

import re

import keras
import numpy as np
import pytest
from helpers import SHARED, needs_shared

from keras_bn4 import convert, datasets, sweep_example_weight


def test_it_prints_saves_and_draws(model, tmp_path, run):
    out = tmp_path / "out.keras"
    status, printed, _ = run(
        *("sweep", model, "--dataset", "digits", "--split", "validation"),
        *("--metric", "accuracy", "--example-weights", 0.1, 0.2, "--save", out),
        *("--csv", tmp_path / "rows.csv", "--plot", tmp_path / "plot.png"),
    )
    assert status == 0
    assert "Converted 1 layers" in printed
    assert "Best accuracy" in printed
    best = printed.split(f"Saved {out} with example weight ")[1].split(".  ")[0]
    saved = keras.models.load_model(out)
    assert best.startswith(f"{saved.layers[2].example_weight:g}")
    assert (tmp_path / "rows.csv").read_text().count("\n") == 4
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.slow
def test_arrays_and_a_converted_model(model, tmp_path, run, rng):
    x, y = rng.normal(size=(30, 8, 8, 1)), rng.integers(0, 10, 30)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    converted = convert(keras.models.load_model(model), groups=2)
    converted.save(tmp_path / "converted.keras")
    status, printed, _ = run(
        *("sweep", tmp_path / "converted.keras", "--dataset", tmp_path / "data.npz"),
        *("--example-weights", 0.1, "--save", tmp_path / "out.keras"),
    )
    assert status == 0
    assert "Converted" not in printed
    assert keras.models.load_model(tmp_path / "out.keras").layers[2].groups == 2


def test_a_validation_split_is_the_default(model, run):
    arguments = ("sweep", model, "--dataset", "digits", "--example-weights", 0.1)
    _, printed, _ = run(*arguments)
    _, of_validation, _ = run(*arguments, "--split", "validation")
    assert table(printed) == table(of_validation)
    assert "drawn at random" not in printed
    _, of_test, _ = run(*arguments, "--split", "test")
    assert table(printed) != table(of_test)
    assert "drawn at random" not in of_test


def table(printed):
    return printed[printed.index("example_weight  ") :]


def test_arrays_are_cut_into_halves(model, tmp_path, run, rng):
    x, y = rng.normal(size=(31, 8, 8, 1)), rng.integers(0, 10, 31)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    status, printed, _ = run(
        *("sweep", model, "--dataset", tmp_path / "data.npz"),
        *("--example-weights", 0.1, 0.5, "--csv", tmp_path / "rows.csv"),
        *("--save", tmp_path / "out.keras"),
    )
    assert status == 0
    order = np.random.default_rng(0).permutation(31)
    chosen_on, measured_on = order[:15], order[15:]
    converted = convert(keras.models.load_model(model))
    keywords = {"batch_size": 128, "verbose": 0}
    choice = sweep_example_weight(
        converted, x[chosen_on], y[chosen_on], example_weights=[0.1, 0.5], **keywords
    )
    best = choice.best("loss")["example_weight"]
    assert f"Saved {tmp_path / 'out.keras'} with example weight {best:g}." in printed
    there = sweep_example_weight(
        converted, x[measured_on], y[measured_on], example_weights=[best], **keywords
    ).rows[-1]
    (line,) = [x for x in printed.splitlines() if "drawn at random" in x]
    assert "chosen on 15 examples" in line
    assert "On the other 16, loss is " in line
    value, gain = re.search(
        r"loss is (\S+) at .* a change of (\S+) with 95", line
    ).groups()
    assert float(value) == pytest.approx(there["loss"], rel=1e-4)
    assert float(gain) == pytest.approx(there["loss_difference"], rel=1e-2)
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert float(rows[1].split(",")[2]) == pytest.approx(choice.rows[0]["loss"])


@pytest.mark.slow
def test_schedules_and_the_largest_weight_within(tmp_path, run):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization()(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3)(x))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    model.save(tmp_path / "model.keras")
    converted = convert(model)
    sweep = sweep_example_weight(
        converted,
        *datasets.load("digits", "validation"),
        batch_size=128,
        example_weights=[0.1, 0.3, 0.9],
        schedule=["uniform", "falling"],
        verbose=0,
    )
    out = tmp_path / "out.keras"
    arguments = ("sweep", tmp_path / "model.keras", "--dataset", "digits")
    arguments += ("--example-weights", 0.1, 0.3, 0.9, "--save", out)
    _, printed, _ = run(*arguments, "--schedule", "uniform", "falling")
    assert str(sweep) in printed
    best = sweep.best("loss")
    suffix = "" if best["schedule"] == "uniform" else " falling"
    assert f"example weight {best['example_weight']:g}{suffix}." in printed

    within = 0.5
    largest = sweep.largest("loss", within=within, schedule="falling")
    assert largest["example_weight"] > 0
    _, printed, _ = run(*arguments, "--schedule", "falling", "--within", within)
    weight = largest["example_weight"]
    assert f"Largest weight with loss within 0.5: {largest['loss']:.6g}" in printed
    assert f"example weight {weight:g} falling." in printed
    saved = keras.models.load_model(out)
    normalizers = [x for x in saved.layers if hasattr(x, "example_weight")]
    assert [x.example_weight for x in normalizers] == [weight, 0]


@pytest.mark.parametrize("names", [["train", "test"], ["train", "validation"]])
def test_data_sets_without_a_validation_split(names, model, run, rng, monkeypatch):
    asked = []

    def load(name, split, **keywords):
        asked.append(split)
        return rng.normal(size=(12, 8, 8, 1)), rng.integers(0, 10, 12)

    monkeypatch.setattr(datasets, "split_names", lambda name, **keywords: names)
    monkeypatch.setattr(datasets, "load", load)
    status, printed, _ = run("sweep", model, "--dataset", "other")
    assert status == 0
    assert asked == [names[-1]]
    assert ("chosen on 6 examples" in printed) == (names[-1] == "test")


@pytest.mark.slow
def test_the_mode_of_a_metric(tmp_path, run, rng):
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Flatten()(keras.layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(loss=loss, metrics=[Largest(name="largest")])
    model.save(tmp_path / "model.keras")
    arguments = ("sweep", tmp_path / "model.keras", "--dataset", "digits")
    status, printed, error = run(*arguments, "--metric", "largest")
    assert status == 1
    assert error.startswith("error: Metric 'largest' doesn't say")
    assert "--mode min" in error
    status, printed, _ = run(*arguments, "--metric", "largest", "--mode", "max")
    assert status == 0
    assert "Best largest: " in printed
    status, printed, _ = run(*arguments)
    assert status == 0
    assert "Best largest: unknown" in printed


@keras.saving.register_keras_serializable("keras_bn4_tests")
class Largest(keras.metrics.Mean):
    """The mean of the largest probability, which is neither better high nor low."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(keras.ops.max(y_pred, -1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "--within", "-1"], "non-negative number. Received: within=-1"),
        (
            ["{model}", "--within", "0.1", "--schedule", "uniform", "falling"],
            "chooses among the weights of one schedule. Received: --schedule uniform",
        ),
        (["{plain_model}"], "no batch normalization"),
        (["{model}", "--metric", "recall"], "recall"),
        (["{model}", "--example-weights", "2"], "2.0"),
        (["{model}", "--save", "{tmp_path}/no/a.keras"], "folder"),
        (["{model}", "--save", "{tmp_path}/a.h5"], "a.h5"),
    ],
    ids=[
        "within",
        "schedules",
        "no layer",
        "metric",
        "example weight",
        "folder",
        "suffix",
    ],
)
def test_errors_say_what_to_do(arguments, message, model, plain_model, tmp_path, run):
    paths = {"model": model, "plain_model": plain_model, "tmp_path": tmp_path}
    arguments = [argument.format(**paths) for argument in arguments]
    status, _, error = run("sweep", *arguments, "--dataset", "digits")
    assert status == 1
    assert error.startswith("error: ")
    assert message in error
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.slow
@pytest.mark.parametrize("one_hot", [False, True])
def test_labels_of_the_other_kind_get_a_clear_error(one_hot, tmp_path, run, rng):
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Flatten()(keras.layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
    kind = "sparse_categorical" if one_hot else "categorical"
    model.compile(loss=f"{kind}_crossentropy")
    model.save(tmp_path / "model.keras")
    x, y = rng.normal(size=(30, 8, 8, 1)), rng.integers(0, 10, 30)
    np.savez(tmp_path / "data.npz", x=x, y=np.eye(10)[y] if one_hot else y)
    command = "sweep", tmp_path / "model.keras", "--dataset", tmp_path / "data.npz"
    status, _, error = run(*command)
    assert status == 1
    assert "can't be evaluated on these labels" in error
    assert "one-hot labels where it is categorical_crossentropy" in error
    np.savez(tmp_path / "data.npz", x=x, y=y if one_hot else np.eye(10)[y])
    status, printed, _ = run(*command)
    assert status == 0
    assert "Best loss" in printed


@pytest.mark.slow
@needs_shared
def test_a_trained_network(tmp_path, run):
    status, printed, _ = run(
        *("sweep", SHARED / "pretrained/resnet8_cifar100.keras"),
        *("--dataset", "cifar100", "--data-dir", SHARED / "tfds"),
        *("--split", "test[:500]", "--example-weights", 0.03),
        *("--save", tmp_path / "out.keras"),
    )
    assert status == 0
    assert "Best loss" in printed
    keras.models.load_model(tmp_path / "out.keras")

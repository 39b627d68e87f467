"""`keras_bn4 sweep`: what it prints, saves and draws, and its errors."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import convert, datasets, sweep_example_weight


@pytest.fixture
def data(tmp_path, rng):
    """Images and labels, and the path of the file that holds them."""
    x, y = rng.normal(size=(31, 8, 8, 1)), rng.integers(0, 10, 31)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return x, y, tmp_path / "data.npz"


def flat_model(path, loss, metrics=(), normalizers=1, activation=None):
    """Saves a classifier of digits with so many normalizers, and returns it."""
    x = inputs = keras.Input((8, 8, 1))
    for _ in range(normalizers):
        x = layers.Conv2D(3, 3)(layers.BatchNormalization()(x))
    outputs = layers.Dense(10, activation=activation)(layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    model.compile(loss=loss, metrics=list(metrics))
    model.save(path)
    return model


def test_it_prints_saves_and_draws(model, tmp_path, run):
    out = tmp_path / "out.keras"
    status, printed, _ = run(
        *("sweep", model, "--dataset", "digits", "--split", "validation"),
        *("--metric", "accuracy", "--example-weights", 0.1, 0.2, "--save", out),
        *("--force", "--csv", tmp_path / "rows.csv", "--plot", tmp_path / "plot.png"),
    )
    assert status == 0
    assert "Converted 1 layers" in printed
    assert "Best accuracy" in printed
    best = printed.split(f"Saved {out} with example weight ")[1].split(".  ")[0]
    saved = keras.models.load_model(out)
    assert best.startswith(f"{saved.layers[2].example_weight:g}")
    assert (tmp_path / "rows.csv").read_text().count("\n") == 4
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_no_weight_is_saved_of_an_untrained_model(model, tmp_path, run):
    arguments = ("sweep", model, "--dataset", "digits", "--example-weights", 0.1)
    arguments += ("--save", tmp_path / "out.keras", "--csv", tmp_path / "rows.csv")
    status, printed, error = run(*arguments)
    assert status == 1
    assert "The model is given values from 0 to 16." in printed
    assert error.startswith(f"error: {tmp_path / 'out.keras'} was not saved. The model")
    assert error.index("range of values") < error.index("keras_bn4.recalibrate")
    assert "--force" in error
    assert not (tmp_path / "out.keras").exists()
    assert (tmp_path / "rows.csv").exists()


@pytest.mark.slow
def test_arrays_and_a_converted_model(model, data, tmp_path, run):
    converted = convert(keras.models.load_model(model), groups=2)
    converted.save(tmp_path / "converted.keras")
    status, printed, _ = run(
        *("sweep", tmp_path / "converted.keras", "--dataset", data[2]),
        *("--example-weights", 0.1, "--save", tmp_path / "out.keras", "--force"),
    )
    assert status == 0
    assert "Converted" not in printed
    assert keras.models.load_model(tmp_path / "out.keras").layers[2].groups == 2


def test_arrays_are_cut_into_halves(model, data, tmp_path, run):
    x, y, path = data
    status, printed, _ = run(
        *("sweep", model, "--dataset", path, "--example-weights", 0.1, 0.5),
        *("--csv", tmp_path / "rows.csv", "--save", tmp_path / "out.keras", "--force"),
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
    found = re.search(r"loss is (\S+) at .* a change of (\S+) with 95", line)
    assert float(found[1]) == pytest.approx(there["loss"], rel=1e-4)
    assert float(found[2]) == pytest.approx(there["loss_difference"], rel=1e-2)
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert float(rows[1].split(",")[2]) == pytest.approx(choice.rows[0]["loss"])


@pytest.mark.slow
def test_schedules_and_the_largest_weight_within(tmp_path, run):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    path, out = tmp_path / "model.keras", tmp_path / "out.keras"
    converted = convert(flat_model(path, loss, ["accuracy"], normalizers=2))
    weights = [0.1, 0.3, 0.9]
    sweep = sweep_example_weight(
        converted,
        *datasets.load("digits", "validation"),
        batch_size=128,
        example_weights=weights,
        schedule=["uniform", "falling"],
        verbose=0,
    )
    arguments = ("sweep", path, "--dataset", "digits", "--example-weights", *weights)
    arguments += ("--save", out, "--force")
    _, printed, _ = run(*arguments, "--schedule", "uniform", "falling")
    assert str(sweep) in printed
    best = sweep.best("loss")
    suffix = "" if best["schedule"] == "uniform" else " falling"
    assert f"example weight {best['example_weight']:g}{suffix}." in printed

    largest = sweep.largest("loss", within=0.5, schedule="falling")
    weight = largest["example_weight"]
    assert weight > 0
    _, printed, _ = run(*arguments, "--schedule", "falling", "--within", 0.5)
    assert f"Largest weight with loss within 0.5: {largest['loss']:.6g}" in printed
    assert f"example weight {weight:g} falling." in printed
    saved = keras.models.load_model(out)
    normalizers = [x for x in saved.layers if hasattr(x, "example_weight")]
    assert [x.example_weight for x in normalizers] == [weight, 0]


@pytest.mark.slow
def test_the_mode_of_a_metric(data, tmp_path, run):
    loss, metrics = "sparse_categorical_crossentropy", [Largest(name="largest")]
    flat_model(tmp_path / "model.keras", loss, metrics, activation="softmax")
    arguments = ("sweep", tmp_path / "model.keras", "--dataset", data[2])
    status, printed, error = run(*arguments, "--metric", "largest")
    assert status == 1
    assert error.startswith("error: Metric 'largest' does not say")
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
        (["{model}", "--plot", "{tmp_path}/a.txt"], "--plot must end in one of ['."),
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
def test_labels_of_the_other_kind_get_a_clear_error(one_hot, data, tmp_path, run):
    x, y, path = data
    kind = "sparse_categorical" if one_hot else "categorical"
    loss = f"{kind}_crossentropy"
    flat_model(tmp_path / "model.keras", loss, activation="softmax")
    np.savez(path, x=x, y=np.eye(10)[y] if one_hot else y)
    status, _, error = run("sweep", tmp_path / "model.keras", "--dataset", path)
    assert status == 1
    assert "cannot be evaluated on these labels" in error
    assert "one-hot labels where it is categorical_crossentropy" in error
    np.savez(path, x=x, y=y if one_hot else np.eye(10)[y])
    status, printed, _ = run("sweep", tmp_path / "model.keras", "--dataset", path)
    assert status == 0
    assert "Best loss" in printed

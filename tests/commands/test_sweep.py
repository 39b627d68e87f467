"""`keras_bn4 sweep`: what it prints, saves and draws, and its errors."""

import pathlib

import keras
import numpy as np
import pytest

from keras_bn4 import convert

SHARED = pathlib.Path(__file__).parents[2] / "shared"


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{plain_model}"], "no batch normalization"),
        (["{model}", "--metric", "recall"], "recall"),
        (["{model}", "--example-weights", "2"], "2.0"),
        (["{model}", "--save", "{tmp_path}/no/a.keras"], "folder"),
        (["{model}", "--save", "{tmp_path}/a.h5"], "a.h5"),
    ],
    ids=["no layer", "metric", "example weight", "folder", "suffix"],
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
@pytest.mark.skipif(not SHARED.exists(), reason=f"no trained networks in {SHARED}")
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

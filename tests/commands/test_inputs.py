"""Models and data of commands: what is accepted, and what an error says to do."""

import pathlib
import shutil

import keras
import numpy as np
import pytest
from keras import layers


@pytest.mark.parametrize(
    ("activation", "word"), [("softmax", "probabilities"), (None, "logits")]
)
def test_uncompiled_models_are_taken_as_classifiers(activation, word, tmp_path, run):
    inputs = keras.Input((8, 8, 1))
    hidden = layers.Flatten()(layers.BatchNormalization()(inputs))
    outputs = layers.Dense(10, activation=activation)(hidden)
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    status, printed, _ = run(
        *("sweep", tmp_path / "model.keras", "--dataset", "digits"),
        *("--example-weights", 0.1),
    )
    assert status == 0
    assert f"classifier of {word}" in printed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.keras", "no such file"),
        ("truncated.keras", "truncated"),
        ("foreign.keras", "no Keras model"),
        ("zip.keras", "Can't load"),
    ],
)
def test_models_that_can_not_be_loaded(name, message, model, tmp_path, run):
    content = pathlib.Path(model).read_bytes()
    (tmp_path / "truncated.keras").write_bytes(content[: len(content) // 2])
    (tmp_path / "foreign.keras").write_text("no model")
    shutil.make_archive(str(tmp_path / "zip"), "zip", tmp_path, "foreign.keras")
    (tmp_path / "zip.zip").rename(tmp_path / "zip.keras")
    status, _, error = run("sweep", tmp_path / name, "--dataset", "digits")
    assert status == 1
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digitz"], "digitz"),
        (["cifar10", "--data-dir", "{tmp_path}"], "python -c"),
        (["digits", "--split", "tset"], "tset"),
        (["{tmp_path}/none.npz"], "none.npz"),
        (["{tmp_path}/truncated.npz"], "truncated.npz"),
        (["{tmp_path}/other.npz"], "'images'"),
    ],
    ids=["name", "not prepared", "split", "no file", "truncated file", "other arrays"],
)
def test_data_that_can_not_be_loaded(arguments, message, model, tmp_path, run):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    content = (tmp_path / "other.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(content[: len(content) // 2])
    arguments = [argument.format(tmp_path=tmp_path) for argument in arguments]
    status, _, error = run("sweep", model, "--dataset", *arguments)
    assert status == 1
    assert error.startswith("error: ")
    assert message in error

"""Models and data of commands: what is accepted, and what an error says to do."""

import pathlib
import shutil

import h5py
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


class Mine(layers.Layer):
    """A class that isn't registered, so that files of it can't be loaded."""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.keras", "there is no such file"),
        ("truncated.keras", "truncated"),
        ("foreign.keras", "no Keras model"),
        ("zip.keras", "Expected a file that `model.save` wrote"),
        ("mine.keras", "Could not locate class 'Mine'"),
        ("hdf5.keras", "it is an HDF5 file: let its name end in .h5"),
        ("archive.h5", "it is a zip archive: let its name end in .keras"),
        ("weights.h5", "No model config found"),
        ("saved_model", "it is a SavedModel, a folder"),
        ("folder", "it is a folder without a model"),
    ],
)
def test_models_that_can_not_be_loaded(name, message, model, tmp_path, run):
    content = pathlib.Path(model).read_bytes()
    (tmp_path / "truncated.keras").write_bytes(content[: len(content) // 2])
    (tmp_path / "foreign.keras").write_text("no model")
    shutil.make_archive(str(tmp_path / "zip"), "zip", tmp_path, "foreign.keras")
    (tmp_path / "zip.zip").rename(tmp_path / "zip.keras")
    keras.Sequential([keras.Input((4,)), Mine()]).save(tmp_path / "mine.keras")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = np.zeros(3)
    shutil.copy(tmp_path / "weights.h5", tmp_path / "hdf5.keras")
    (tmp_path / "archive.h5").write_bytes(content)
    for folder, file in (("saved_model", "saved_model.pb"), ("folder", "notes.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("")
    status, _, error = run("inspect", tmp_path / name)
    assert status == 1
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_model_in_a_folder(model, tmp_path, run):
    loaded = keras.models.load_model(model)
    keras.saving.save_model(loaded, tmp_path / "folder", zipped=False)
    status, printed, _ = run("inspect", tmp_path / "folder")
    assert status == 0
    assert "BatchNormalization" in printed

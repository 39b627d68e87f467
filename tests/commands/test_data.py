"""Data that commands are given: folders, files and names, and what an error says."""

import keras
import numpy as np
import pytest
from dataset_helpers import prepare
from keras import layers
from PIL import Image

from keras_bn4 import convert, sweep_example_weight
from keras_bn4.datasets import ImageFolder


@pytest.fixture
def folder(tmp_path, rng):
    """A folder of ten classes with three images each, and a file that names these."""
    for name in "abcdefghij":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            image = Image.fromarray(rng.integers(0, 256, (8, 9, 3), "uint8"))
            image.save(tmp_path / "images" / name / f"{i}.jpeg")
    (tmp_path / "names.txt").write_text("\n".join("jihgfedcba"))
    return tmp_path / "images"


@pytest.mark.parametrize("is_one_hot", [False, True])
def test_a_folder_is_swept_as_in_python(is_one_hot, folder, model, tmp_path, run):
    loaded = keras.models.load_model(model)
    classes = None
    if is_one_hot:
        classes = tmp_path / "names.txt"
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        loaded.compile(loss=loss, metrics=["accuracy"])
        loaded.save(model)
    status, printed, _ = run(
        *("sweep", model, "--dataset", folder, "--scale", "0-1"),
        *("--example-weights", 0.1, "--csv", tmp_path / "rows.csv"),
        *(("--classes", classes) if is_one_hot else ()),
    )
    assert status == 0
    assert "cropped to their central part, and resized to 8 x 8 pixels" in printed
    assert "The model is given values from 0" in printed
    assert "chosen on 15 examples" in printed
    assert "On the other 15, loss is" in printed
    images = ImageFolder(
        folder,
        image_size=(8, 8),
        channels=1,
        classes=classes,
        scale="0-1",
        half="choose",
        label_mode="categorical" if is_one_hot else "int",
    )
    sweep = sweep_example_weight(convert(loaded), images, example_weights=[0.1])
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert float(rows[2].split(",")[2]) == pytest.approx(sweep.rows[1]["loss"])


@pytest.fixture
def of_any_size(tmp_path):
    """The path of a saved model that takes images of any size, as a string."""
    inputs = keras.Input((None, None, 3))
    hidden = layers.Conv2D(2, 3)(layers.BatchNormalization()(inputs))
    outputs = layers.Dense(5, "softmax")(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(loss="sparse_categorical_crossentropy")
    model.save(tmp_path / "any.keras")
    return str(tmp_path / "any.keras")


def test_a_named_data_set_is_streamed_at_a_size(of_any_size, tmp_path, run):
    tfds = pytest.importorskip("tensorflow_datasets")
    prepare(tfds, tmp_path, size=None)
    arguments = ("sweep", of_any_size, "--dataset", "tiny", "--data-dir", tmp_path)
    arguments += ("--example-weights", 0.1)
    status, _, error = run(*arguments)
    assert status == 1
    assert error.endswith("--image-size N.\n")
    status, printed, _ = run(*arguments, "--image-size", 5, "--scale=-1-1")
    assert status == 0
    assert "resized to 5 x 5 pixels" in printed
    assert "values from -" in printed
    assert "chosen on 4 examples drawn at random" in printed
    assert "On the other 3" in printed
    status, printed, _ = run(*arguments, "--image-size", 5, "--split", "train[:9]")
    assert status == 0
    assert "drawn at random" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digitz"], "an .npz file with arrays x and y"),
        (["cifar10", "--data-dir", "{tmp_path}"], "python -c"),
        (["digits", "--split", "tset"], "tset"),
        (["digits", "--classes", "{tmp_path}/names.txt"], "digits is none"),
        (["digits", "--scale", "0-1"], "values from 0 to 16"),
        (["digits", "--scale", "0-2"], "Unknown scale '0-2'"),
        (["{tmp_path}/none.npz"], "none.npz"),
        (["{tmp_path}/truncated.npz"], "truncated.npz"),
        (["{tmp_path}/other.npz"], "'images'"),
        (["{tmp_path}/other.npz", "--split", "test"], "has no splits"),
        (["{tmp_path}/other.npz", "--image-size", "8"], "holds images of one size"),
        (["{folder}/a"], "has no folders with images"),
        (["{folder}", "--image-size", "2"], "of shape (2, 2, 1)"),
        (["{folder}", "--classes", "{tmp_path}/more.txt"], "are 11 classes"),
        (["{folder}", "--classes", "{folder}"], "Cannot read the names"),
    ],
)
def test_data_that_can_not_be_loaded(arguments, message, model, folder, tmp_path, run):
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    content = (tmp_path / "other.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "more.txt").write_text("\n".join("abcdefghijk"))
    arguments = [x.format(tmp_path=tmp_path, folder=folder) for x in arguments]
    status, _, error = run("sweep", model, "--dataset", *arguments)
    assert status == 1
    assert error.startswith("error: ")
    assert message in error


def test_a_damaged_image_is_named(folder, model, run):
    images = ImageFolder(folder, image_size=(8, 8), half="choose")
    with open(images.files[-1], "r+b") as file:
        file.truncate(400)
    arguments = ("sweep", model, "--dataset", folder, "--batch-size", 4)
    status, _, error = run(*arguments, "--example-weights", 0.1)
    assert status == 1
    assert f"Cannot read the image {images.files[-1]}: " in error

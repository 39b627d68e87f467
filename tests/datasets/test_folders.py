"""Folders of images: which are read, as what, and what an error says."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_bn4 import GhostBatchNormalization, sweep_example_weight
from keras_bn4.datasets import ImageFolder
from keras_bn4.datasets.folders import scaling


@pytest.fixture
def folder(tmp_path, rng):
    """A folder of three classes with 4, 3 and 2 images, gray and nested ones too."""
    for name, count in (("cat", 4), ("dog", 3), ("white shark", 2)):
        (tmp_path / "images" / name / "more").mkdir(parents=True)
        for i in range(count):
            shape = (6, 10) if i == 0 else (6, 10, 3)
            image = Image.fromarray(rng.integers(0, 256, shape, "uint8"))
            place = "more" if i == 1 else "."
            image.save(tmp_path / "images" / name / place / f"{i}.png")
        (tmp_path / "images" / name / "notes.txt").write_text("no image")
    return tmp_path / "images"


def test_the_central_part_of_every_image_with_its_label(folder):
    images = ImageFolder(folder, image_size=(6, 6), batch_size=4)
    assert images.classes == ["cat", "dog", "white shark"]
    batches = list(images)
    assert [len(y) for _, y in batches] == [4, 4, 1]
    x, y = map(np.concatenate, zip(*batches))
    assert x.dtype == "float32"
    assert x.shape == (9, 6, 6, 3)
    for file, image, label in zip(images.files, x, y):
        with Image.open(file) as whole:
            expected = np.asarray(whole.convert("RGB"))[:, 2:8]
        np.testing.assert_array_equal(image, expected)
        assert f"/{images.classes[label]}/" in file
    (gray, _), *_ = ImageFolder(folder, image_size=(3, 5), channels=1)
    assert gray.shape == (9, 3, 5, 1)
    assert "9 images of 3 classes" in repr(images)


@pytest.mark.parametrize("scale", ["0-255", "0-1", "-1-1", "resnet50", np.negative])
def test_scales(folder, scale):
    ((x, _),) = ImageFolder(folder, image_size=(4, 4))
    ((scaled, _),) = ImageFolder(folder, image_size=(4, 4), scale=scale)
    expected = {
        "0-255": x,
        "0-1": x / 255,
        "-1-1": x / 127.5 - 1,
        "resnet50": keras.applications.resnet50.preprocess_input(x.copy()),
    }.get(scale, -x)
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    np.testing.assert_array_equal(scaled, scaling(scale)(x))


def test_halves_are_the_whole_and_always_the_same(folder):
    def files(**keywords):
        return ImageFolder(folder, image_size=(4, 4), **keywords).files

    halves = files(half="choose"), files(half="report")
    assert [len(half) for half in halves] == [4, 5]
    assert files() == [*halves[0], *halves[1]]
    assert files(half="choose") == halves[0]


@pytest.mark.parametrize("in_file", [True, False])
def test_places_among_the_classes_of_the_model(folder, tmp_path, in_file):
    classes = ["bird", "dog domestic dog", "white shark", "cat", "white bear"]
    if in_file:
        (tmp_path / "classes.txt").write_text("\n".join(classes) + "\n\n")
    images = ImageFolder(
        folder,
        image_size=(4, 4),
        classes=tmp_path / "classes.txt" if in_file else classes,
    )
    assert len(images.classes) == 5
    assert np.bincount(images.labels, minlength=5).tolist() == [0, 3, 2, 4, 0]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"folder": "images/cat/more"}, "has no folders with images"),
        ({"folder": "nowhere"}, "There is no folder"),
        ({"image_size": 4}, "pair of integers"),
        ({"channels": 4}, r"one of \[1, 3\]. Received: channels=4"),
        ({"half": "first"}, r"'report', None\]. Received: half='first'"),
        ({"scale": "0-2"}, "Allowed: 0-255, 0-1, -1-1, or a module .* resnet50"),
        ({"batch_size": 0}, "batch_size"),
        (
            {"classes": ["cat"]},
            "among the 1 classes: dog, white shark. .* Received: cat.",
        ),
        ({"classes": ["cat", "dog", "cat"]}, "2 classes have the name 'cat'"),
        ({"classes": "none.txt"}, "Cannot read the names of the classes from none.txt"),
    ],
)
def test_errors_say_what_is_allowed(folder, keywords, message):
    keywords = {"image_size": (4, 4), "folder": "images", **keywords}
    with pytest.raises(ValueError, match=message):
        ImageFolder(folder.parent / keywords.pop("folder"), **keywords)


def test_images_of_more_than_8_bits_are_refused(folder):
    gray = np.arange(16, dtype="uint16").reshape(4, 4) * 4096
    Image.fromarray(gray).save(folder / "dog" / "deep.png")
    for channels in (1, 3):
        images = ImageFolder(folder, image_size=(4, 4), channels=channels)
        with pytest.raises(ValueError, match=r"dog.deep\.png: .*more than 8 bits"):
            list(images)


@pytest.mark.parametrize("kind", ["cut short", "of the right size", "no image"])
def test_a_damaged_image_is_named_by_a_sweep(folder, kind):
    damaged = folder / "dog" / "2.png"
    if kind == "of the right size":
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8")
        Image.fromarray(noise).save(damaged)
    whole = damaged.read_bytes()
    damaged.write_bytes(b"text" if kind == "no image" else whole[:90])
    x = inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(GhostBatchNormalization()(x))
    model = keras.Model(inputs, layers.Dense(3, "softmax")(x))
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    size = (40, 40) if kind == "of the right size" else (4, 4)
    images = ImageFolder(folder, image_size=size, batch_size=2)
    with pytest.raises(ValueError, match=r"dog.2\.png: .*Remove the file"):
        sweep_example_weight(model, images, example_weights=[0.1], verbose=0)
    damaged.unlink()
    images = ImageFolder(folder, image_size=(4, 4))
    sweep = sweep_example_weight(model, images, verbose=0)
    assert len(sweep.rows) > 2

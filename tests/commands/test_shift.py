"""`keras_bn4 shift`: what it prints and writes, that it goes on, and its errors."""

import json
import re
import sys

import keras
import pytest
from keras import layers

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
SMALL = (
    *("--kinds", "contrast", "fog", "--severities", 2, 5, "--recalibrate-on", 4),
    *("--example-weights", 0.1, 0.3, "--images", 30, "--batch-size", 8),
)


@pytest.fixture
def folder(tmp_path, rng):
    """A folder of images of three classes."""
    Image = pytest.importorskip("PIL.Image")
    for name, shade in (("cat", 60), ("dog", 120), ("owl", 180)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(8):
            shades = rng.normal(shade, 40, (20, 24, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(shades).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


@pytest.fixture
def colors(tmp_path):
    """The path of a saved classifier of three classes that isn't compiled."""
    inputs = keras.Input((16, 16, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    keras.Model(inputs, outputs).save(tmp_path / "colors.keras")
    return tmp_path / "colors.keras"


def test_a_folder_is_chosen_on_and_reported_on(folder, colors, tmp_path, run):
    out = tmp_path / "out"
    command = ("shift", colors, "--dataset", folder, "--scale", "0-1", *SMALL)
    status, printed, _ = run(*command, "--output-dir", out)
    assert status == 0
    assert re.search(r"Scaled, that is 0[.\d]* to (1|0[.\d]*)\.$", printed, re.M)
    assert "Converted 1 layers" in printed
    assert "Largest weight with accuracy within 0.005:" in printed
    table = printed.split("intervals:")[1]
    assert max(map(len, table.splitlines()[:-1])) <= 80
    assert "recalibrated on 4" in table
    for name in ("images.png", "shifts.png", "shifts.csv"):
        assert (out / name).stat().st_size > 500
    # A run that was killed after two records says the same in the end.
    records = json.loads((out / "shifts.json").read_text())
    assert len(records) == 5
    assert records[0]["count"] == 12
    (out / "shifts.json").write_text(json.dumps(records[:2]))
    assert run(*command, "--output-dir", out)[1].endswith(table)


def test_arrays_and_digits(model, tmp_path, run):
    command = ("shift", model, *SMALL, "--recalibrate-on", 0)
    command = (*command, "--output-dir", tmp_path / "out", "--schedule", "falling")
    status, printed, _ = run(*command, "--dataset", "digits", "--highest", 16)
    assert status == 0
    assert "On 30 images" in printed
    assert "falling" in printed
    assert "recalibrated" not in printed.split("intervals:")[1]


def test_images_are_not_chosen_on_and_reported_on(model, tmp_path, run):
    command = ("shift", model, "--dataset", "digits", "--split", "test", *SMALL)
    status, _, errors = run(*command, "--output-dir", tmp_path / "out")
    assert status == 1
    assert "must differ. Received: --split test." in errors


def test_published_files_are_used_where_they_are_on_disk(tmp_path, monkeypatch):
    from keras_bn4 import datasets
    from keras_bn4.commands import main, shift

    asked = []

    def load(*arguments, **keywords):
        asked.append((*arguments, keywords["image_size"]))
        return "x", "y"

    monkeypatch.setattr(datasets, "load", load)
    for name, found in (
        ("cifar10", ("x", "y", "x")),
        ("imagenet2012", ("x", "y", "x")),
        ("svhn_cropped", None),
    ):
        command = ["shift", "m.keras", "--dataset", name, "--image-size", "224"]
        options = main._parse(command)
        assert shift._published("fog", 3, options, (224, 224, 3), 7) == found
    size = (224, 224)
    assert asked == [
        ("cifar10_corrupted/fog_3", "test[:64]", None),
        ("cifar10_corrupted/fog_3", "test[-7:]", None),
        ("imagenet2012_corrupted/fog_3", "validation[:64]", size),
        ("imagenet2012_corrupted/fog_3", "validation[-7:]", size),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kinds", "frost"], "one of ['gaussian_noise'"),
        (["--severities", 6], "invalid choice: 6"),
        (["--scale", "0-2"], "Unknown scale '0-2'"),
        (["--highest", 100], "highest=100"),
        (["--images", 0], "images=0"),
        (["--output-dir", ""], "--output-dir must be a folder"),
    ],
)
def test_wrong_use_is_an_error_before_anything_is_written(
    arguments, message, folder, colors, tmp_path, run
):
    out = ("--output-dir", tmp_path / "out")
    command = ("shift", colors, "--dataset", folder, *SMALL, *out, *arguments)
    try:
        status, _, errors = run(*command)
        assert message in errors
    except SystemExit as error:
        status = error.code
    assert status == 1
    assert not (tmp_path / "out").exists()


def test_what_is_not_installed_and_damaged_files(folder, colors, tmp_path, run):
    out = ("--output-dir", tmp_path / "out", *SMALL)
    large = ("--image-size", 80)
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(inputs))
    keras.Model(inputs, layers.Dense(3)(x)).save(colors)
    assert "--image-size" in run("shift", colors, "--dataset", folder, *out)[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)
        found = run("shift", colors, "--dataset", folder, *large, *out)
        assert found[0] == 1
        assert "keras_bn4[shift]" in found[2]
    for path in folder.glob("*/*.png"):
        path.write_bytes(path.read_bytes()[:99])
    status, _, errors = run("shift", colors, "--dataset", folder, *large, *out)
    assert status == 1
    assert "Cannot read the image" in errors
    assert not (tmp_path / "out").exists()

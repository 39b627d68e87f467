"""The experiment on the prior: a small run, and the page that shows its records."""

import pathlib

import keras
import numpy as np

import keras_bn4
from keras_bn4.common.records import read
from keras_bn4.experiments import recalibration_prior as experiment

PAGE = pathlib.Path(keras_bn4.__file__).parent / "moving_statistics/README.md"


def test_a_small_run_is_kept_and_not_repeated(tmp_path, rng, monkeypatch):
    small = {"PREDICTED": 4, "SIZES": (2,), "PRIORS": (1e-6,), "PIXELS": 8}
    for name, value in {**small, "KINDS": ("clean",)}.items():
        monkeypatch.setattr(experiment, name, value)
    for label, shade in (("b", 200), ("a", 40)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(3):
            image = rng.normal(shade, 20, (10, 12, 3)).clip(0, 255)
            keras.utils.save_img(tmp_path / f"images/{label}/{i}.png", image)
    (tmp_path / "classes.txt").write_text("a dark\nb bright\n")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2, use_bias=False),
        ]
    )
    # The moving means stand between the two classes.
    statistics = [np.ones(3), np.zeros(3), np.full(3, 120.0), np.ones(3)]
    model.set_weights([*statistics, np.array([[-1, 1]] * 3)])
    model.save(tmp_path / "model.keras")
    arguments = (
        [tmp_path / "model.keras"],
        tmp_path / "images",
        tmp_path / "classes.txt",
    )
    (found,) = experiment.run(*arguments, output_dir=tmp_path)
    assert found["correct"]["as trained"] == "1111"
    assert found["correct"].keys() == {"as trained", "1e-06, 2"}
    monkeypatch.delattr(experiment, "_measure")
    assert experiment.run(*arguments, output_dir=tmp_path) == [found]


def test_the_page_shows_the_records():
    lines = experiment.table(read(experiment.PUBLISHED)).splitlines()
    cells = [line.split("  ") for line in lines if "±" in line]
    assert len(cells) == 8 * len(experiment.PRIORS)
    page = PAGE.read_text()
    for line in cells:
        _, *shown = filter(None, map(str.strip, line))
        assert " | ".join(shown) in page, line

"""The experiment on photographs, with small random networks and few images."""

import re

import keras
import numpy as np
import pytest

from keras_bn4.experiments.imagenet import measurement as imagenet
from keras_bn4.experiments.imagenet import report

pytest.importorskip("cv2")
pytest.importorskip("skimage")
Image = pytest.importorskip("PIL.Image")


def small_network(activation):
    inputs = keras.Input((80, 80, 3))
    x = keras.layers.Conv2D(4, 5, strides=4)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation=activation)(x))


@pytest.mark.slow
def test_it_goes_on_with_the_images_that_are_there(tmp_path, rng, monkeypatch):
    classes = ["n02", "n01", "n03"]
    for name in classes:
        folder = tmp_path / "val" / name
        folder.mkdir(parents=True)
        for i in range(10):
            shades = rng.integers(0, 256, (86, 84, 3)).astype("uint8")
            Image.fromarray(shades).save(folder / f"{i}.JPEG", quality=100)
    lines = [f"{name} a thing, another one" for name in classes]
    (tmp_path / "synset_words.txt").write_text("\n".join(lines))
    for name, has_logits in imagenet.NETWORKS.items():
        small_network(None if has_logits else "softmax").save(
            tmp_path / f"{name}.keras"
        )
    monkeypatch.setattr(imagenet, "SIZE", 80)
    monkeypatch.setattr(imagenet, "IMAGES", 5)
    monkeypatch.setattr(imagenet, "RECALIBRATED_ON", 3)
    monkeypatch.setattr(imagenet.shift, "kinds", lambda size: ("fog", "pixelate"))

    (x, y), (others, of_others) = imagenet.load(tmp_path)
    assert (x.shape, others.shape) == ((15, 80, 80, 3),) * 2
    assert sorted([*y, *of_others]) == [0] * 10 + [1] * 10 + [2] * 10
    path = tmp_path / "val" / classes[y[0]]
    crops = [np.asarray(Image.open(f))[3:83, 2:82] for f in path.iterdir()]
    assert any(np.array_equal(x[0], crop) for crop in crops)

    first, second = imagenet.NETWORKS
    imagenet.measure(first, tmp_path, tmp_path / "out")
    made = sorted((tmp_path / "out" / "shifted").iterdir())
    assert len(made) == 2 * 3 + 7
    times = [path.stat().st_mtime_ns for path in made]
    monkeypatch.setattr(imagenet.shift, "corrupt", None)
    imagenet.measure(second, tmp_path, tmp_path / "out")
    assert [path.stat().st_mtime_ns for path in made] == times

    monkeypatch.setattr(report, "FOLDER", tmp_path)
    monkeypatch.setattr(report, "RECORDS", tmp_path / "records")
    report.publish(tmp_path / "out")
    assert not (tmp_path / "out" / "shifted").exists()
    assert (tmp_path / "records" / "imagenet.png").stat().st_size > 10_000
    page = (tmp_path / "README.md").read_text()
    results = report.published()
    assert list(results) == [first, second]
    shifts = results[first].shifts
    assert shifts.kinds[:2] == ["fog", "pixelate"]
    assert len(shifts.kinds) == 2 + 7
    accuracy = 100 * shifts.mean(["fog", "pixelate"])[1]["accuracy"]
    assert re.search(rf"MobileNet .75, α .* 5 \| .* \| {accuracy:.1f} \(", page)
    assert max(map(len, report.text(results).splitlines())) <= 80


def test_mishaps_of_cameras(rng):
    x = rng.integers(0, 256, (2, 224, 224, 3)).astype("uint8")
    for mishap in imagenet.MISHAPS:
        changed = mishap(x)
        assert (changed.shape, changed.dtype) == (x.shape, x.dtype)
        assert mishap.__doc__
    assert imagenet.overexposed(x).max() == 255
    assert np.array_equal(imagenet.warm_cast(x)[..., 1], x[..., 1])
    assert np.abs(np.diff(imagenet.low_resolution(x).astype(int), axis=1)).mean() < 10

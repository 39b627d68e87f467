"""The experiment on shifted images, on all its adaptations, in its smallest form."""

import functools
import json
import re

import keras
import numpy as np
import pytest

from keras_bn4 import (
    convert,
    demo,
    recalibrate,
    set_example_weight,
)
from keras_bn4.experiments.shift import adaptations, measurement, networks, report
from keras_bn4.experiments.shift.__main__ import main
from keras_bn4.layers.mixing import mix
from keras_bn4.layers.moments import Moments
from keras_bn4.shift.evaluation_result import packed, unpacked

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
SMALL = {"kinds": ["contrast", "fog"], "severities": [1, 4], "verbose": 0}


@pytest.fixture
def network(rng):
    model = demo.build()
    x = rng.uniform(0, 16, (64, 8, 8, 1)).astype("float32")
    demo.train(model, x, np.arange(64) % 10, steps=3)
    return model


@pytest.fixture
def images(rng):
    return [rng.uniform(0, 16, (n, 8, 8, 1)).astype("float32") for n in (300, 150)]


@pytest.mark.slow
def test_every_adaptation_predicts_what_its_definition_says(network, images):
    x, unlabelled = images
    adapter = adaptations.Adapter(convert(network), {"uniform": 0.3, "falling": 0.7})
    found = adapter.predictions(x, unlabelled)
    assert list(found) == adaptations.adaptations()

    def classes(model, example_weight=0, schedule="uniform"):
        set_example_weight(model, example_weight, schedule=schedule)
        return model.predict(x, verbose=0).argmax(-1)

    def agree(name, expected):
        # Compiled in other ways, two equal logits may come in another order.
        assert (found[name] == expected).mean() > 0.99, name

    agree("as trained", classes(convert(network)))
    agree("uniform", classes(convert(network), 0.3))
    agree("falling", classes(convert(network), 0.7, "falling"))
    for size in (16, 128, 1000):
        model = convert(network)
        recalibrate(model, unlabelled[:size], prior=16, verbose=0)
        agree(f"recalibrated on {size}", classes(model))
        agree(f"recalibrated on {size}, uniform", classes(model, 0.3))
    by_batch = [
        keras.ops.convert_to_numpy(convert(network)(part, training=True)).argmax(-1)
        for part in np.split(x, [200])
    ]
    agree("batch statistics", np.concatenate(by_batch))
    # They differ, and leave the network as it was.
    assert len({tuple(classes) for classes in found.values()}) > 5
    for now, before in zip(adapter.model.get_weights(), network.get_weights()):
        assert np.array_equal(now, before)


def test_without_spread_variances_are_mixed_alone(network, images):
    _, unlabelled = images
    model = convert(network)
    adapter = adaptations.Adapter(model, {"uniform": 0.1, "falling": 0.1})
    layer = model.layers[3]
    old, batch = Moments(layer.moving_mean, layer.moving_variance), None
    inputs = keras.Model(model.input, layer.input)(unlabelled[:16])
    inputs = keras.ops.convert_to_numpy(inputs)
    batch = Moments(inputs.mean((0, 1, 2)), inputs.var((0, 1, 2)))
    old = Moments(*map(keras.ops.convert_to_numpy, old[:2]))
    with adapter._recalibrated(unlabelled[:16], with_spread=False):
        found = keras.ops.convert_to_numpy(layer.moving_variance)
    np.testing.assert_allclose(found, (batch.variance + old.variance) / 2, rtol=1e-4)
    assert not np.allclose(found, mix(batch, old, 0.5).variance, rtol=1e-3)


@pytest.mark.slow
def test_it_goes_on_and_reports(tmp_path, monkeypatch):
    # Three hundred steps say no more than three.
    train = functools.partial(demo.train)
    monkeypatch.setattr(demo, "train", lambda *a, steps, **k: train(*a, steps=3, **k))
    results = networks.run(**SMALL, output_dir=tmp_path)
    path = tmp_path / "digits.json"
    whole = json.loads(path.read_text())
    # A run that was killed after three records.
    path.write_text(json.dumps(whole[:3]))
    again = networks.run(**SMALL, output_dir=tmp_path)
    assert [cell["settings"] for cell in again["digits"]] == [
        cell["settings"] for cell in results["digits"]
    ]
    assert again["digits"][:3] == whole[:3]
    # One that is finished trains nothing.
    monkeypatch.setattr(demo, "build", None)
    assert networks.run(**SMALL, output_dir=tmp_path) == again

    found = report.Accuracies(results["digits"])
    assert (found.kinds, found.severities) == (["contrast", "fog"], [1, 4])
    contrast = results["digits"][3]
    assert contrast["settings"]["kind"] == "contrast"
    correct = unpacked(contrast["correct"]["uniform"], contrast["count"])
    assert len(correct) == contrast["count"] == 799
    assert np.array_equal(found.shifted["uniform"][0, 1], correct)


def test_what_is_recorded_is_reported_in_80_columns(tmp_path, capsys):
    assert main(["--recorded", "--output-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    assert (tmp_path / "summary.png").stat().st_size > 5_000
    cells = networks.recorded()["resnet20_cifar10"]
    accuracy = 100 * report.Accuracies(cells).clean["as trained"].mean()
    assert re.search(rf"^resnet20_cifar10 +as trained +{accuracy:.1f}\b", printed, re.M)
    assert printed.count("recalibrated on 16, without spread") >= 4


@pytest.mark.parametrize(
    ("models", "dataset", "message"),
    [
        (["model.keras"], "digits", "no model is loaded.*'model.keras'"),
        ([], "cifar100", "Name a model"),
        (["a/model.keras", "b/model.keras"], "cifar100", "must differ"),
    ],
)
def test_models_and_data_that_do_not_fit(models, dataset, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        networks.run(models, dataset, output_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "small"])
def test_results_are_those_of_the_images_and_the_network(name, tmp_path, rng):
    x = rng.integers(0, 256, (40, 8, 8, 1)).astype("uint8")
    model = demo.build()
    model.save(tmp_path / f"{name}.keras")
    classes = model.predict(x, verbose=0).argmax(-1)
    arguments = {**SMALL, "kinds": ["contrast"], "output_dir": tmp_path}
    found = []
    for label in (0, 1):
        data = tmp_path / f"data{label}.npz"
        np.savez(data, x=x, y=(classes + label) % 10)
        cells = measurement.run([tmp_path / f"{name}.keras"], data, **arguments)[name]
        clean = cells[1]
        found.append(unpacked(clean["correct"]["as trained"], 20))
    assert found[0].all()
    assert not found[1].any()


def test_changes_are_paired_over_images(rng):
    truth = rng.random((2, 2, 40)) < 0.5
    better = truth | (rng.random((2, 2, 40)) < 0.3)

    def cell(kind, severity, base, adapted):
        correct = dict.fromkeys(adaptations.adaptations(), packed(base))
        correct["uniform"] = packed(adapted)
        settings = {"kind": kind, "severity": severity}
        return {"settings": settings, "count": 40, "correct": correct}

    cells = [cell(None, 0, truth[0, 0], truth[0, 0])]
    cells += [
        cell(kind, severity, truth[i, j], better[i, j])
        for i, kind in enumerate(("fog", "contrast"))
        for j, severity in enumerate((1, 2))
    ]
    found = report.Accuracies([{"weights": {"uniform": 0.1}}, *cells])
    assert found.change("uniform", []) == (0, 0)
    expected = 100 * (better.mean((0, 1)) - truth.mean((0, 1)))
    mean, half = found.change("uniform", [1, 2])
    assert mean == pytest.approx(expected.mean())
    assert half == pytest.approx(1.96 * expected.std(ddof=1) / 40**0.5, rel=1e-4)
    mean, _ = found.change("uniform", [2])
    assert mean == pytest.approx(100 * (better[:, 1].mean() - truth[:, 1].mean()))


@pytest.mark.slow
def test_published_shifts_are_used_where_they_are_on_disk(tmp_path, rng, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    images = rng.integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    labels = rng.integers(0, 10, 40).astype("uint8")
    binary = tmp_path / "cifar-10-batches-bin"
    corrupted = tmp_path / "CIFAR-10-C"
    binary.mkdir()
    corrupted.mkdir()
    # The true layouts, of archives that have been downloaded and extracted.
    planes = images.transpose(0, 3, 1, 2).reshape(40, -1)
    batch = np.concatenate([labels[:, None], planes], 1).tobytes()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (binary / f"{name}.bin").write_bytes(batch)
    for name in ("batches.meta.txt",):
        (binary / name).write_text("\n".join(map(str, range(10))))
    darker = images // 3
    by_severity = [darker, *(np.zeros_like(darker) for _ in range(4))]
    np.save(corrupted / "contrast.npy", np.concatenate(by_severity))
    np.save(corrupted / "labels.npy", np.tile(labels, 5))
    monkeypatch.setattr(
        tfds.download.DownloadManager,
        "download_and_extract",
        lambda self, url: tmp_path,
    )
    for name in ("cifar10", "cifar10_corrupted/contrast_1"):
        tfds.builder(name, data_dir=tmp_path).download_and_prepare()
    find = functools.partial(measurement._published, "cifar10", tmp_path)
    (others, _), (found, y) = find("contrast", 1)
    assert (len(others), len(found)) == (20, 20)
    assert not any((image == other).all() for image in others for other in found)
    # Each with the label of the image that it was made of.
    for image, label in zip(found, y):
        (i,) = np.flatnonzero((darker == image).all((1, 2, 3)))
        assert labels[i] == label
    assert find("fog", 1) is None
    assert measurement._published("some.npz", tmp_path, "contrast", 1) is None

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.BatchNormalization()(inputs)
    outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "small.keras")
    (cells,) = measurement.run(
        [tmp_path / "small.keras"],
        "cifar10",
        data_dir=tmp_path,
        kinds=["contrast", "fog"],
        severities=[1],
        output_dir=tmp_path,
        verbose=0,
    ).values()
    assert [cell["is_published"] for cell in cells[1:]] == [False, True, False]
    classes = model.predict(found, verbose=0).argmax(-1)
    correct = unpacked(cells[2]["correct"]["as trained"], 20)
    assert np.array_equal(correct, classes == y)

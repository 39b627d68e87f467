"""The digits: what is trained, kept and told, and that it goes on."""

import json
import re
import sys

import keras
import numpy as np
import pytest
from helpers import untraced
from scipy import stats

from keras_bn4 import convert, demo, set_example_weight
from keras_bn4.datasets import load
from keras_bn4.demo import measurement, report
from keras_bn4.demo.temperature import losses
from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization
from keras_bn4.shift.corruptions import corrupt

SMALL = {
    "seeds": 1,
    "miniature_seeds": 1,
    "steps": 5,
    "configurations": ("batch", "ghosts of 8", "one class"),
    "verbose": 0,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of small networks, and their results."""
    folder = tmp_path_factory.mktemp("digits") / "made" / "for it"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "EXAMPLE_WEIGHTS", (0, 0.1, 0.5, 1))
        patch.setattr(measurement, "SHIFTS", ("contrast", "fog", "pixelate"))
        with untraced():
            results = demo.run(**SMALL, output_dir=folder)
        yield folder, results


def test_results(finished):
    folder, results = finished
    assert [p.name for p in folder.iterdir()] == ["results.json"]
    assert json.loads((folder / "results.json").read_text()) == results
    names = [result["settings"]["configuration"] for result in results]
    assert names == ["batch", "ghosts of 8", "one class"]
    for result in results:
        rows = result["validation"]
        weights = [row["example_weight"] for row in rows]
        assert weights == sorted(measurement.EXAMPLE_WEIGHTS)
        for metric, pick in (("loss", np.argmin), ("accuracy", np.argmax)):
            best = rows[pick([row[metric] for row in rows])]
            assert result["best"][metric] == best["example_weight"]
            if not result["best"][metric]:
                assert result["test"][metric][0] == result["test"][metric][1]
        assert ("shifted" in result) == (result is results[0])


@pytest.mark.slow
def test_shifted_digits_are_those_of_the_network_that_was_trained(finished):
    (x, y), (x_test, y_test) = load("digits", ("train", "test"))
    model = demo.build()
    demo.train(model, x, y, steps=SMALL["steps"])
    weighing = convert(model)
    shifted = finished[1][0]["shifted"]
    rows = finished[1][0]["validation"]
    allowed = rows[0]["accuracy"] - measurement.WITHIN - 1e-6
    for row in rows:
        if row["example_weight"] <= shifted["weight"]:
            assert row["accuracy"] >= allowed
    logits = weighing.predict(x_test, verbose=0)
    test = finished[1][0]["test"]
    assert test["loss"][0] == pytest.approx(losses(logits, y_test).mean(), rel=1e-3)
    for at, weight in enumerate((0, shifted["weight"])):
        set_example_weight(weighing, weight)

        def accuracy(images):
            return (weighing.predict(images, verbose=0).argmax(-1) == y_test).mean()

        assert shifted["clean"][at] == pytest.approx(accuracy(x_test), abs=0.005)
        for kind, severity in (("contrast", 5), ("fog", 3), ("pixelate", 1)):
            images = corrupt(x_test.astype("float32"), kind, severity, highest=16)
            found = shifted["accuracies"][kind][str(severity)][at]
            assert found == pytest.approx(accuracy(images), abs=0.005)


def test_finished_networks_are_not_trained_again_and_others_are(
    finished, monkeypatch, tmp_path
):
    def train(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(measurement, "train", train)
    monkeypatch.setattr(measurement, "_shifted_images", lambda x: x)
    folder, results = finished
    before = (folder / "results.json").stat().st_mtime_ns
    assert demo.run(**SMALL, output_dir=folder) == results
    assert (folder / "results.json").stat().st_mtime_ns == before
    (tmp_path / "results.json").write_text((folder / "results.json").read_text())
    for change in ({"steps": 4}, {"seeds": 2}, {"miniature_seeds": 2}, {"fresh": True}):
        with pytest.raises(KeyboardInterrupt):
            demo.run(**{**SMALL, **change}, output_dir=tmp_path)


@pytest.mark.slow
def test_an_interrupted_run_goes_on(finished, monkeypatch, tmp_path):
    arguments = {**SMALL, "output_dir": tmp_path}
    calls = []

    def train(*values, **keywords):
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        demo.train(*values, **keywords)

    monkeypatch.setattr(measurement, "train", train)
    with untraced():
        with pytest.raises(KeyboardInterrupt):
            demo.run(**arguments)
        # As if a process had been killed while it wrote.
        unfinished = tmp_path / ".results.0.unfinished.json"
        unfinished.write_text('[{"settings"')
        resumed = demo.run(**arguments)
    assert len(calls) == 4
    assert set(tmp_path.iterdir()) == {tmp_path / "results.json", unfinished}
    for again, result in zip(resumed, finished[1], strict=True):
        assert again["settings"] == result["settings"]
        np.testing.assert_allclose(
            again["test"]["loss"][0], result["test"]["loss"][0], rtol=1e-3
        )


@pytest.mark.slow
def test_every_configuration_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(measurement, "EXAMPLE_WEIGHTS", (0, 0.5))
    few = {"seeds": 1, "miniature_seeds": 1, "steps": 1, "verbose": 0}
    with untraced():
        results = demo.run(**few, output_dir=tmp_path)
    names = [result["settings"]["configuration"] for result in results]
    assert names == list(measurement.CONFIGURATIONS)
    assert all(name in demo.table(results) for name, *_ in report.COMPARISONS)


def of_seeds(finished, seeds=4):
    """The finished networks as if there had been more, each better than the last."""
    results = []
    for result in finished[1]:
        for seed in range(seeds):
            one = json.loads(json.dumps(result))
            is_ghost = one["settings"]["configuration"] == "ghosts of 8"
            one["settings"]["seed"] = seed
            loss = 10.0 + seed - is_ghost * (8 + seed)
            one["test"] = {"loss": [loss, loss], "accuracy": [0.5, 0.5 + seed / 100]}
            if "shifted" in one:
                one["shifted"] |= {
                    "weight": seed / 10,
                    "clean": [0.9, 0.9 - seed / 100],
                }
                for by_severity in one["shifted"]["accuracies"].values():
                    for severity in by_severity:
                        by_severity[severity] = [0.5, 0.6 + seed / 100]
            results.append(one)
    return results


def test_the_table_of_shifted_digits(finished):
    text = report.shift_table(of_seeds(finished))
    assert re.search(r"^clean  .*  -1\.5 ± 1\.3$", text, re.M)
    assert re.search(r"^all shifts +50\.0 ± 0\.0 +61\.5 ± 1\.3 +\+11", text, re.M)
    assert "seed by seed: +10.0, +11.0, +12.0, +13.0." in text
    assert "Chosen weights, on clean validation images: 0, 0.1, 0.2, 0.3." in text
    assert "n = 4 seeds" in text
    assert "severities 1, 3, 5" in text
    assert text.count("\n  ") == len(measurement.SHIFTS)


def test_the_miniature_tells_what_its_seeds_show(finished):
    text = report.miniature_table(of_seeds(finished))
    seen, unseen = text.split("No difference shown by these seeds")
    # 11.5 ± 1.291 for Keras' layer, 2 for ghosts: the differences are -8 to -11.
    (ghosts,) = re.findall(r"^Ghosts of 8.* loss .*$", seen, re.M)
    assert ghosts.endswith("  -9.500 ± 1.291")
    assert "Ghosts of 8 in minibatches of 64: accuracy +0.0 ± 0.0" in unseen
    # 0, 1, 2 and 3 points with a standard deviation of 1.29: t is 2.3, and not 3.2.
    assert "Example weight, clean images: accuracy +1.5 ± 1.3" in unseen
    assert "batches of 2" not in text
    # With as many seeds as the demonstration has.
    assert max(map(len, demo.table(of_seeds(finished, 10)).splitlines())) <= 80


@pytest.mark.parametrize("n", [2, 3, 10, 29])
def test_differences_are_shown_where_the_interval_of_scipy_says_so(n, rng):
    differences = rng.normal(0, 1, n)
    interval = stats.ttest_1samp(differences, 0).confidence_interval()
    for end in (interval.low, interval.high):
        inward = differences.mean() - end
        for shift in (-end - 0.01 * inward, -end + 0.01 * inward):
            moved = stats.ttest_1samp(differences + shift, 0).confidence_interval()
            expected = not moved.low <= 0 <= moved.high
            assert report.is_shown(differences + shift) == expected
    assert not report.is_shown(np.array([1.0]))


def test_figure(finished, monkeypatch, tmp_path):
    demo.figure(finished[1], tmp_path / "digits.png")
    assert (tmp_path / "digits.png").stat().st_size > 50_000
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "keras_bn4\[plot\]"'):
        demo.figure(finished[1], tmp_path / "digits.png")


@pytest.mark.parametrize("name", ["seeds", "miniature_seeds", "steps"])
def test_bad_arguments(name, tmp_path):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer from 1"):
        demo.run(**{**SMALL, name: 0, "output_dir": tmp_path / "new"})
    assert not (tmp_path / "new").exists()


def test_networks_differ_in_their_normalization_only():
    def normalizers(layer_class, *size, **keywords):
        model = demo.build(*size, **keywords)
        assert [w.shape for w in model.weights] == shapes
        found = [layer for layer in model.layers if type(layer) is layer_class]
        assert len(found) == 3
        return found

    shapes = [w.shape for w in demo.build().weights]
    for layer in normalizers(GhostBatchNormalization, 4):
        assert layer.ghost_batch_size == 4
    for layer in normalizers(BatchGroupNormalization, 1, groups=4):
        assert (layer.groups, layer.ghost_batch_size) == (4, 1)
    for layer in normalizers(keras.layers.BatchNormalization, l2=1e-3):
        assert layer.gamma_regularizer.center == 1
        assert layer.beta_regularizer.center == 0


@pytest.mark.slow
def test_training_starts_from_its_seed():
    x, y = load("digits", "train")
    model, other = demo.build(), demo.build(64)

    def train(model, steps, seed):
        demo.train(model, x, y, steps=steps, seed=seed)
        return model.get_weights()

    with untraced():
        first = train(model, 2, 0)
        assert any((a != b).any() for a, b in zip(first, train(model, 2, 1)))
        assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 2
        for a, b in zip(first, train(model, 2, 0)):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
        # One ghost of 64 is the whole minibatch: the same kernels and images, too.
        for a, b in zip(train(model, 1, 2), train(other, 1, 2)):
            if a.ndim > 1:
                np.testing.assert_allclose(a, b, atol=1e-3)

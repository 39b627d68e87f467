"""The digits in miniature: what is trained, kept and told, and that it goes on."""

import json
import sys
import warnings

import keras
import numpy as np
import pytest

from keras_bn4.datasets import load
from keras_bn4.experiments import digits
from keras_bn4.experiments.digits import report as digits_report
from keras_bn4.experiments.digits import training
from keras_bn4.layers import GhostBatchNormalization

SMALL = {
    "seeds": 1,
    "steps": 5,
    "ghost_batch_sizes": (8,),
    "one_class_ghost_batch_sizes": (),
    "verbose": 0,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "made" / "for it"
    return folder, digits.run(**SMALL, output_dir=folder)


@pytest.fixture
def no_training(monkeypatch):
    def fit(*arguments, **keywords):
        raise AssertionError("trained again")

    monkeypatch.setattr(keras.Model, "fit", fit)


def copy(finished, tmp_path):
    (tmp_path / "results.json").write_text((finished[0] / "results.json").read_text())
    return {**SMALL, "output_dir": tmp_path}


def test_results(finished):
    folder, results = finished
    assert [p.name for p in folder.iterdir()] == ["results.json"]
    assert json.loads((folder / "results.json").read_text()) == results
    assert [
        (r["settings"]["minibatches"], r["settings"]["ghost_batch_size"])
        for r in results
    ] == [("shuffled", None), ("shuffled", 8), ("one class", None)]
    for result in results:
        rows = result["validation"]
        weights = [row["example_weight"] for row in rows]
        assert weights == sorted(training.EXAMPLE_WEIGHTS)
        for metric, pick in (("loss", np.argmin), ("accuracy", np.argmax)):
            best = rows[pick([row[metric] for row in rows])]
            assert result["best"][metric] == best["example_weight"]
            if not result["best"][metric]:
                assert result["test"][metric][0] == result["test"][metric][1]


def test_finished_networks_are_not_trained_again(finished, no_training):
    folder, results = finished
    before = (folder / "results.json").stat().st_mtime_ns
    assert digits.run(**SMALL, output_dir=folder) == results
    assert (folder / "results.json").stat().st_mtime_ns == before


def test_other_settings_and_fresh_train_again(finished, no_training, tmp_path):
    arguments = copy(finished, tmp_path)
    for change in ({"steps": 4}, {"seeds": 2}, {"fresh": True}):
        with pytest.raises(AssertionError, match="trained again"):
            digits.run(**{**arguments, **change})


@pytest.mark.slow
def test_an_interrupted_run_goes_on(finished, monkeypatch, tmp_path):
    arguments = {**SMALL, "output_dir": tmp_path}
    fit, calls = keras.Model.fit, []

    def interrupted(model, *values, **keywords):
        calls.append(model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(model, *values, **keywords)

    monkeypatch.setattr(keras.Model, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        digits.run(**arguments)
    assert len(json.loads((tmp_path / "results.json").read_text())) == 1
    # As if a process had been killed while it wrote.
    unfinished = tmp_path / ".results.0.unfinished.json"
    unfinished.write_text('[{"settings"')
    resumed = digits.run(**arguments)
    assert len(calls) == 4
    assert set(tmp_path.iterdir()) == {tmp_path / "results.json", unfinished}
    for again, result in zip(resumed, finished[1]):
        assert again["settings"] == result["settings"]
        np.testing.assert_allclose(
            again["test"]["loss"][0], result["test"]["loss"][0], rtol=1e-3
        )


def test_table(finished):
    text = digits_report.table(finished[1])
    lines = text.split("\n")
    keras_row = next(line for line in lines if line.startswith("  Keras"))
    ghosts = next(line for line in lines if line.startswith("  ghosts of 8"))
    loss, of_ghosts = (result["test"]["loss"][0] for result in finished[1][:2])
    assert keras_row.split()[1:3] == ["0", f"{loss:.3f}"]
    expected = [f"{of_ghosts:.3f}", f"{of_ghosts - loss:+.3f}"]
    assert ghosts.split()[4:6] == expected
    assert "n = 1 seed." in text
    assert max(map(len, lines)) <= 100


def test_table_means_and_spreads_are_over_seeds(finished):
    results = []
    for seed, shift in enumerate((0, 1, 5)):
        for result in finished[1]:
            result = json.loads(json.dumps(result))
            is_ghost = result["settings"]["ghost_batch_size"] is not None
            result["settings"]["seed"] = seed
            result["test"]["loss"] = [10.0 + shift - is_ghost * (1 + shift)] * 2
            results.append(result)
    text = digits_report.table(results)
    ghosts = next(x for x in text.split("\n") if x.startswith("  ghosts of 8"))
    # 12 ± 2.646 for Keras' layer, 9 for ghosts: the differences are -1, -2 and -6.
    assert "9.000 ± 0.000  -3.000 ± 2.646" in ghosts
    assert "12.000 ± 2.646" in text
    assert "n = 3 seeds" in text


def test_figure(finished, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "digits.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        digits_report.figure(finished[1], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 50_000


def test_figure_without_matplotlib(finished, monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "keras_bn4\[plot\]"'):
        digits_report.figure(finished[1], tmp_path / "digits.png")


@pytest.mark.parametrize("name", ["seeds", "steps"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "3"])
def test_bad_arguments(name, value, tmp_path):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer from 1"):
        digits.run(**{**SMALL, name: value, "output_dir": tmp_path / "new"})
    assert not (tmp_path / "new").exists()


def test_networks_differ_in_their_normalization_only():
    plain, ghosts = digits.build(), digits.build(4)
    ghost_layers, keras_layers = (
        [layer for layer in model.layers if type(layer) is layer_class]
        for model, layer_class in (
            (ghosts, GhostBatchNormalization),
            (plain, keras.layers.BatchNormalization),
        )
    )
    assert len(ghost_layers) == len(keras_layers) == 3
    assert all(layer.ghost_batch_size == 4 for layer in ghost_layers)
    assert [w.shape for w in plain.weights] == [w.shape for w in ghosts.weights]


def test_training_starts_anew_from_its_seed():
    x, y = load("digits", "train")
    model, other = digits.build(), digits.build(64)

    def train(model, steps, seed):
        digits.train(model, x, y, steps=steps, seed=seed)
        return model.get_weights()

    first = train(model, 4, 0)
    assert any((a != b).any() for a, b in zip(first, train(model, 4, 1)))
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 4
    for a, b in zip(first, train(model, 4, 0)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    # One ghost of 64 is the whole minibatch: the same kernels and images, too.
    kernels = [
        [w for w in m.trainable_weights if w.name == "kernel"] for m in (model, other)
    ]
    train(model, 1, 2)
    train(other, 1, 2)
    for a, b in zip(*kernels):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-3)

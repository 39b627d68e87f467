import pathlib
import shutil

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import convert
from keras_bn4.commands import main as command_line

SHARED = pathlib.Path(__file__).parents[2] / "shared"


@pytest.fixture
def model(tmp_path):
    inputs = keras.Input((8, 8, 1))
    hidden = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    model.save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


def run(capsys, *arguments):
    status = command_line.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_sweep_prints_saves_and_draws(model, tmp_path, capsys):
    out = tmp_path / "out.keras"
    status, printed, _ = run(
        capsys,
        *("sweep", model, "--dataset", "digits", "--split", "validation"),
        *("--metric", "accuracy", "--example-weights", 0.1, 0.2, "--save", out),
        *("--csv", tmp_path / "rows.csv", "--plot", tmp_path / "plot.png"),
    )
    assert status == 0
    assert "Converted 1 layers" in printed
    assert "Best accuracy" in printed
    best = printed.split(f"Saved {out} with example weight ")[1].split(".  ")[0]
    saved = keras.models.load_model(out)
    assert best.startswith(f"{saved.layers[2].example_weight:g}")
    assert (tmp_path / "rows.csv").read_text().count("\n") == 4
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_sweep_of_arrays_and_of_a_converted_model(model, tmp_path, capsys, rng):
    x, y = rng.normal(size=(30, 8, 8, 1)), rng.integers(0, 10, 30)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    converted = convert(keras.models.load_model(model), groups=2)
    converted.save(tmp_path / "converted.keras")
    status, printed, _ = run(
        capsys,
        *("sweep", tmp_path / "converted.keras", "--dataset", tmp_path / "data.npz"),
        *("--example-weights", 0.1, "--save", tmp_path / "out.keras"),
    )
    assert status == 0
    assert "Converted" not in printed
    assert keras.models.load_model(tmp_path / "out.keras").layers[2].groups == 2


def test_uncompiled_models_are_taken_as_classifiers(tmp_path, capsys):
    inputs = keras.Input((8, 8, 1))
    hidden = layers.Flatten()(layers.BatchNormalization()(inputs))
    for activation, word in (("softmax", "probabilities"), (None, "logits")):
        outputs = layers.Dense(10, activation=activation)(hidden)
        keras.Model(inputs, outputs).save(tmp_path / "model.keras")
        status, printed, _ = run(
            capsys,
            *("sweep", tmp_path / "model.keras", "--dataset", "digits"),
            *("--example-weights", 0.1),
        )
        assert status == 0
        assert f"classifier of {word}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none.keras", "--dataset", "digits"], "no such file"),
        (["{tmp}/truncated.keras", "--dataset", "digits"], "truncated"),
        (["{tmp}/foreign.keras", "--dataset", "digits"], "no Keras model"),
        (["{tmp}/zip.keras", "--dataset", "digits"], "Can't load"),
        (["{tmp}/plain.keras", "--dataset", "digits"], "no batch normalization"),
        (["{model}", "--dataset", "digitz"], "digitz"),
        (["{model}", "--dataset", "cifar10", "--data-dir", "{tmp}"], "tfds build"),
        (["{model}", "--dataset", "digits", "--split", "tset"], "tset"),
        (["{model}", "--dataset", "{tmp}/none.npz"], "none.npz"),
        (["{model}", "--dataset", "{tmp}/truncated.npz"], "truncated.npz"),
        (["{model}", "--dataset", "{tmp}/other.npz"], r"'images'"),
        (["{model}", "--dataset", "digits", "--metric", "recall"], "recall"),
        (["{model}", "--dataset", "digits", "--example-weights", "2"], "2.0"),
        (["{model}", "--dataset", "digits", "--save", "{tmp}/no/a.keras"], "folder"),
        (["{model}", "--dataset", "digits", "--save", "{tmp}/a.h5"], "a.h5"),
    ],
)
def test_errors_say_what_to_do(arguments, message, model, tmp_path, capsys):
    content = pathlib.Path(model).read_bytes()
    (tmp_path / "truncated.keras").write_bytes(content[: len(content) // 2])
    (tmp_path / "foreign.keras").write_text("no model")
    shutil.make_archive(str(tmp_path / "zip"), "zip", tmp_path, "foreign.keras")
    (tmp_path / "zip.zip").rename(tmp_path / "zip.keras")
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, layers.Flatten()(inputs)).save(tmp_path / "plain.keras")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    npz = (tmp_path / "other.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(npz[: len(npz) // 2])
    arguments = [a.format(tmp=tmp_path, model=model) for a in arguments]
    status, _, error = run(capsys, "sweep", *arguments)
    assert status == 1
    assert error.startswith("error: ")
    assert message in error
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.skipif(not SHARED.exists(), reason=f"no trained networks in {SHARED}")
def test_sweep_of_a_trained_network(tmp_path, capsys):
    status, printed, _ = run(
        capsys,
        *("sweep", SHARED / "pretrained/resnet8_cifar100.keras"),
        *("--dataset", "cifar100", "--data-dir", SHARED / "tfds"),
        *("--split", "test[:500]", "--example-weights", 0.03),
        *("--save", tmp_path / "out.keras"),
    )
    assert status == 0
    assert "Best loss" in printed
    keras.models.load_model(tmp_path / "out.keras")


def test_inspect_lists_normalizers_paths_and_advice(model, tmp_path, capsys):
    status, printed, _ = run(
        capsys, "inspect", model, "--batch-size", 128, "--overfits", "yes"
    )
    assert status == 0
    assert "BatchNormalization" in printed
    assert "1 open, 0 residual, 0 closed" in printed
    for text in ("sweep_example_weight", "try 8, 16, 32", "Sec. 3.2", "Sec. 3.3"):
        assert text in printed
    converted = convert(keras.models.load_model(model), groups=2, example_weight=0.1)
    converted.save(tmp_path / "converted.keras")
    status, printed, _ = run(capsys, "inspect", tmp_path / "converted.keras")
    assert status == 0
    (line,) = [x for x in printed.splitlines() if "BatchGroupNormalization" in x]
    assert line.split()[2:] == ["4", "2", "0.1"]
    assert "sweep_example_weight" not in printed


def test_inspect_models_it_can_not(tmp_path, capsys):
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, layers.Flatten()(inputs)).save(tmp_path / "plain.keras")
    status, printed, _ = run(capsys, "inspect", tmp_path / "plain.keras")
    assert (status, printed) == (0, "The model has no normalizer.\n")
    status, _, error = run(capsys, "inspect", tmp_path / "none.keras")
    assert status == 1
    assert "no such file" in error
    status, _, error = run(
        capsys, "inspect", tmp_path / "plain.keras", "--batch-size", 0
    )
    assert status == 1
    assert "batch_size=0" in error

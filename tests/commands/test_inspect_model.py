"""`keras_bn4 inspect`: normalizers, paths and advice, and models without any."""

import keras
import pytest
from keras import layers

from keras_bn4 import convert

EXAMPLE_WEIGHT, GHOSTS, NO_GHOSTS = (
    *("sweep_example_weight", "ghost_batch_size=16", "leave ghosts out"),
)


def advice(printed):
    """What is advised, as one line."""
    text = " ".join(printed[printed.index("\n- ") :].split())
    return {word for word in (EXAMPLE_WEIGHT, GHOSTS, NO_GHOSTS) if word in text}


def test_it_lists_normalizers_and_paths(model, tmp_path, run):
    status, printed, _ = run("inspect", model, "--batch-size", 128, "--overfits", "yes")
    assert status == 0
    assert "BatchNormalization" in printed
    assert "1 open, 0 residual, 0 closed" in printed
    assert advice(printed) == {EXAMPLE_WEIGHT, GHOSTS}
    # What this package measured decides, and what is the paper's word is called so.
    assert "Measured on four networks" in printed
    assert "The paper found both to help." in " ".join(printed.split())
    converted = convert(keras.models.load_model(model), groups=2, example_weight=0.1)
    converted.save(tmp_path / "converted.keras")
    status, printed, _ = run("inspect", tmp_path / "converted.keras")
    assert status == 0
    (line,) = [x for x in printed.splitlines() if "BatchGroupNormalization" in x]
    assert line.split()[2:] == ["4", "2", "0.1"]
    assert advice(printed) == {GHOSTS}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {EXAMPLE_WEIGHT, GHOSTS}),
        (("--batch-size", 17), {EXAMPLE_WEIGHT, GHOSTS}),
        # Ghosts that are no smaller than the minibatch do nothing.
        (("--batch-size", 16), {EXAMPLE_WEIGHT}),
        (("--overfits", "no"), {EXAMPLE_WEIGHT, NO_GHOSTS}),
    ],
)
def test_advice_by_batch_size_and_overfitting(options, expected, model, run):
    _, printed, _ = run("inspect", model, *options)
    assert advice(printed) == expected


def test_what_is_done_already_is_not_advised(model, tmp_path, run):
    loaded = keras.models.load_model(model)
    converted = convert(loaded, ghost_batch_size=8, example_weight=0.1)
    converted.save(tmp_path / "converted.keras")
    _, printed, _ = run("inspect", tmp_path / "converted.keras")
    assert advice(printed) == set()


def test_other_normalizers_none_and_errors(plain_model, tmp_path, run):
    inputs = keras.Input((4,))
    other = keras.Model(inputs, layers.LayerNormalization()(inputs))
    other.save(tmp_path / "other.keras")
    status, printed, _ = run("inspect", tmp_path / "other.keras")
    assert status == 0
    assert "LayerNormalization" in printed
    assert "\n- " not in printed
    status, printed, _ = run("inspect", plain_model)
    assert (status, printed) == (0, "The model has no normalizer.\n")
    status, _, error = run("inspect", plain_model, "--batch-size", 0)
    assert status == 1
    assert "batch_size=0" in error

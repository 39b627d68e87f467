"""`keras_bn4 inspect`: normalizers, paths and advice, and models without any."""

import keras

from keras_bn4 import convert


def test_it_lists_normalizers_paths_and_advice(model, tmp_path, run):
    status, printed, _ = run("inspect", model, "--batch-size", 128, "--overfits", "yes")
    assert status == 0
    assert "BatchNormalization" in printed
    assert "1 open, 0 residual, 0 closed" in printed
    for text in ("sweep_example_weight", "try 8, 16, 32", "Sec. 3.2", "Sec. 3.3"):
        assert text in printed
    converted = convert(keras.models.load_model(model), groups=2, example_weight=0.1)
    converted.save(tmp_path / "converted.keras")
    status, printed, _ = run("inspect", tmp_path / "converted.keras")
    assert status == 0
    (line,) = [x for x in printed.splitlines() if "BatchGroupNormalization" in x]
    assert line.split()[2:] == ["4", "2", "0.1"]
    assert "sweep_example_weight" not in printed


def test_a_model_without_normalizers_and_errors(plain_model, tmp_path, run):
    status, printed, _ = run("inspect", plain_model)
    assert (status, printed) == (0, "The model has no normalizer.\n")
    status, _, error = run("inspect", tmp_path / "none.keras")
    assert status == 1
    assert "no such file" in error
    status, _, error = run("inspect", plain_model, "--batch-size", 0)
    assert status == 1
    assert "batch_size=0" in error

"""Example weights on shifts with nothing chosen, and that the measurement goes on."""

import keras
import numpy as np
import pytest

from keras_bn4 import convert, set_example_weight
from keras_bn4.experiments import trained
from keras_bn4.experiments.shift import fixed_weights


@pytest.mark.slow
def test_fixed_weights(tmp_path, rng, monkeypatch):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.save(tmp_path / "small.keras")
    data = tmp_path / "data.npz"
    labels = rng.integers(0, 3, 80)
    images = rng.integers(0, 256, (80, 8, 8, 3)).astype("uint8")
    np.savez(data, x=images, y=labels)
    arguments = {"models": [tmp_path / "small.keras"], "dataset": data}
    results = fixed_weights.run_fixed_weights(**arguments, output_dir=tmp_path)
    _, (x, y) = trained.load_halves(data)
    converted = convert(model)
    clean = results["small"][0]
    for i, (weight, schedule) in enumerate(fixed_weights.WEIGHTS):
        set_example_weight(converted, weight, schedule=schedule)
        accuracy = (converted.predict(x, verbose=0).argmax(-1) == y).mean()
        assert clean["accuracy"][i] == pytest.approx(100 * accuracy)
        change = clean["accuracy"][i] - clean["accuracy"][0]
        assert clean["difference"][i] == pytest.approx(change)
    assert [one["shift"] for one in results["small"]] == list(fixed_weights.SHIFTS)
    monkeypatch.setattr(fixed_weights, "load_network", None)
    again = fixed_weights.run_fixed_weights(**arguments, output_dir=tmp_path)
    assert again == results
    lines = fixed_weights.fixed_weights_table(results).splitlines()
    assert lines[1].split()[:3] == ["small", "0", f"{clean['accuracy'][0]:.1f}"]
    assert lines[4].split()[:2] == ["0.3", "falling"]
    # Other images in a file of the same name are measured.
    np.savez(data, x=images[::-1], y=labels)
    with pytest.raises(TypeError):
        fixed_weights.run_fixed_weights(**arguments, output_dir=tmp_path)

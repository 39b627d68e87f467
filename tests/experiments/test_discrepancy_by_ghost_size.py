"""The experiment of App. B in small: what it has to see, and that it goes on."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4.experiments import discrepancy_by_ghost_size as experiment


@pytest.mark.slow
def test_small_ghosts_fill_the_bound_and_inference_leaves_it(tmp_path, monkeypatch):
    settings = {"seeds": 1, "steps": 60, "examples": 256, "output_dir": tmp_path}
    results = experiment.run(ghost_batch_sizes=(2, 64), verbose=0, **settings)
    few, many = results
    assert (few["elements"], many["elements"]) == (8, 256)
    assert few["bound"] >= few["training_maximum"] > 0.9 * few["bound"]
    assert few["inference_maximum"] > few["bound"]
    assert many["training_maximum"] < 0.5 * many["bound"]
    assert few["example_weight"] > 2 * many["example_weight"]
    lines = experiment.table(results).splitlines()
    assert lines[1].split()[:3] == ["2", "8", "2.65"]
    # Finished networks are not trained again.
    monkeypatch.setattr(experiment, "_train", None)
    assert experiment.run(ghost_batch_sizes=(2, 64), verbose=0, **settings) == results


def test_a_trained_model_goes_on_with_its_ghosts(tmp_path, monkeypatch):
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="last")(layers.Conv2D(4, 8)(inputs))
    model = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))
    model.save(tmp_path / "m.keras")
    (row,) = experiment.run(
        tmp_path / "m.keras",
        "digits",
        ghost_batch_sizes=(4,),
        seeds=1,
        steps=3,
        examples=128,
        output_dir=tmp_path,
        verbose=0,
    )
    assert (row["layer"], row["elements"]) == ("last", 4)
    assert np.isfinite(row["training_maximum"])

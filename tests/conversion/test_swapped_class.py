"""A layer of this package in the place of Keras' own, where other code looks it up."""

import keras
import numpy as np
import pytest

from keras_bn4 import (
    GhostBatchNormalization,
    convert,
    discrepancy,
    normalization_paths,
    recalibrate,
    revert,
)

BatchNormalization = keras.layers.BatchNormalization


@pytest.fixture
def swapped(monkeypatch):
    for module in (keras.layers, keras.src.layers):
        monkeypatch.setattr(module, "BatchNormalization", GhostBatchNormalization)


def network(layer):
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)))


def test_layers_that_are_made_afterwards_are_ours(swapped):
    layer = keras.layers.BatchNormalization(momentum=0.9, ghost_batch_size=4)
    assert layer.momentum == 0.9
    assert issubclass(type(layer), BatchNormalization)
    model = keras.applications.MobileNet((32, 32, 3), weights=None, classes=3)
    kinds = {type(x) for x in model.layers if isinstance(x, BatchNormalization)}
    assert kinds == {GhostBatchNormalization}
    reverted = revert(model)
    kinds = {type(x) for x in reverted.layers if isinstance(x, BatchNormalization)}
    assert kinds == {BatchNormalization}


def test_models_that_were_made_before_are_found_and_go_back(swapped, tmp_path, rng):
    plain = network(BatchNormalization(momentum=0.9, name="bn"))
    x = rng.normal(3, 2, size=(16, 4)).astype("float32")
    assert discrepancy(plain, x).rows
    recalibrate(plain, x)
    expected = plain.predict(x, verbose=0)
    assert [path.layer.name for path in normalization_paths(plain)] == ["bn"]
    converted = convert(plain, ghost_batch_size=4)
    assert type(converted.get_layer("bn")) is GhostBatchNormalization
    reverted = revert(converted)
    assert type(reverted.get_layer("bn")) is BatchNormalization
    assert "ghost_batch_size" not in reverted.get_layer("bn").get_config()
    reverted.save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    assert type(loaded.get_layer("bn")) is BatchNormalization
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-5)

"""Files that earlier versions have saved load with the same predictions.

Version 0.1.0 made the files in `files/`: a ResNet-8 for CIFAR-100 (weights published in
karanchahal/distiller) with ghosts, channel groups and example weights that differ from
layer to layer, and a small trained model with a wrapped layer and a regularizer.
Version 0.2.0 made models with both layers, nested and wrapped, of which one is compiled
and trained and two are of mixed precision, and one that creates such layers itself.
"""

import pathlib

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import BatchGroupNormalization, CenteredL2, GhostBatchNormalization

FILES = pathlib.Path(__file__).parent / "files"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("small_made_by_0.1.0", "small"),
        ("resnet8_cifar100_converted_by_0.1.0", "resnet8"),
    ],
)
def test_a_file_of_version_0_1_0_predicts_the_same(name, data):
    model = keras.models.load_model(FILES / f"{name}.keras")
    with np.load(FILES / "predictions_of_0.1.0.npz") as file:
        x, expected = file[f"x_{data}"], file[f"y_{data}"]
    predictions = model.predict(x, verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(predictions, expected, rtol=0, atol=2e-6 * scale)


def test_settings_of_version_0_1_0_are_read():
    model = keras.models.load_model(FILES / "small_made_by_0.1.0.keras")
    ghosts, groups = model.get_layer("ghosts"), model.layers[3].layer
    assert type(ghosts) is GhostBatchNormalization
    assert ghosts.ghost_batch_size == 16
    assert ghosts.example_weight == 0.05
    assert isinstance(ghosts.gamma_regularizer, CenteredL2)
    assert type(groups) is BatchGroupNormalization
    assert groups.groups == 4
    assert groups.ghost_batch_size == 2
    assert groups.example_weight == 0.2
    assert groups.variance_tracking == "variance"


@keras.saving.register_keras_serializable("test_saved_files")
class OwnLayers(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.ghosts = GhostBatchNormalization(ghost_batch_size=4)
        self.dense = layers.Dense(8)
        self.groups = BatchGroupNormalization(4)

    def call(self, inputs, training=None):
        x = self.dense(self.ghosts(inputs, training=training))
        return self.groups(x, training=training)


@pytest.mark.parametrize(
    "file",
    [
        *(f"{name}_by_0.2.0.keras" for name in ("compiled", "own_layers")),
        *(f"mixed_{kind}_by_0.2.0.keras" for kind in ("float16", "bfloat16")),
        *(f"mixed_{kind}_by_0.2.0.h5" for kind in ("float16", "bfloat16")),
        "compiled_by_0.2.0.h5",
    ],
)
def test_a_file_of_version_0_2_0_predicts_the_same(file):
    model = keras.models.load_model(FILES / file)
    name = file.split("_by_")[0]
    with np.load(FILES / "predictions_of_0.2.0.npz") as data:
        x, expected = data["x"], data[name]
        if name == "compiled":
            losses = model.evaluate(x, data["labels"], verbose=0)
            np.testing.assert_allclose(losses, data["losses"], rtol=1e-5)
            assert model.optimizer.weight_decay == 1e-3
    x = x[:, :, 0] if name == "own_layers" else x
    # The other layers of mixed precision round to 8 bits, and where is the backend's.
    tolerance = {"mixed_bfloat16": 2e-2, "mixed_float16": 2e-3}.get(name, 5e-6)
    scale = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, 0, scale)


def test_settings_of_version_0_2_0_are_read():
    model = keras.models.load_model(FILES / "compiled_by_0.2.0.keras")
    found = [x for x in model._flatten_layers() if type(x).__module__ in OWN_MODULES]
    found = {x.name: x for x in found}
    expected = {"first": 0.1, "inner": 0.3, "wrapped": 0.5, "last": 0.7}
    for name, weight in expected.items():
        assert found[name].example_weight == pytest.approx(weight)
        assert found[name].ghost_batch_size == 4
        assert isinstance(found[name].gamma_regularizer, CenteredL2)
        grouped = name in ("inner", "last")
        assert getattr(found[name], "groups", None) == (2 if grouped else None)
        tracked = "variance" if grouped else "second_moment"
        assert found[name].variance_tracking == tracked
    assert not found["last"].trainable
    assert int(model.optimizer.iterations) == 2


OWN_MODULES = [x.__module__ for x in (GhostBatchNormalization, BatchGroupNormalization)]

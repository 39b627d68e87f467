"""Files that earlier versions have saved load with the same predictions.

Version 0.1.0 made the files in `files/`: a ResNet-8 for CIFAR-100 (weights published in
karanchahal/distiller) with ghosts, channel groups and example weights that differ from
layer to layer, and a small trained model with a wrapped layer and a regularizer.
"""

import pathlib

import keras
import numpy as np
import pytest

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

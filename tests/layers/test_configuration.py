"""Arguments and configurations of both layers."""

import keras
import numpy as np
import pytest
from helpers import BACKEND

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization


@pytest.mark.parametrize("type_", [np.int64, int])
def test_numpy_numbers_are_numbers(type_):
    layer = BatchGroupNormalization(
        type_(2), ghost_batch_size=type_(4), example_weight=np.float64(0.1)
    )
    config = layer.get_config()
    assert [type(config[k]) for k in ("groups", "ghost_batch_size")] == [int, int]
    assert type(config["example_weight"]) is float


PARENT = {
    "axis": 1,
    "momentum": 0.7,
    "epsilon": 0.02,
    "center": False,
    "scale": True,
    "beta_initializer": "ones",
    "gamma_initializer": "zeros",
    "moving_mean_initializer": "ones",
    "moving_variance_initializer": "zeros",
    "beta_regularizer": keras.regularizers.L1(0.1),
    "gamma_regularizer": keras.regularizers.L2(0.2),
    "beta_constraint": keras.constraints.NonNeg(),
    "gamma_constraint": keras.constraints.MaxNorm(3),
    "renorm_momentum": 0.6,
    "synchronized": BACKEND == "tensorflow",
    "name": "a_name",
    "dtype": "mixed_bfloat16",
    "trainable": False,
}


def test_every_argument_of_the_parent_passes_through():
    for layer_class, own in (
        (GhostBatchNormalization, {"renorm": True, "renorm_clipping": {"rmax": 2.0}}),
        (BatchGroupNormalization, {"groups": 2}),
    ):
        arguments = {**PARENT, **own}
        config = layer_class(**arguments).get_config()
        arguments.pop("groups", None)
        expected = keras.layers.BatchNormalization(**arguments).get_config()
        assert {k: config[k] for k in expected} == expected


@pytest.mark.parametrize(
    "layer",
    [
        GhostBatchNormalization(),
        GhostBatchNormalization(
            ghost_batch_size=4, example_weight=0.1, variance_tracking="variance", axis=1
        ),
        BatchGroupNormalization(-1),
        BatchGroupNormalization(
            2,
            ghost_batch_size=3,
            example_weight=0.2,
            variance_tracking="variance",
            momentum=0.5,
        ),
    ],
)
def test_config_round_trip(layer):
    for _ in range(2):
        config = layer.get_config()
        again = type(layer).from_config(config)
        assert again.get_config() == config
        if not layer.built:
            layer.build((None, 4, 6))
    if isinstance(layer, BatchGroupNormalization):
        assert config["groups"] == layer.groups
    layer.example_weight = 0.375
    assert layer.get_config()["example_weight"] == 0.375
    serialized = keras.saving.serialize_keras_object(layer)
    assert serialized["registered_name"] == f"keras_bn4>{type(layer).__name__}"
    assert keras.saving.deserialize_keras_object(serialized).example_weight == 0.375

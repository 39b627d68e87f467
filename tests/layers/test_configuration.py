"""Arguments and configurations of both layers."""

import keras
import numpy as np
import pytest
from helpers import BACKEND, LAYERS

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("ghost_batch_size", v) for v in (0, -1, 2.5, "16", True)],
        *[("example_weight", v) for v in (-0.1, 1.1, float("nan"), "0.1", True, None)],
        ("variance_tracking", "x"),
    ],
)
def test_bad_arguments(layer_class, name, value):
    with pytest.raises(ValueError, match=name) as error:
        layer_class(**{name: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("virtual_batch_size", "`ghost_batch_size`"),
        ("ghost_size", "`ghost_batch_size`"),
        ("num_splits", "`ghost_batch_size`"),
        ("fused", "leave it out"),
        ("num_groups", "`groups`"),
        ("alpha", "`example_weight`"),
        ("eps", "`epsilon`"),
        ("momentun", "`momentum`"),
        ("example_weigth", "`example_weight`"),
        ("not_like_any_argument_at_all", "'ghost_batch_size'"),
    ],
)
def test_unknown_arguments(layer_class, name, hint):
    with pytest.raises(ValueError, match=f"'{name}': 0.5.*{hint}") as error:
        layer_class(**{name: 0.5})
    assert layer_class.__name__ in str(error.value)


def test_groups_are_an_argument_of_the_other_layer():
    with pytest.raises(ValueError, match=r"`groups`.*BatchGroupNormalization"):
        GhostBatchNormalization(groups=4)


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

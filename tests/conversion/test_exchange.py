"""Layers that become those of another class, and come back."""

import keras
import numpy as np
import pytest
from helpers import (
    array,
    check_inference,
    check_training,
    example_batch,
    layer_of,
    randomize,
)

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization
from keras_bn4.conversion.exchange import CHANGEABLE, LAYERS, become, own_attributes

TEMPLATES = [
    {"ghost_batch_size": 3, "example_weight": 0.3},
    {"groups": 2, "ghost_batch_size": 3, "example_weight": 0.3},
]


def keras_layer(rng, **arguments):
    arguments = {"momentum": 0.9, "epsilon": 1e-3, **arguments}
    return randomize(keras.layers.BatchNormalization(**arguments), (3, 6), rng)


@pytest.mark.parametrize("arguments", TEMPLATES)
def test_there_and_back(rng, arguments):
    layer = keras_layer(rng)
    state, attributes = layer.get_weights(), set(vars(layer))
    x, upstream = example_batch(rng, 7, (3, 6))
    before = array(layer(x))
    weights_before = [id(weight) for weight in layer.weights]

    become(layer, layer_of(**arguments))
    assert type(layer) is type(layer_of(**arguments))
    assert not layer.autocast
    assert layer.example_weight == 0.3
    assert [id(weight) for weight in layer.weights] == weights_before
    np.testing.assert_equal(layer.get_weights(), state)
    groups = arguments.get("groups", -1)
    check_inference(layer, x, groups)
    check_training(layer, x, upstream, ghost_batch_size=3, groups=groups)

    layer.set_weights(state)
    become(layer, None)
    assert type(layer) is keras.layers.BatchNormalization
    assert layer.autocast
    assert vars(layer).keys() <= attributes
    assert not own_attributes() & vars(layer).keys()
    assert [id(weight) for weight in layer.weights] == weights_before
    assert len(layer.variables) == len(layer.weights)
    np.testing.assert_array_equal(array(layer(x)), before)
    config = layer.get_config()
    assert keras.layers.BatchNormalization.from_config(config).get_config() == config


@pytest.mark.parametrize("first", TEMPLATES)
@pytest.mark.parametrize("second", TEMPLATES)
def test_from_one_of_this_package_to_the_other(rng, first, second):
    layer = randomize(layer_of(**first, variance_tracking="variance"), (3, 6), rng)
    state = layer.get_weights()
    become(layer, layer_of(**{**second, "example_weight": 0.1}))
    assert type(layer) is type(layer_of(**second))
    assert hasattr(layer, "groups") == ("groups" in second)
    assert layer.example_weight == 0.1
    assert layer.variance_tracking == "second_moment"
    np.testing.assert_equal(layer.get_weights(), state)
    check_inference(layer, example_batch(rng, 5, (3, 6))[0], second.get("groups", -1))


def test_arguments_come_from_the_template(rng):
    layer = keras_layer(rng)
    changed = {
        "momentum": 0.5,
        "epsilon": 0.1,
        "beta_regularizer": keras.regularizers.L1(0.1),
        "gamma_regularizer": keras.regularizers.L2(0.2),
        "beta_constraint": keras.constraints.NonNeg(),
        "gamma_constraint": keras.constraints.MaxNorm(3),
        "synchronized": keras.backend.backend() == "tensorflow",
    }
    assert changed.keys() == set(CHANGEABLE)
    become(layer, GhostBatchNormalization(**changed))
    for name, value in changed.items():
        assert getattr(layer, name) is value
    for name in ("beta", "gamma"):
        variable = getattr(layer, name)
        assert variable.regularizer is changed[f"{name}_regularizer"]
        assert variable.constraint is changed[f"{name}_constraint"]
    assert len(layer.losses) == 2


def test_without_gamma_and_beta(rng):
    layer = keras.layers.BatchNormalization(center=False, scale=False)
    layer.build((None, 6))
    become(layer, BatchGroupNormalization(2))
    assert (layer.gamma, layer.beta) == (None, None)
    become(layer, None)
    assert len(layer.weights) == 2


def test_own_attributes():
    assert own_attributes() >= {
        "groups",
        "ghost_batch_size",
        "variance_tracking",
        "_example_weight",
        "_example_weight_variable",
    }
    for layer_class in LAYERS:
        assert own_attributes() & vars(layer_class()).keys()
    assert not own_attributes() & vars(keras.layers.BatchNormalization()).keys()

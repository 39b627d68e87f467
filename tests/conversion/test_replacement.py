"""Which layers are replaced, by what, and that they come back."""

import pickle

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
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization, convert, revert
from keras_bn4.conversion.replacement import (
    CHANGEABLE,
    UNCHANGED,
    convertible_layers,
    replace,
    replacements_of,
)

SETTINGS = [
    {"ghost_batch_size": 3, "example_weight": 0.3},
    {"groups": 2, "ghost_batch_size": 3, "example_weight": 0.3},
]


def keras_layer(rng, **arguments):
    arguments = {"momentum": 0.9, "epsilon": 1e-3, **arguments}
    return randomize(keras.layers.BatchNormalization(**arguments), (3, 6), rng)


@pytest.mark.parametrize("arguments", SETTINGS)
def test_there_and_back(rng, arguments):
    layer = keras_layer(rng)
    state, attributes = layer.get_weights(), set(vars(layer))
    x, upstream = example_batch(rng, 7, (3, 6))
    before = array(layer(x))
    weights_before = [id(weight) for weight in layer.weights]

    replace(layer, layer_of(**arguments))
    assert type(layer) is type(layer_of(**arguments))
    assert not layer.autocast
    assert layer.example_weight == 0.3
    assert [id(weight) for weight in layer.weights] == weights_before
    np.testing.assert_equal(layer.get_weights(), state)
    groups = arguments.get("groups", -1)
    check_inference(layer, x, groups)
    check_training(layer, x, upstream, ghost_batch_size=3, groups=groups)

    layer.set_weights(state)
    replace(layer, None)
    assert type(layer) is keras.layers.BatchNormalization
    assert layer.autocast
    assert vars(layer).keys() <= attributes
    assert [id(weight) for weight in layer.weights] == weights_before
    assert len(layer.variables) == len(layer.weights)
    np.testing.assert_array_equal(array(layer(x)), before)
    config = layer.get_config()
    assert keras.layers.BatchNormalization.from_config(config).get_config() == config


def test_arguments_come_of_the_new_layer(rng):
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
    replace(layer, GhostBatchNormalization(**changed))
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
    replace(layer, BatchGroupNormalization(2))
    assert (layer.gamma, layer.beta) == (None, None)
    replace(layer, None)
    assert len(layer.weights) == 2


def built(axis=-1, shape=(None, 4, 4), **arguments):
    layer = layers.BatchNormalization(axis=axis, **arguments)
    layer.build(shape)
    return layer


def test_new_layers_have_what_the_layers_had_and_the_arguments():
    ghosts = GhostBatchNormalization(ghost_batch_size=8, momentum=0.5, name="ghosts")
    groups = BatchGroupNormalization(2, example_weight=0.3, name="groups")
    for layer in (ghosts, groups):
        layer.build((None, 4))
    keras_layer = built(name="keras", epsilon=0.1)
    given = [ghosts, groups, keras_layer]

    def kinds(found):
        return [(type(x), getattr(x, "groups", None)) for x in found]

    found = replacements_of(given, UNCHANGED, {"variance_tracking": "variance"})
    assert kinds(found) == [
        (GhostBatchNormalization, None),
        (BatchGroupNormalization, 2),
        (GhostBatchNormalization, None),
    ]
    assert [x.name for x in found] == ["ghosts", "groups", "keras"]
    assert {x.variance_tracking for x in found} == {"variance"}
    assert [x.ghost_batch_size for x in found] == [8, None, None]
    assert (found[0].momentum, found[1].example_weight) == (0.5, 0.3)
    assert found[2].epsilon == 0.1
    assert not any(x.built for x in found)
    by_layer = replacements_of(given, lambda layer: 1 if layer is groups else 4, {})
    assert kinds(by_layer) == [(BatchGroupNormalization, n) for n in (4, 1, 4)]
    ungrouped = replacements_of(given, None, {})
    assert kinds(ungrouped) == [(GhostBatchNormalization, None)] * 3


def test_all_misfits_are_named_at_once():
    wide = built(name="wide", shape=(None, 6))
    narrow = built(name="narrow", shape=(None, 8))
    fits = built(name="fits", shape=(None, 12))
    with pytest.raises(ValueError, match=r"2 of 3.*'wide'.*'narrow'") as error:
        replacements_of([wide, narrow, fits], 12, {})
    # Those that divide 6, 8 and 12.
    assert "[1, 2], and -1" in str(error.value)
    renorm = built(name="renorm", renorm=True)
    assert replacements_of([renorm], UNCHANGED, {})[0].renorm
    with pytest.raises(ValueError, match=r"'renorm'.*ghosts"):
        replacements_of([renorm], UNCHANGED, {"ghost_batch_size": 2})


# Keras warns of a layer that is never called.
@pytest.mark.filterwarnings("ignore:`build.*unbuilt state:UserWarning")
def test_layers_that_are_skipped_and_why():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.taken = layers.BatchNormalization(name="taken")
            self.left_out = layers.BatchNormalization(name="left_out")
            self.unused = layers.BatchNormalization(name="unused")
            self.of_examples = layers.BatchNormalization(axis=0, name="of_examples")

        def call(self, inputs):
            return self.of_examples(self.left_out(self.taken(inputs)))

    model = Model()
    model(keras.ops.ones((3, 4)))
    taken, skipped = convertible_layers(model, lambda layer: layer.name != "left_out")
    assert [layer.name for layer in taken] == ["taken"]
    reasons = {path.split("/")[-1]: reason for path, reason in skipped}
    assert list(reasons) == ["left_out", "unused", "of_examples"]
    assert "`select`" in reasons["left_out"]
    assert "never built" in reasons["unused"]
    assert "axis=0" in reasons["of_examples"]


def test_unknown_subclass_is_skipped_and_reported():
    # The name alone does not make it Keras' own.
    special = type("BatchNormalization", (layers.BatchNormalization,), {})
    inputs = keras.Input((4,))
    hidden = layers.BatchNormalization(name="plain")(special(name="special")(inputs))
    converted = convert(keras.Model(inputs, hidden))
    report = converted.conversion_report
    assert report.converted == ("plain",)
    ((path, reason),) = report.skipped
    assert path == "special"
    assert "unknown subclass" in reason
    assert "special" in str(report)
    assert repr(report) == "<ConversionReport: 1 layers converted, 1 skipped>"
    assert type(converted.get_layer("special")) is special


ARGUMENTS = st.fixed_dictionaries(
    {"example_weight": st.floats(0, 0.9)},
    optional={
        "ghost_batch_size": st.none() | st.integers(1, 9),
        "groups": st.none() | st.sampled_from([1, 2, 3, 6, -1]),
        "variance_tracking": st.sampled_from(["variance", "second_moment"]),
    },
)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(ARGUMENTS, ARGUMENTS)
def test_revert_undoes_convert_and_load_undoes_save(first, second):
    inputs = keras.Input((6,))
    plain = keras.Model(inputs, layers.BatchNormalization(momentum=0.9)(inputs))
    converted = convert(convert(plain, **first), **second)
    layer, given_last = converted.layers[1], {**first, **second}
    for name, value in given_last.items():
        assert getattr(layer, name, None) == value
    copied = pickle.loads(pickle.dumps(converted)).layers[1]
    assert type(copied) is type(layer)
    assert copied.get_config() == layer.get_config()
    reverted = revert(converted, force=True).layers[1]
    assert type(reverted) is layers.BatchNormalization
    assert reverted.get_config() == plain.layers[1].get_config()
    assert vars(reverted).keys() == vars(plain.layers[1]).keys()

"""What a search may choose from, and what a choice makes of a model."""

import keras
import pytest
import tuner_helpers
from keras import layers
from tuner_helpers import hypermodel, keras_tuner

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization

pytestmark = tuner_helpers.quiet


@pytest.mark.parametrize(
    ("batch_size", "kinds", "ghosts", "group_ghosts"),
    [
        (1, ["batch", "batch_group"], None, [1]),
        (2, ["batch", "batch_group"], None, [2]),
        (3, ["batch", "batch_group"], None, [3]),
        (4, ["batch", "ghost", "batch_group"], [2], [2, 4]),
        (100, ["batch", "ghost", "batch_group"], [2, 4, 8, 16, 32], None),
        (128, ["batch", "ghost", "batch_group"], [2, 4, 8, 16, 32, 64], None),
    ],
)
def test_the_space_fits_the_batch_size(batch_size, kinds, ghosts, group_ghosts):
    hp = keras_tuner.HyperParameters()
    hypermodel(batch_size=batch_size).build(hp)
    space = {one.name: one for one in hp.space}
    assert space["normalization/kind"].values == kinds
    ghost = space.get("normalization/ghost/ghost_batch_size")
    assert (ghost and ghost.values) == ghosts
    group_ghosts = group_ghosts or [*ghosts, batch_size]
    grouped = space["normalization/batch_group/ghost_batch_size"]
    assert grouped.values == group_ghosts
    for one in (*([ghost] if ghost else []), grouped):
        assert [c.name for c in one.conditions] == ["normalization/kind"]


def test_groups_are_the_common_divisors_of_the_channels():
    def two_widths(hp):
        inputs = keras.Input((6,))
        x = inputs
        for units in (12, 30):
            x = layers.BatchNormalization()(layers.Dense(units)(x))
        return keras.Model(inputs, x)

    hp = keras_tuner.HyperParameters()
    hypermodel(two_widths).build(hp)
    (groups,) = [p for p in hp.space if p.name.endswith("groups")]
    assert groups.values == [2, 3, 6]

    def coprime(hp):
        inputs = keras.Input((6,))
        x = inputs
        for units in (4, 5):
            x = layers.BatchNormalization()(layers.Dense(units)(x))
        return keras.Model(inputs, x)

    hp = keras_tuner.HyperParameters()
    hypermodel(coprime).build(hp)
    (kind,) = [p for p in hp.space if p.name == "normalization/kind"]
    assert kind.values == ["batch", "ghost"]
    with pytest.raises(ValueError, match="No number of groups but 1"):
        hypermodel(coprime, kinds=["batch_group"]).build(keras_tuner.HyperParameters())
    with pytest.raises(ValueError, match=r"layers: \[1, 2, 3, 6\], and -1"):
        hypermodel(two_widths, groups=[4]).build(keras_tuner.HyperParameters())


@pytest.mark.parametrize("kinds", [None, ["ghost", "batch_group"]])
def test_channels_that_depend_on_a_hyperparameter(kinds):
    def of_any_width(hp):
        return tuner_helpers.build(units=hp.Choice("units", [4, 6, 5]))

    hp = keras_tuner.HyperParameters()
    hyper = hypermodel(of_any_width, kinds=kinds)
    hyper.build(hp)
    space = [one.get_config() for one in hp.space]
    hp.values["normalization/kind"] = "batch_group"
    hp.values["normalization/batch_group/ghost_batch_size"] = 4
    hp.values["normalization/batch_group/groups"] = 4
    for units, groups in ((4, 4), (6, 2), (5, 1)):
        hp.values["units"] = units
        assert hyper.build(hp).layers[2].groups == groups
    assert [one.get_config() for one in hp.space] == space


def test_a_trial_is_a_converted_model():
    hp = keras_tuner.HyperParameters()
    hyper = hypermodel(momentum=[0.5, 0.6], groups=[2, -1], ghost_batch_sizes=[3, 16])
    layer = hyper.build(hp).layers[2]
    assert type(layer) is GhostBatchNormalization
    assert (layer.ghost_batch_size, layer.momentum) == (None, 0.5)
    assert layer.gamma_regularizer is None

    hp.values["normalization/kind"] = "ghost"
    hp.values["normalization/momentum"] = 0.6
    hp.values["normalization/ghost/ghost_batch_size"] = 3
    layer = hyper.build(hp).layers[2]
    assert (layer.ghost_batch_size, layer.momentum) == (3, 0.6)

    hp.values["normalization/kind"] = "batch_group"
    hp.values["normalization/batch_group/ghost_batch_size"] = 16
    hp.values["normalization/batch_group/groups"] = -1
    hp.values.update({"normalization/decay": True, "normalization/l2": 0.25})
    layer = hyper.build(hp).layers[2]
    assert type(layer) is BatchGroupNormalization
    assert (layer.ghost_batch_size, layer.groups) == (16, -1)
    for name, center in (("gamma", 1), ("beta", 0)):
        regularizer = getattr(layer, f"{name}_regularizer")
        assert (regularizer.l2, regularizer.center) == (0.25, center)
        assert getattr(layer, name).regularizer is regularizer


SEQUENCE = "a sequence of values to try"
EMPTY = "is empty. Give at least one"


@pytest.mark.parametrize(
    ("name", "message", "values"),
    [
        ("build", "must be a function of `keras_tuner", [None, "m"]),
        ("batch_size", "an integer from 1", [0, 2.5, None]),
        ("kinds", r"some of \['batch', 'ghost', 'batch_group'\].*'group'", [["group"]]),
        ("kinds", SEQUENCE, ["ghost", 3]),
        ("kinds", EMPTY, [[]]),
        ("ghost_batch_sizes", "positive integer.*=0", [[0]]),
        ("ghost_batch_sizes", "from 1 to the batch size, 16.*Received: 32", [[8, 32]]),
        ("ghost_batch_sizes", SEQUENCE, [8]),
        ("groups", "positive integer.*groups=0", [[0]]),
        ("groups", SEQUENCE, [2]),
        ("decay", "non-negative number.*l2=-1", [[-1]]),
        ("decay", "positive factors. Training without decay is always", [[0]]),
        ("decay", SEQUENCE, [0.1]),
        ("momentum", "floats from 0 to below 1", [[5.0], [1.0], [1], ["a"]]),
        ("example_weights", "a number from 0.*example_weight=2", [[2]]),
        ("example_weights", SEQUENCE, [0.1, None]),
        ("example_weights", EMPTY, [[]]),
    ],
)
def test_arguments_are_checked(name, message, values):
    for value in values:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            hypermodel(**{name: value})


def test_models_and_tiny_batches_leave_nothing_to_search():
    with pytest.raises(ValueError, match="must be a function of `keras_tuner"):
        hypermodel(tuner_helpers.build())
    with pytest.raises(ValueError, match="leaves no ghosts to try"):
        hypermodel(kinds=["ghost"], batch_size=2)

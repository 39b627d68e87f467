"""Decoupled decay of γ and β: what one step really does."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import CenteredL2, convert, exclude_from_weight_decay


def array(x):
    return np.array(keras.ops.convert_to_numpy(x))


def residual_network():
    """In the order of layers: closed, open, open; and layer normalization, closed."""
    inputs = keras.Input((4,))
    x = layers.BatchNormalization(name="stem")(layers.Dense(6, name="d0")(inputs))
    x = layers.LayerNormalization(name="layer")(x)
    x = layers.BatchNormalization(name="a")(layers.Dense(6, name="d1")(x))
    y = layers.BatchNormalization(name="b")(layers.Dense(6, name="d2")(x))
    return keras.Model(inputs, layers.Dense(2, name="d3")(layers.Add()([x, y])))


def decayed(decay, optimizer=None, before=None):
    """Which γ and β one step without gradients has moved, and the optimizer."""
    model = residual_network()
    optimizer = optimizer or keras.optimizers.SGD(0.1, weight_decay=0.5)
    if before:
        before(optimizer, model)
    excluded = exclude_from_weight_decay(optimizer, model, decay=decay)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    moved = {v.path for v in model.trainable_variables if (array(v) != 1).any()}
    assert not moved & {v.path for v in excluded}
    for variable in model.trainable_variables:
        if variable.path in moved:
            np.testing.assert_allclose(array(variable), 1 - 0.1 * 0.5, rtol=1e-6)
    others = {f"d{i}/{name}" for i in range(4) for name in ("kernel", "bias")}
    return {path.split("/")[0] for path in moved - others}, moved & others


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("all", {"stem", "layer", "a", "b"}),
        ("none", set()),
        ("open", {"a", "b"}),
        ("residual", set()),
        (("closed",), {"stem", "layer"}),
        (["open", "closed"], {"stem", "layer", "a", "b"}),
    ],
)
def test_one_step_decays_what_was_asked_for(decay, expected):
    normalizers, others = decayed(decay)
    assert normalizers == expected
    assert len(others) == 8


def test_earlier_exclusions_stay():
    def exclude(optimizer, model):
        optimizer.exclude_from_weight_decay(
            var_list=[model.get_layer("d1").kernel], var_names=["bias"]
        )

    normalizers, others = decayed("open", before=exclude)
    assert normalizers == {"a", "b"}
    assert others == {"d0/kernel", "d2/kernel", "d3/kernel"}

    def exclude_twice(optimizer, model):
        exclude_from_weight_decay(optimizer, model, decay="open")

    assert decayed("closed", before=exclude_twice)[0] == set()


def test_loss_scale_optimizers_pass_it_on():
    inner = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    model = residual_network()
    excluded = exclude_from_weight_decay(optimizer, model)
    assert len(excluded) == 8
    assert not any(inner._use_weight_decay(v) for v in excluded)


def test_every_normalizer_of_subclassed_models_too():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [layers.RMSNormalization(), layers.GroupNormalization(2)]
            self.parts += [layers.UnitNormalization(), layers.BatchNormalization()]

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    model = Subclassed()
    model(np.zeros((2, 4)))
    optimizer = keras.optimizers.AdamW()
    names = [v.name for v in exclude_from_weight_decay(optimizer, model)]
    assert names == ["scale", "gamma", "beta", "gamma", "beta"]
    with pytest.raises(ValueError, match="graph"):
        exclude_from_weight_decay(optimizer, model, decay="open")


def test_both_kinds_of_decay_on_one_variable_warn():
    model = convert(residual_network(), gamma_regularizer=CenteredL2(0.1))
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    with pytest.warns(UserWarning, match=r"2 variables decay .*a/gamma, b/gamma\."):
        exclude_from_weight_decay(optimizer, model, decay="open")
    exclude_from_weight_decay(keras.optimizers.AdamW(), model, decay="none")
    exclude_from_weight_decay(
        keras.optimizers.AdamW(weight_decay=0.0), model, decay="all"
    )


def test_errors_leave_the_optimizer_as_it_was():
    model = residual_network()
    optimizer = keras.optimizers.AdamW()
    for decay in ("some", ("open", "all")):
        with pytest.raises(ValueError, match="decay="):
            exclude_from_weight_decay(optimizer, model, decay=decay)
    inputs = keras.Input((2,))
    with pytest.raises(ValueError, match="no normalizer"):
        exclude_from_weight_decay(optimizer, keras.Model(inputs, inputs * 2))
    assert all(optimizer._use_weight_decay(v) for v in model.variables)
    optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="is built"):
        exclude_from_weight_decay(optimizer, model)

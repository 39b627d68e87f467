"""The regularizer of γ, and the penalty that `convert` adds by it."""

import keras
import pytest
from keras import layers

from keras_bn4 import CenteredL2, convert


@pytest.mark.parametrize(("l2", "center"), [(0.01, 1.0), (0.3, -2.0), (0, 0.5), (2, 0)])
def test_centered_l2(l2, center, rng):
    x = rng.normal(size=(7,)).astype("float32")
    expected = sum(l2 * (value - center) ** 2 for value in x.astype("float64"))
    assert float(CenteredL2(l2, center)(x)) == pytest.approx(expected, rel=1e-5)
    assert CenteredL2().get_config() == {"l2": 0.01, "center": 1.0}


def test_it_is_serialized_as_keras_does():
    config = keras.regularizers.serialize(CenteredL2(0.2, 3))
    again = keras.regularizers.get(config)
    assert isinstance(again, CenteredL2)
    assert (again.l2, again.center) == (0.2, 3.0)


def penalty(model):
    return sum(float(keras.ops.convert_to_numpy(loss)) for loss in model.losses)


def test_convert_regularizes_and_the_penalty_is_in_the_loss(tmp_path, rng):
    inputs = x = keras.Input((4,))
    for name in ("a", "b", "c"):
        x = layers.BatchNormalization(name=name)(layers.Dense(6)(x))
    model = convert(
        keras.Model(inputs, layers.Dense(2)(x)),
        gamma_regularizer=CenteredL2(0.1),
        beta_regularizer=keras.regularizers.L2(0.2),
    )
    expected = 0.0
    for name in ("a", "b", "c"):
        layer = model.get_layer(name)
        gamma, beta = rng.normal(size=(2, 6))
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
        expected += 0.1 * ((gamma - 1) ** 2).sum() + 0.2 * (beta**2).sum()
    assert penalty(model) == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert penalty(loaded) == pytest.approx(expected, rel=1e-5)
    assert isinstance(loaded.get_layer("a").gamma_regularizer, CenteredL2)
    loaded.compile(keras.optimizers.SGD(0.01), "mse")
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
    assert loaded.evaluate(x, y, verbose=0) > expected

"""The callback in `fit`: which weights its statistics fit, and what it leaves."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import Recalibration, recalibrate


@pytest.fixture
def x(rng):
    return rng.normal(3, 2, (48, 4)).astype("float32")


def compiled(use_ema=True):
    """A model that changes much in a few steps, and its averaged weights less."""
    inputs = keras.Input((4,))
    hidden = layers.BatchNormalization()(layers.Dense(3)(inputs))
    outputs = layers.Dense(1)(layers.BatchNormalization()(layers.ReLU()(hidden)))
    model = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.SGD(0.1, use_ema=use_ema, ema_momentum=0.9)
    model.compile(optimizer, "mse")
    return model


class Watch(keras.callbacks.Callback):
    """Keeps all weights as they were at some moments, the last of each kind."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def _see(self, moment):
        self.seen[moment] = [np.array(w) for w in self.model.get_weights()]

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.params["steps"] - 1:
            self._see("trained")

    def on_test_batch_end(self, batch, logs=None):
        self._see("validated")

    def on_epoch_end(self, epoch, logs=None):
        self._see("epoch ended")


def same(actual, expected):
    return all(np.allclose(a, b, atol=1e-5) for a, b in zip(actual, expected))


def recalibrated(weights, x):
    """A model with these weights, recalibrated by the function."""
    model = compiled()
    model.set_weights(weights)
    recalibrate(model, x, batch_size=16, verbose=0)
    return model


STATISTICS = (4, 5, 8, 9)  # The others are trained, and of these some are averaged.


@pytest.mark.parametrize(
    ("swap", "restore"),
    [(None, False), (None, True), ("before", False), ("after", True)],
)
def test_validation_sees_the_statistics_of_its_weights(swap, restore, x, tmp_path):
    model, y = compiled(), x[:, :1]
    calls = [Recalibration(x, batch_size=16, restore=restore)]
    if swap:
        averaging = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        calls.insert(0 if swap == "before" else 1, averaging)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "last.keras")
    watch = Watch()
    history = model.fit(
        x,
        y,
        batch_size=16,
        epochs=2,
        validation_data=(x[:30], y[:30]),
        callbacks=[*calls, checkpoint, watch],
        verbose=0,
    )
    seen, val_loss = watch.seen, history.history["val_loss"][-1]
    assert same(seen["validated"][:2], seen["trained"][:2]) == (swap is None)
    expected = recalibrated(seen["validated"], x)
    assert same(seen["validated"], expected.get_weights())
    assert expected.evaluate(x[:30], y[:30], verbose=0) == pytest.approx(val_loss, 1e-5)
    ended, trained, validated = (
        [seen[moment][i] for i in STATISTICS]
        for moment in ("epoch ended", "trained", "validated")
    )
    assert not same(trained, validated)
    assert same(ended, trained if restore else validated)
    saved = keras.models.load_model(tmp_path / "last.keras")
    loss = saved.evaluate(x[:30], y[:30], verbose=0)
    assert (loss == pytest.approx(val_loss, 1e-4)) != restore
    # `fit` ends with the averaged weights, whether or not a callback swaps.
    final = model.get_weights()
    assert not same(final[:2], seen["trained"][:2])
    assert same(final, recalibrated(final, x).get_weights())


def test_evaluate_with_endless_data_and_an_error_of_data(x):
    model, y = compiled(use_ema=False), x[:, :1]

    def stream():
        while True:
            yield x

    calls = [Recalibration(stream(), steps=1)]
    found = model.evaluate(x, y, callbacks=calls, verbose=0)
    recalibrate(model, x, batch_size=48, verbose=0)
    assert found == pytest.approx(model.evaluate(x, y, verbose=0), 1e-5)
    before = model.get_weights()
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.evaluate(x, y, callbacks=[Recalibration(x * np.nan)], verbose=0)
    assert same(model.get_weights(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": 3}, "Expected arrays"),
        ({"data": iter([])}, "`data` is an iterator"),
        ({"steps": 0}, "steps=0"),
        ({"batch_size": 1.5}, "batch_size=1.5"),
        ({"restore": "yes"}, "restore='yes'"),
        ({"verbose": 7}, "verbose=7"),
    ],
)
def test_wrong_arguments_are_refused_before_training(arguments, message, x):
    with pytest.raises(ValueError, match=message):
        Recalibration(**{"data": x, **arguments})

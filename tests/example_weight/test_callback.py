"""The callback that sweeps in `fit`: its logs, and what it leaves to the model."""

import keras
import numpy as np
import pytest
from sweep_helpers import (
    CountTraces,
    chain,
    classifier,
    images,
    rising,
    sequences,
    weights_of,
)

from keras_bn4 import ExampleWeightTuning, set_example_weight
from keras_bn4.example_weight.schedules import layer_weights

WEIGHTS = [0.0, 0.1, 0.5]


@pytest.fixture
def data(rng):
    return images(rng)


def test_callback_logs_the_best_and_sets_it(data):
    model = classifier(optimizer="adam", run_eagerly=False)
    tuning = ExampleWeightTuning(data, example_weights=(w for w in WEIGHTS))
    stop = keras.callbacks.EarlyStopping(
        "val_loss_at_best_example_weight", patience=9, mode="min"
    )
    history = model.fit(
        *data, epochs=3, validation_data=data, callbacks=[tuning, stop], verbose=0
    ).history
    assert stop.best == min(history["val_loss_at_best_example_weight"])
    for best, at_zero in zip(
        history["val_loss_at_best_example_weight"], history["val_loss"]
    ):
        assert best <= at_zero + 1e-5
    assert set(history["best_example_weight"]) <= set(WEIGHTS)
    best = tuning.sweep.best("loss")
    assert model.layers[3].example_weight == best["example_weight"]
    evaluated = model.evaluate(*data, verbose=0, return_dict=True)
    assert evaluated["loss"] == pytest.approx(best["loss"], rel=1e-5)


@pytest.mark.slow
def test_a_checkpoint_after_the_callback_is_as_good_as_what_it_monitors(data, tmp_path):
    model = classifier(optimizer="adam", run_eagerly=False)
    set_example_weight(model, 0.05)
    path = tmp_path / "best.keras"
    name = "val_loss_at_best_example_weight"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor=name, mode="min", save_best_only=True
    )
    tuning = ExampleWeightTuning(data, example_weights=[0.3, 0.6])
    at_begin = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: at_begin.append(
            model.layers[3].example_weight
        )
    )
    history = model.fit(
        *data, epochs=3, callbacks=[tuning, checkpoint, watch], verbose=0
    ).history
    assert set(at_begin) == {0.05}
    loaded = keras.models.load_model(path, {"CountTraces": CountTraces})
    best = int(np.argmin(history[name]))
    assert loaded.layers[3].example_weight == history["best_example_weight"][best]
    assert loaded.evaluate(*data, verbose=0, return_dict=True)["loss"] == pytest.approx(
        history[name][best], rel=1e-5
    )


@pytest.mark.slow
def test_a_second_callback_after_early_stopping_sweeps_the_restored_weights(data):
    model = classifier(optimizer="adam", run_eagerly=False)
    tuning, last = (
        ExampleWeightTuning(data, example_weights=WEIGHTS, every_epoch=every)
        for every in (True, False)
    )
    name = "val_loss_at_best_example_weight"
    stop = keras.callbacks.EarlyStopping(
        name, mode="min", patience=9, restore_best_weights=True
    )

    def ruin(epoch, logs):
        if epoch == 2:
            model.layers[-1].kernel.assign(100 * model.layers[-1].kernel)

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=ruin), tuning, stop, last]
    history = model.fit(*data, epochs=3, callbacks=callbacks, verbose=0)
    assert stop.best_epoch < 2
    best = last.sweep.best("loss")
    assert best["loss"] == pytest.approx(min(history.history[name]), rel=1e-4)
    assert model.layers[3].example_weight == best["example_weight"]
    evaluated = model.evaluate(*data, verbose=0, return_dict=True)
    assert evaluated["loss"] == pytest.approx(best["loss"], rel=1e-5)


@pytest.mark.parametrize("factor", [1, 2], ids=["as they were", "changed"])
def test_the_last_epoch_is_swept_again_only_where_weights_have_changed(data, factor):
    model = classifier(optimizer="adam")
    kernel = model.layers[-1].kernel
    tuning = ExampleWeightTuning(data, example_weights=[0.1])
    sweeps = []
    before = keras.callbacks.LambdaCallback(
        on_train_end=lambda logs: kernel.assign(factor * kernel)
    )
    after = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: sweeps.append(tuning.sweep)
    )
    model.fit(*data, epochs=2, verbose=0, callbacks=[before, tuning, after])
    assert sweeps[0] is not sweeps[1]
    assert (tuning.sweep is sweeps[1]) == (factor == 1)
    evaluated = model.evaluate(*data, verbose=0, return_dict=True)
    assert evaluated["loss"] == pytest.approx(tuning.sweep.best()["loss"], rel=1e-5)


def test_callback_at_train_end_only_and_by_accuracy(data):
    model = classifier(optimizer="adam")
    tuning = ExampleWeightTuning(
        data, "accuracy", example_weights=WEIGHTS, every_epoch=False
    )
    history = model.fit(*data, epochs=2, callbacks=[tuning], verbose=0).history
    assert "best_example_weight" not in history
    best = tuning.sweep.best("accuracy")
    assert model.layers[3].example_weight == best["example_weight"]


@pytest.mark.slow
def test_the_callback_sets_the_best_of_all_schedules(rng):
    data = sequences(rng)
    model = chain()
    model.compile("adam", model.loss, metrics=["accuracy"])
    tuning = ExampleWeightTuning(
        data, example_weights=[0.0, 0.05, 0.3, 0.9], schedule=["falling", rising]
    )
    model.fit(*data, epochs=2, verbose=0, callbacks=[tuning])
    best = tuning.sweep.best("loss")
    expected = layer_weights(best["schedule"], best["example_weight"], 3)
    assert weights_of(model) == expected

"""A trial: its best epoch, its example weight, and what it records."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
import tuner_helpers
from helpers import slow_but
from keras import layers
from tuner_helpers import check_trials, hypermodel, keras_tuner, random_search, search

from keras_bn4 import recalibrate, set_example_weight
from keras_bn4.tuner import best_model, results
from keras_bn4.tuner.trial import BestEpoch, executions

pytestmark = tuner_helpers.quiet


@pytest.mark.slow
def test_executions_keep_a_weight_each(tmp_path, data):
    def unseeded(hp):
        model = tuner_helpers.build()
        rng = np.random.default_rng(len(seen))
        seen.append(model)
        model.set_weights([w + rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    seen = []
    weights = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
    hyper = hypermodel(unseeded, kinds=["ghost"], example_weights=weights)
    tuner = random_search(tmp_path, hyper, executions_per_trial=3)
    search(tuner, data, epochs=2)
    found = check_trials(tuner, data, executions=3)
    assert any(len(set(row["example_weight"])) > 1 for row in found.rows)
    for row in found.rows:
        assert set(row["example_weight"]) <= {0, *weights}
        # The plot draws what these executions were.
        for name in ("val_loss_at_0", "val_loss"):
            values = row["executions"][name]
            assert len(set(values)) == 3
            assert row[name] == pytest.approx(np.mean(values))


def test_a_worker_is_told_the_same_weight(tmp_path, data):
    hyper = hypermodel(kinds=["ghost"], example_weights=(0.1, 0.3))
    tuner = search(random_search(tmp_path, hyper), data, epochs=2)
    for trial in tuner.oracle.trials.values():
        # As Keras Tuner hands it to another process, in single precision.
        told = type(trial).from_proto(trial.to_proto())
        here, there = (executions(t, "val_loss") for t in (trial, told))
        assert here[0]["example_weight"] == there[0]["example_weight"] > 0


def test_the_epoch_is_the_best_one(tmp_path, data):
    # With this rate the loss has its best in between, and ends elsewhere.
    logs = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, new=None):
            logs.append(new["val_loss"])

    def build(hp):
        return tuner_helpers.build(optimizer=keras.optimizers.SGD(3.0))

    tuner = random_search(tmp_path, hypermodel(build, recalibrate=False), max_trials=1)
    search(tuner, data, epochs=6, callbacks=[Keep()])
    assert min(logs) < logs[-1]
    (row,) = results(tuner).rows
    for name in ("val_loss_at_0", "val_loss_as_trained"):
        np.testing.assert_allclose(row[name], min(logs), rtol=1e-5)
    check_trials(tuner, data)


@pytest.mark.slow
def test_the_epoch_is_the_last_one_without_validation_in_fit(tmp_path, data):
    last = []

    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return tuner_helpers.build()

        def fit(self, hp, model, *args, validation_data, **kwargs):
            x, y = args
            model.fit(x, y, epochs=3, **kwargs)
            last.append(model.get_weights())
            return 0.0

    tuner = random_search(tmp_path, hypermodel(Own(), recalibrate=False), max_trials=1)
    search(tuner, data)
    check_trials(tuner, data)
    for kept, after in zip(best_model(tuner).get_weights(), last[0]):
        np.testing.assert_array_equal(kept, after)


@pytest.mark.slow
def test_a_trial_that_was_reported_is_not_trained_again(tmp_path, data):
    # Without seeds: another training would be another network.
    seeds = iter(range(100))

    def unseeded(hp):
        model = tuner_helpers.build()
        rng = np.random.default_rng(next(seeds))
        model.set_weights([w + rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    tuner = search(random_search(tmp_path, hypermodel(unseeded)), data)
    before = {row["trial"]: row for row in results(tuner).rows}
    # As a chief leaves the last trial of a search.
    tuner = random_search(tmp_path, hypermodel(unseeded), max_trials=3)
    tuner.oracle._retry_queue.append("1")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The use case of calling")
        search(tuner, data)
    after = {row["trial"]: row for row in check_trials(tuner, data).rows}
    assert len(after) == 3
    assert after["1"] == before["1"]


@pytest.mark.slow
def test_other_objectives(tmp_path, data):
    accuracy = keras_tuner.Objective("val_accuracy", "max")
    tuner = random_search(tmp_path / "accuracy", hypermodel(), accuracy)
    search(tuner, data, epochs=2)
    check_trials(tuner, data)

    objectives = ["val_loss", "val_accuracy"]
    tuner = random_search(tmp_path / "both", hypermodel(), objectives, max_trials=1)
    search(tuner, data, epochs=2)
    row = results(tuner).rows[0]
    trial = tuner.oracle.trials[row["trial"]]
    loss, accuracy = (
        trial.metrics.get_best_value(f"val_{m}") for m in ("loss", "accuracy")
    )
    assert row["multi_objective"] == pytest.approx(loss - accuracy)


@pytest.mark.parametrize(
    "form", slow_but(["arrays"], ["arrays", "data set", "ended", "endless"])
)
def test_short_trials_are_judged_by_recalibrated_statistics(tmp_path, data, form):
    """Ten steps leave a moving average near its start, whatever is searched."""
    (x, y), validation = data
    x, validation = 5 + 2 * x, (5 + 2 * validation[0], validation[1])
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, len(x), 16)]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    given = {
        "arrays": (x, y),
        "data set": (Batches(),),
        "ended": ((batch for batch in batches),),
        "endless": ((batch for _ in iter(int, 1) for batch in batches),),
    }[form]
    build = tuner_helpers.build_traced if form == "arrays" else tuner_helpers.build
    hyper = hypermodel(build, kinds=["batch"])
    tuner = random_search(tmp_path, hyper, max_trials=1)
    options = {"epochs": 1, "shuffle": False, "verbose": 0}
    if form in ("ended", "endless"):
        options["steps_per_epoch"] = len(batches)
    expected = contextlib.nullcontext()
    if form == "ended":
        expected = pytest.warns(UserWarning, match="not be recalibrated.* after 0 of")
    with expected:
        tuner.search(*given, validation_data=validation, **options)
    (row,) = results(tuner).rows
    assert row["recalibrated"] == (form != "ended")
    model = best_model(tuner)
    set_example_weight(model, 0.0)
    at_0 = model.evaluate(*validation, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(row["val_loss_at_0"], at_0, rtol=1e-4)
    if form == "ended":
        np.testing.assert_allclose(row["val_loss_as_trained"], at_0, rtol=1e-4)
        return
    before = model.get_weights()
    recalibrate(model, x, batch_size=16, verbose=0)
    for weight, expected in zip(before, model.get_weights()):
        np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-5)
    assert abs(row["val_loss_as_trained"] - row["val_loss_at_0"]) > 0.01


def test_a_weight_that_is_not_finite_is_never_the_best(tmp_path, data):
    """Without weighing outputs are far too large here, and the loss is NaN."""
    data = [(1e3 * x, y) for x, y in data]

    def size(y, outputs):
        outputs = keras.ops.abs(outputs)
        return keras.ops.where(outputs > 50, float("nan"), outputs)

    def build(hp):
        inputs = keras.Input((6,))
        outputs = layers.BatchNormalization(momentum=1.0)(inputs)
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "mse", metrics=[size])
        return model

    hyper = hypermodel(build, kinds=["batch"], decay=None, recalibrate=False)
    objective = keras_tuner.Objective("val_size", "min")
    tuner = random_search(tmp_path, hyper, objective, max_trials=1)
    with pytest.warns(UserWarning, match="'size' is NaN at example weight 0"):
        search(tuner, data)
    (row,) = results(tuner).rows
    assert row["example_weight"] == [max(tuner_helpers.EXAMPLE_WEIGHTS)]
    assert np.isfinite(row["val_size"])


def test_an_epoch_that_is_not_finite_is_not_kept():
    model = tuner_helpers.build()
    best = BestEpoch(keras_tuner.Objective("val_loss", "min"))
    best.set_model(model)
    for epoch, loss in enumerate([np.nan, 3.0, np.nan, 4.0]):
        model.set_weights([np.full(w.shape, epoch) for w in model.get_weights()])
        best.on_epoch_end(epoch, {"val_loss": loss})
    assert best.logs == {"val_loss": 3.0}
    assert all((weights == 1).all() for weights in best.weights)


@pytest.mark.slow
@tuner_helpers.only_tensorflow
def test_the_log_of_a_search_has_no_warning_of_retracing(tmp_path, data, caplog):
    tuner = random_search(
        tmp_path, hypermodel(tuner_helpers.build_traced), max_trials=6
    )
    search(tuner, data)
    assert not [x for x in caplog.messages if "retracing" in x]

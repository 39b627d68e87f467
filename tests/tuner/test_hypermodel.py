import json
import pathlib
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_bn4
from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    convert,
    set_example_weight,
    sweep_example_weight,
)
from keras_bn4.common.batches import split
from keras_bn4.tuner.results import SearchResults
from keras_bn4.tuner.trial import executions

keras_tuner = pytest.importorskip("keras_tuner")

from keras_bn4.tuner import (  # noqa: E402 - it needs Keras Tuner
    ExampleWeightSearch,
    HyperBatchNormalization,
    best_model,
    results,
)

pytestmark = [
    # Keras Tuner's.
    pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning"),
]
TENSORFLOW = keras.backend.backend() == "tensorflow"
only_tensorflow = pytest.mark.skipif(not TENSORFLOW, reason="not TensorFlow")
WEIGHTS = (0.1, 0.4)


def build(hp=None, units=4, metrics=("accuracy",), optimizer="sgd"):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    x = layers.Dense(units, use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


@pytest.fixture
def data(rng):
    x = rng.normal(size=(48, 6)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
    return (x[:32], y[:32]), (x[32:], y[32:])


def hypermodel(build=build, batch_size=16, **arguments):
    arguments = {"example_weights": WEIGHTS, **arguments}
    return HyperBatchNormalization(build, batch_size=batch_size, **arguments)


def random_search(folder, hyper, objective="val_loss", max_trials=2, **arguments):
    return keras_tuner.RandomSearch(
        hyper,
        objective,
        max_trials=max_trials,
        seed=3,
        directory=folder,
        **arguments,
    )


class NeverTrained(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise keras_tuner.errors.FatalRuntimeError("A trial has been trained.")


# The space.


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
    def any_width(hp):
        return build(units=hp.Choice("units", [4, 6, 5]))

    hp = keras_tuner.HyperParameters()
    hyper = hypermodel(any_width, kinds=kinds)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": None}, "batch_size=None"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"ghost_batch_sizes": [8, 32]}, "from 1 to the batch size, 16.*Received: 32"),
        ({"ghost_batch_sizes": 8}, "sequence of values"),
        ({"ghost_batch_sizes": []}, "is empty"),
        ({"kinds": "ghost"}, "sequence of values"),
        ({"kinds": ["group"]}, "'batch_group'.*Received: 'group'"),
        ({"kinds": ["ghost"], "batch_size": 2}, "leaves no ghosts"),
        ({"groups": [0]}, "groups=0"),
        ({"decay": [-1]}, "l2=-1"),
        ({"decay": [0]}, "without decay is tried"),
        ({"momentum": [1]}, "from 0 to below 1"),
        ({"example_weights": [2]}, "example_weight=2"),
        ({"build": build()}, "Argument `build` must be a function"),
        ({"build": None}, "Argument `build` must be a function"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        hypermodel(**arguments)


# Errors before the first trial trains.


def test_a_model_without_batch_normalization(tmp_path):
    def plain(hp):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
        model.compile(loss="mse")
        return model

    with pytest.raises(ValueError, match="no batch normalization layer"):
        random_search(tmp_path, hypermodel(plain))
    with pytest.raises(ValueError, match="isn't built"):
        random_search(
            tmp_path,
            hypermodel(lambda hp: keras.Sequential([layers.BatchNormalization()])),
        )


@pytest.mark.parametrize(
    ("objective", "arguments", "message"),
    [
        ("val_loss", {"validation_data": None}, "need validation data"),
        ("val_loss", {"validation_split": 0.99}, "leaves 0 to train and 32"),
        ("val_mae", {}, r"\['val_mae'\].*\['val_loss', 'val_accuracy'\]"),
        ("loss", {}, r"Unknown objective \['loss'\]"),
        (None, {}, "default_objective"),
        (["val_loss", "val_mae"], {}, r"Unknown objective \['val_mae'\]"),
        ("val_loss", {"batch_size": 8}, "minibatches of 8.*batch_size=16"),
    ],
)
def test_searches_that_can_not_work(objective, arguments, message, tmp_path, data):
    train, validation = data
    tuner = random_search(tmp_path, hypermodel(), objective)
    arguments = {"validation_data": validation, **arguments}
    if "validation_split" in arguments:
        arguments["validation_data"] = None
    with pytest.raises(ValueError, match=message):
        tuner.search(
            *train, **arguments, epochs=1, verbose=0, callbacks=[NeverTrained()]
        )


def test_data_sets_with_minibatches_of_another_size(tmp_path, data):
    (x, y), validation = data

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8]

    tuner = random_search(tmp_path, hypermodel())
    with pytest.raises(ValueError, match=r"minibatches of 8.*batch_size=16"):
        tuner.search(Batches(), validation_data=validation, callbacks=[NeverTrained()])
    tuner = random_search(tmp_path / "8", hypermodel(batch_size=8), max_trials=1)
    tuner.search(Batches(), validation_data=validation, verbose=0)
    assert len(results(tuner).rows) == 1


def test_objectives_that_a_sweep_does_not_know(tmp_path, data):
    train, validation = data

    class Scored(keras.Model):
        def test_step(self, *args):
            return {**super().test_step(*args), "score": 1.0}

    def scored(hp):
        inputs = keras.Input((6,))
        outputs = layers.Dense(1)(layers.BatchNormalization()(inputs))
        model = Scored(inputs, outputs)
        model.compile("sgd", "mse")
        return model

    objective = keras_tuner.Objective("val_score", "min")
    tuner = random_search(tmp_path, hypermodel(scored), objective)
    with pytest.raises(ValueError, match=r"\['val_score'\].*\['val_loss'\]"):
        tuner.search(*train, validation_data=validation, callbacks=[NeverTrained()])


def test_a_model_that_is_not_compiled(tmp_path, data):
    train, validation = data

    def uncompiled(hp):
        model = build()
        model.compiled = False
        return model

    tuner = random_search(tmp_path, hypermodel(uncompiled))
    with pytest.raises(ValueError, match="isn't compiled"):
        tuner.search(*train, validation_data=validation, callbacks=[NeverTrained()])


# What a trial finds.


def check_trials(tuner, validation, executions=1, sizes=None):
    """Every trial's record against its checkpoint."""
    objective = tuner.oracle.objective
    found = results(tuner)
    assert found.rows
    assert found.failed == 0
    trials = {t.trial_id: t for t in tuner.oracle.trials.values()}
    for row in found.rows:
        trial = trials[row["trial"]]
        model = tuner.load_model(trial)
        sweep = sweep_example_weight(
            model,
            *validation,
            example_weights=tuner.hypermodel.example_weights,
            batch_size=16,
            verbose=0,
        )
        name = objective.name.removeprefix("val_")
        best = sweep.best(name)
        values = [
            trial.metrics.get_best_value(f"execution_{i}/{objective.name}")
            for i in range(executions)
        ]
        pick = min if objective.direction == "min" else max
        np.testing.assert_allclose(pick(values), best[name], rtol=1e-5)
        at = values.index(pick(values))
        assert row["example_weight"][at] == best["example_weight"]
        np.testing.assert_allclose(
            trial.metrics.get_best_value(f"execution_{at}/{objective.name}_at_0"),
            sweep.rows[0][name],
            rtol=1e-5,
        )
        assert len(row["example_weight"]) == executions
        np.testing.assert_allclose(row[objective.name], np.mean(values), rtol=1e-6)
        assert trial.score == pytest.approx(np.mean(values))
    scores = [row[objective.name] for row in found.rows]
    assert scores == sorted(scores, reverse=objective.direction == "max")
    best = best_model(tuner)
    weights = {
        layer.example_weight for layer in keras_bn4.example_weight.weighing_layers(best)
    }
    assert len(weights) == 1
    assert weights <= set(found.rows[0]["example_weight"])
    return found


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RandomSearch", {"max_trials": 3}),
        ("BayesianOptimization", {"max_trials": 5, "num_initial_points": 3}),
        ("GridSearch", {"max_trials": 4}),
        ("Hyperband", {"max_epochs": 3, "factor": 3}),
    ],
)
def test_every_tuner(name, arguments, tmp_path, data):
    train, validation = data
    tuner = getattr(keras_tuner, name)(
        hypermodel(kinds=["ghost", "batch_group"]),
        "val_loss",
        seed=1,
        directory=tmp_path,
        **arguments,
    )
    tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    found = check_trials(tuner, validation)
    assert len(found.rows) == arguments.get("max_trials", len(found.rows))
    assert len(found.rows) > 2
    # The data are such that weighing pays, or this would test little.
    assert any(weight for row in found.rows for weight in row["example_weight"])


def test_executions_keep_a_weight_each(tmp_path, data):
    train, validation = data

    def unseeded(hp):
        model = build()
        rng = np.random.default_rng(len(seen))
        seen.append(model)
        model.set_weights([w + rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    seen = []
    weights = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)
    hyper = hypermodel(unseeded, kinds=["ghost"], example_weights=weights)
    tuner = random_search(tmp_path, hyper, executions_per_trial=3)
    tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    found = check_trials(tuner, validation, executions=3)
    assert any(len(set(row["example_weight"])) > 1 for row in found.rows)
    for row in found.rows:
        assert set(row["example_weight"]) <= {0, *weights}


def test_a_worker_is_told_the_same_weight(tmp_path, data):
    train, validation = data
    hyper = hypermodel(kinds=["ghost"], example_weights=(0.1, 0.3))
    tuner = random_search(tmp_path, hyper)
    tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    for trial in tuner.oracle.trials.values():
        # As Keras Tuner hands it to another process, in single precision.
        told = type(trial).from_proto(trial.to_proto())
        here, there = (executions(t, "val_loss") for t in (trial, told))
        assert here[0]["example_weight"] == there[0]["example_weight"] > 0


def test_the_epoch_is_the_best_one(tmp_path, data):
    # With this rate the loss has its best in between, and ends elsewhere.
    train, validation = data
    logs = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, new=None):
            logs.append(new["val_loss"])

    tuner = random_search(
        tmp_path,
        hypermodel(lambda hp: build(optimizer=keras.optimizers.SGD(3.0))),
        max_trials=1,
    )
    tuner.search(
        *train, validation_data=validation, epochs=6, verbose=0, callbacks=[Keep()]
    )
    assert min(logs) < logs[-1]
    (row,) = results(tuner).rows
    np.testing.assert_allclose(row["val_loss_at_0"], min(logs), rtol=1e-5)
    check_trials(tuner, validation)


def test_the_epoch_is_the_last_one_without_validation_in_fit(tmp_path, data):
    train, validation = data
    last = []

    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return build()

        def fit(self, hp, model, *args, validation_data, **kwargs):
            x, y = args
            model.fit(x, y, epochs=3, **kwargs)
            last.append(model.get_weights())
            return 0.0

    tuner = random_search(tmp_path, hypermodel(Own()), max_trials=1)
    tuner.search(*train, validation_data=validation, verbose=0)
    check_trials(tuner, validation)
    for kept, after in zip(best_model(tuner).get_weights(), last[0]):
        np.testing.assert_array_equal(kept, after)


def test_a_trial_that_was_reported_is_not_trained_again(tmp_path, data):
    train, validation = data
    # Without seeds: another training would be another network.
    seeds = iter(range(100))

    def unseeded(hp):
        model = build()
        rng = np.random.default_rng(next(seeds))
        model.set_weights([w + rng.normal(size=w.shape) for w in model.get_weights()])
        return model

    tuner = random_search(tmp_path, hypermodel(unseeded))
    tuner.search(*train, validation_data=validation, verbose=0)
    before = {row["trial"]: row for row in results(tuner).rows}
    # As a chief leaves the last trial of a search.
    tuner = random_search(tmp_path, hypermodel(unseeded), max_trials=3)
    tuner.oracle._retry_queue.append("1")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The use case of calling")
        tuner.search(*train, validation_data=validation, verbose=0)
    after = {row["trial"]: row for row in check_trials(tuner, validation).rows}
    assert len(after) == 3
    assert after["1"] == before["1"]


def test_other_objectives(tmp_path, data):
    train, validation = data
    accuracy = keras_tuner.Objective("val_accuracy", "max")
    tuner = random_search(tmp_path / "accuracy", hypermodel(), accuracy)
    tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    check_trials(tuner, validation)

    tuner = random_search(tmp_path / "both", hypermodel(), ["val_loss", "val_accuracy"])
    tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    row = results(tuner).rows[0]
    trial = tuner.oracle.trials[row["trial"]]
    loss, accuracy = (
        trial.metrics.get_best_value(f"val_{m}") for m in ("loss", "accuracy")
    )
    assert row["multi_objective"] == pytest.approx(loss - accuracy)


def test_validation_data_in_all_forms(tmp_path, data):
    (x, y), validation = data

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return validation

    weights = np.ones(len(validation[0]), "float32")
    forms = {
        "arrays": {"validation_data": validation},
        "list": {"validation_data": list(validation)},
        "weighted": {"validation_data": (*validation, weights)},
        "PyDataset": {"validation_data": Batches()},
        "batches of 5": {"validation_data": validation, "validation_batch_size": 5},
    }
    if TENSORFLOW:
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices(validation).batch(16)
        forms["dataset"] = {"validation_data": dataset}
        forms["endless"] = {"validation_data": dataset.repeat(), "validation_steps": 1}
    found = {}
    for name, arguments in forms.items():
        tuner = random_search(tmp_path / name, hypermodel(), max_trials=1)
        tuner.search(x, y, **arguments, epochs=1, verbose=0)
        (found[name],) = [row["val_loss"] for row in results(tuner).rows]
    whole = [np.concatenate(pair) for pair in zip((x, y), validation)]
    tuner = random_search(tmp_path / "split", hypermodel(), max_trials=1)
    tuner.search(*whole, validation_split=1 / 3, epochs=1, verbose=0)
    (found["split"],) = [row["val_loss"] for row in results(tuner).rows]
    for name, value in found.items():
        np.testing.assert_allclose(value, found["arrays"], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 1 / 3, 0.7])
def test_split_is_that_of_keras(fraction, data):
    (x, y), _ = data
    (_, _, _), (x_validation, y_validation, weights) = split(x, y, None, fraction)
    assert weights is None
    model = build(metrics=())
    history = model.fit(x, y, validation_split=fraction, verbose=0)
    np.testing.assert_allclose(
        model.evaluate(x_validation, y_validation, verbose=0),
        history.history["val_loss"][0],
        rtol=1e-5,
    )


def test_a_hypermodel_that_chooses_the_batch_size(tmp_path, data):
    train, validation = data
    sizes = []

    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return build()

        def fit(self, hp, model, *args, **kwargs):
            size = hp.Choice("batch_size", [16, 32], default=32)
            history = model.fit(*args, batch_size=size, **kwargs)
            sizes.append((size, history.params["steps"]))
            return history

    tuner = random_search(tmp_path, hypermodel(Own()), max_trials=3)
    tuner.search(*train, validation_data=validation, verbose=0)
    check_trials(tuner, validation)
    assert sizes[0] == (32, 1)
    assert all(steps == 32 // size for size, steps in sizes)


@pytest.mark.parametrize("returned", ["history", "dict", "float"])
def test_a_hypermodel_with_its_own_fit(returned, tmp_path, data):
    train, validation = data

    class Own(keras_tuner.HyperModel):
        def declare_hyperparameters(self, hp):
            hp.Int("epochs", 1, 2)

        def build(self, hp):
            return build(units=hp.Choice("units", [4, 8]))

        def fit(self, hp, model, x, y, callbacks, **arguments):
            arguments["epochs"] = hp.get("epochs")
            if returned == "history":
                return model.fit(x, y, callbacks=callbacks, **arguments)
            model.fit(x, y, **arguments)
            return {"val_loss": 0.0, "own": 5.0} if returned == "dict" else 0.0

    tuner = random_search(tmp_path, hypermodel(Own()), max_trials=3)
    tuner.search(*train, validation_data=validation, verbose=0)
    found = check_trials(tuner, validation)
    assert all(set(r["hyperparameters"]) == {"epochs", "units"} for r in found.rows)
    trial = tuner.oracle.get_best_trials(1)[0]
    assert trial.metrics.exists("own") == (returned == "dict")


def test_fit_out_of_a_tuner_is_ordinary(data):
    train, _ = data
    hyper = hypermodel()
    hp = keras_tuner.HyperParameters()
    history = hyper.fit(hp, hyper.build(hp), *train, epochs=2, verbose=0)
    assert list(history.history) == ["accuracy", "loss"]


@pytest.mark.parametrize("decay", [None, (0.1,)])
def test_decay_is_one_thing(decay, data):
    train, _ = data
    hyper = hypermodel(lambda hp: build(optimizer="adamw"), decay=decay)
    hp = keras_tuner.HyperParameters()
    model = hyper.build(hp)
    hyper.fit(hp, model, *train, verbose=0)
    hyper.fit(hp, model, *train, verbose=0)
    layer = model.layers[2]
    decays = [model.optimizer._use_weight_decay(v) for v in (layer.gamma, layer.beta)]
    assert decays == [decay is None] * 2
    assert model.optimizer._use_weight_decay(model.layers[1].kernel)


def test_decay_of_what_is_not_converted_stays(data):
    train, _ = data

    def two(hp):
        inputs = keras.Input((6,))
        x = layers.BatchNormalization(name="ours")(inputs)
        x = layers.BatchNormalization(name="other")(x)
        model = keras.Model(inputs, layers.Dense(1)(x))
        model.compile("adamw", "mse")
        return model

    hyper = hypermodel(two, select=lambda layer: layer.name == "ours")
    hp = keras_tuner.HyperParameters()
    model = hyper.build(hp)
    hyper.fit(hp, model, *train, verbose=0)
    decays = [model.optimizer._use_weight_decay(x.gamma) for x in model.layers[1:3]]
    assert decays == [False, True]


def test_decay_by_an_optimizer_that_is_built(tmp_path, data):
    train, validation = data

    def fine_tuned(hp):
        model = build(optimizer="adamw")
        model.optimizer.build(model.trainable_variables)
        return model

    tuner = random_search(tmp_path, hypermodel(fine_tuned))
    with pytest.raises(ValueError, match=r"is built.*decay=None"):
        tuner.search(*train, validation_data=validation, callbacks=[NeverTrained()])
    tuner = random_search(tmp_path / "none", hypermodel(fine_tuned, decay=None))
    tuner.search(*train, validation_data=validation, verbose=0)


def test_a_trial_that_fails_is_not_the_end(tmp_path, data):
    train, validation = data

    def sometimes(hp):
        health = hp.Choice("health", ["well", "raises", "nan"])
        if health == "raises":
            raise RuntimeError("This one raises.")
        model = build()
        if health == "nan":
            model.set_weights([np.nan * w for w in model.get_weights()])
        return model

    tuner = keras_tuner.GridSearch(
        hypermodel(sometimes, kinds=["batch"], decay=None),
        "val_loss",
        directory=tmp_path,
    )
    with warnings.catch_warnings():
        # Of NumPy, about the trial's NaN.
        warnings.filterwarnings("ignore", "All-NaN|invalid value")
        tuner.search(*train, validation_data=validation, epochs=2, verbose=0)
    found = results(tuner)
    assert [r["hyperparameters"] for r in found.rows] == [{"health": "well"}]
    assert found.failed == 2
    assert "2 trials failed" in str(found)
    assert best_model(tuner) is not None


# Other processes.


def in_process(*arguments):
    script = pathlib.Path(__file__).with_name("on_tuner.py")
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=500,
    )
    if done.returncode:
        return done.returncode, done.stderr
    return 0, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["RandomSearch", "GridSearch", "Hyperband"])
def test_a_killed_search_goes_on(name, tmp_path):
    status, whole = in_process(tmp_path / "whole", name, -1, "one")
    assert status == 0, whole
    status, _ = in_process(tmp_path / "killed", name, 2, "one")
    assert status == -9
    status, rest = in_process(tmp_path / "killed", name, -1, "one")
    assert status == 0, rest
    trials = len(whole["rows"])
    assert trials == (6 if name != "Hyperband" else trials)
    assert trials > 3
    assert whole["trained"] == trials
    assert rest["trained"] == trials - 2
    assert rest["rows"] == whole["rows"]
    assert rest["loss"] == whole["loss"]


@only_tensorflow
def test_mirrored_strategy(tmp_path):
    status, one = in_process(tmp_path / "one", "RandomSearch", -1, "one")
    assert status == 0, one
    status, found = in_process(tmp_path / "two", "RandomSearch", -1, "mirrored")
    assert status == 0, found
    assert len(found["rows"]) == 6
    assert found["loss"] == pytest.approx(found["rows"][0]["val_loss"], rel=1e-5)
    by_trial = {row["trial"]: row for row in one["rows"]}
    for row in found["rows"]:
        other = by_trial[row["trial"]]
        assert row["kind"] == other["kind"]


# Results.


def some_results():
    rows = [
        {
            "trial": "0",
            "kind": "ghost",
            "ghost_batch_size": 8,
            "groups": None,
            "l2": 0.0,
            "hyperparameters": {"units": 4, "kind": "mine"},
            "example_weight": [0.1, 0.05],
            "val_loss_at_0": 0.5,
            "val_loss": 0.25,
        },
        {
            "trial": "1",
            "kind": "batch",
            "ghost_batch_size": None,
            "groups": None,
            "l2": 1e-4,
            "hyperparameters": {},
            "example_weight": [0.0, 0.0],
            "val_loss_at_0": 0.6,
            "val_loss": 0.6,
        },
        {
            "trial": "2",
            "kind": "batch_group",
            "ghost_batch_size": 64,
            "groups": 4,
            "l2": 1e-4,
            "hyperparameters": {},
            "example_weight": [0.0, 0.0],
            "val_loss_at_0": 0.7,
            "val_loss": 0.7,
        },
    ]
    return SearchResults(rows, "val_loss", "min", 64)


def test_results_as_text_and_csv(tmp_path):
    found = some_results()
    lines = str(found).splitlines()
    assert lines[0].split() == [
        *("trial", "kind", "B'", "groups", "decay", "units", "build/kind", "α"),
        *("val_loss_at_0", "val_loss"),
    ]
    assert lines[1].split() == [
        "0",
        "ghost",
        "8",
        "0",
        "4",
        "mine",
        "0.1",
        "0.05",
        "0.5",
        "0.25",
    ]
    found.to_csv(tmp_path / "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[1] == "0,ghost,8,,0.0,4,mine,0.1 0.05,0.5,0.25"
    assert lines[2] == "1,batch,,,0.0001,,,0 0,0.6,0.6"


def test_plot_has_a_line_for_weight_0_and_one_for_the_best():
    figure = some_results().plot()
    (panel,) = figure.axes
    lines = {line.get_label(): line for line in panel.lines}
    for label, ghost, whole in (
        ("example weight 0", 0.5, 0.6),
        ("best example weight", 0.25, 0.6),
    ):
        assert list(lines[label].get_ydata()) == [ghost, whole]
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels == ["example weight 0", "best example weight", "channel groups"]
    ticks = [tick.get_text() for tick in panel.get_xticklabels()]
    assert ticks == ["8", "64\n(whole batch)"]


def test_hyperparameters_of_the_same_names(tmp_path, data):
    train, validation = data

    def named(hp):
        names = ("kind", "l2", "trial", "example_weight", "normalization/where")
        for name in names:
            hp.Choice(name, ["mine"])
        return build()

    tuner = random_search(tmp_path, hypermodel(named), max_trials=1)
    tuner.search(*train, validation_data=validation, verbose=0)
    found = results(tuner)
    assert found.rows[0]["kind"] in ("batch", "ghost", "batch_group")
    assert found.rows[0]["l2"] != "mine"
    header = str(found).splitlines()[0].split()
    assert len(set(header)) == len(header)
    assert {"build/kind", "build/l2", "normalization/where"} <= set(header)


def test_trials_without_a_record(tmp_path, data):
    train, validation = data

    class Own(keras_tuner.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            hp = trial.hyperparameters
            model = self.hypermodel.build(hp)
            return self.hypermodel.fit(hp, model, *args, **kwargs)

    tuner = Own(hypermodel(), "val_loss", max_trials=1, directory=tmp_path)
    tuner.search(*train, validation_data=validation, verbose=0)
    with pytest.raises(ValueError, match="no example weight on record"):
        results(tuner)


def test_results_of_nothing(tmp_path):
    tuner = random_search(tmp_path, hypermodel())
    with pytest.raises(ValueError, match="No trial has been completed"):
        best_model(tuner)
    found = results(tuner)
    for method in (found.plot, lambda: found.to_csv(tmp_path / "rows.csv")):
        with pytest.raises(ValueError, match="No trial has been completed"):
            method()
    other = random_search(tmp_path / "other", build)
    with pytest.raises(ValueError, match="HyperBatchNormalization"):
        results(other)


# The search of a trained model.


@pytest.fixture
def trained(data):
    train, _ = data
    model = convert(build(), ghost_batch_size=2)
    model.fit(*train, batch_size=16, epochs=3, verbose=0)
    set_example_weight(model, 0.3)
    return model


def test_example_weight_search_agrees_with_the_sweep(trained, tmp_path, data):
    _, validation = data
    sweep = sweep_example_weight(trained, *validation, batch_size=16, verbose=0)
    tuner = ExampleWeightSearch(trained, directory=tmp_path)
    tuner.search(*validation, batch_size=16, verbose=0)
    assert trained.layers[2].example_weight == 0.3
    trials = tuner.oracle.trials.values()
    found = {t.hyperparameters["example_weight"]: t for t in trials}
    assert sorted(found) == [row["example_weight"] for row in sweep.rows]
    for row in sweep.rows:
        for metric in ("loss", "accuracy"):
            value = found[row["example_weight"]].metrics.get_best_value(metric)
            np.testing.assert_allclose(value, row[metric], rtol=1e-5)
    best = best_model(tuner)
    assert best is trained
    assert best.layers[2].example_weight == sweep.best("loss")["example_weight"]
    assert best.layers[2].example_weight > 0
    with pytest.raises(ValueError, match="num_models=2"):
        tuner.get_best_models(2)


def test_example_weight_search_goes_on_and_takes_oracles(trained, tmp_path, data):
    _, validation = data
    weights = [0, 0.1, 0.2, 0.3]

    class Interrupted(ExampleWeightSearch):
        def run_trial(self, trial, *args, **kwargs):
            if trial.trial_id.endswith("2"):
                raise KeyboardInterrupt
            return super().run_trial(trial, *args, **kwargs)

    arguments = {"example_weights": weights, "directory": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        Interrupted(trained, **arguments).search(*validation, verbose=0)
    tuner = ExampleWeightSearch(trained, **arguments)
    tuner.search(*validation, verbose=0)
    trials = tuner.oracle.trials.values()
    assert sorted(t.hyperparameters["example_weight"] for t in trials) == weights

    oracle = keras_tuner.oracles.RandomSearchOracle(
        keras_tuner.Objective("accuracy", "max"), max_trials=2, seed=0
    )
    tuner = ExampleWeightSearch(trained, oracle=oracle, directory=tmp_path / "random")
    tuner.search(*validation, verbose=0)
    assert len(tuner.oracle.trials) == 2


def test_example_weight_search_does_not_take_one_for_another(trained, tmp_path, data):
    _, validation = data
    arguments = {"example_weights": [0, 0.1], "directory": tmp_path}
    ExampleWeightSearch(trained, **arguments).search(*validation, verbose=0)
    again = ExampleWeightSearch(trained, **arguments)
    assert len(again.oracle.trials) == 2
    with pytest.raises(ValueError, match="of another model or of other"):
        ExampleWeightSearch(trained, example_weights=[0, 0.2], directory=tmp_path)
    trained.layers[1].kernel.assign(2 * trained.layers[1].kernel)
    with pytest.raises(ValueError, match="overwrite=True"):
        ExampleWeightSearch(trained, **arguments)
    fresh = ExampleWeightSearch(trained, **arguments, overwrite=True)
    assert not fresh.oracle.trials
    # Beside a search of the other kind.
    tuner = random_search(tmp_path, hypermodel(), max_trials=1)
    assert tuner.project_dir != fresh.project_dir


def test_example_weight_search_of_models_it_can_not(trained):
    with pytest.raises(ValueError, match="no layer of keras_bn4"):
        ExampleWeightSearch(build())
    trained.compiled = False
    with pytest.raises(ValueError, match="isn't compiled"):
        ExampleWeightSearch(trained)


# The package.


def test_the_lazy_names():
    assert keras_bn4.HyperBatchNormalization is HyperBatchNormalization
    assert keras_bn4.tuner.best_model is best_model
    assert {"tuner", "HyperBatchNormalization", "convert"} <= set(dir(keras_bn4))
    with pytest.raises(AttributeError, match="nothing"):
        _ = keras_bn4.nothing


def test_without_keras_tuner():
    code = """
import sys
import keras_bn4
assert "keras_tuner" not in sys.modules
sys.modules["keras_tuner"] = None
try:
    keras_bn4.HyperBatchNormalization
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "keras_bn4[tune]"' in done.stdout, done.stderr

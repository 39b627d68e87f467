"""What the tests of the tuner, and of all that searches with it, share.

Importing it skips a test file where Keras Tuner isn't installed, so that test files
import it before anything of `keras_bn4.tuner`.
"""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import convert, datasets, sweep_example_weight
from keras_bn4.example_weight.setting import weighing_layers

keras_tuner = pytest.importorskip("keras_tuner")

from processes import on_tuner  # noqa: E402 - it needs Keras Tuner

from keras_bn4.tuner import (  # noqa: E402
    HyperBatchNormalization,
    best_model,
    results,
)

# Keras Tuner uses names that Python's `threading` has deprecated.
quiet = pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")
# And warns of its own older interface where a trial was reported already.
quiet_again = pytest.mark.filterwarnings(
    "ignore:The use case of calling:DeprecationWarning"
)
TENSORFLOW = keras.backend.backend() == "tensorflow"
only_tensorflow = pytest.mark.skipif(not TENSORFLOW, reason="not TensorFlow")
EXAMPLE_WEIGHTS = (0.1, 0.4)


def build(hp=None, units=4, metrics=("accuracy",), optimizer="sgd", eager=TENSORFLOW):
    """A compiled model with Keras' batch normalization, always the same.

    TensorFlow traces the functions of a model in every trial, which takes longer than
    to train it eagerly. JAX compiles in either case.
    """
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    x = layers.Dense(units, use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=list(metrics), run_eagerly=eager)
    return model


def build_of_two(hp=None):
    """A model with two layers of `keras_bn4`."""
    inputs = keras.Input((6,))
    x = keras.layers.BatchNormalization(momentum=0.8)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.8)(layers.Dense(4)(x))
    model = convert(keras.Model(inputs, layers.Dense(1)(x)))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


def build_traced(hp=None):
    """The same model, traced on TensorFlow as well, as the models of users are."""
    return build(eager=False)


def hypermodel(build=build, batch_size=16, **arguments):
    """A `HyperBatchNormalization` with few example weights, unless others are given."""
    arguments = {"example_weights": EXAMPLE_WEIGHTS, **arguments}
    return HyperBatchNormalization(build, batch_size=batch_size, **arguments)


def random_search(folder, hyper, objective="val_loss", max_trials=2, **arguments):
    """A `RandomSearch` that is the same every time."""
    return keras_tuner.RandomSearch(
        hyper,
        objective,
        max_trials=max_trials,
        seed=3,
        directory=folder,
        **arguments,
    )


def search(tuner, data, **arguments):
    """Searches with a tuner on `(training, validation)` data, and returns the tuner."""
    train, validation = data
    arguments = {"validation_data": validation, "verbose": 0, **arguments}
    tuner.search(*train, **arguments)
    return tuner


class NeverTrained(keras.callbacks.Callback):
    """Ends a search in which a trial begins to train."""

    def on_train_begin(self, logs=None):
        raise keras_tuner.errors.FatalRuntimeError("A trial has been trained.")


def check_trials(tuner, data, executions=1):
    """Compares the record of every trial with what its checkpoint does.

    Returns:
        The `SearchResults` of the search.
    """
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
            *data[1],
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
    weights = {layer.example_weight for layer in weighing_layers(best)}
    assert len(weights) == 1
    assert weights <= set(found.rows[0]["example_weight"])
    return found


def completed_trials(folder):
    """The contents of the files of a search's completed trials, by their paths."""
    files = folder.glob("trial_*/trial.json")
    return {f: text for f in files if "COMPLETED" in (text := f.read_text())}


def keep_few_images(monkeypatch, most=100):
    """Has data sets give no more than the first images of each split in this process.

    All example weights are evaluated on them, which takes longer than a training.
    """
    load = datasets.load

    def load_few(*args, **kwargs):
        return [(x[:most], y[:most]) for x, y in load(*args, **kwargs)]

    monkeypatch.setattr(datasets, "load", load_few)


def run_search(*arguments):
    """Runs `processes/on_tuner.py` with these arguments.

    Returns:
        A pair of the exit status, and what the search has found or its errors.
    """
    done = subprocess.run(
        [sys.executable, on_tuner.__file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=500,
    )
    if done.returncode:
        return done.returncode, done.stderr
    return 0, json.loads(done.stdout.splitlines()[-1])

"""The best model of a search, and what its results hold."""

import warnings

import numpy as np
import pytest
import tuner_helpers
from tuner_helpers import hypermodel, keras_tuner, random_search, search

from keras_bn4 import sweep_example_weight
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.tuner import best_model, results

pytestmark = tuner_helpers.quiet


def test_a_trial_that_fails_is_not_the_end(tmp_path, data):
    def sometimes(hp):
        health = hp.Choice("health", ["well", "raises", "nan"])
        if health == "raises":
            raise RuntimeError("This one raises.")
        model = tuner_helpers.build()
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
        warnings.filterwarnings("ignore", "All-NaN|invalid value|Metric .* is NaN")
        with pytest.warns(UserWarning, match="could not be recalibrated.*NaN"):
            search(tuner, data, epochs=2)
    found = results(tuner)
    assert [r["hyperparameters"] for r in found.rows] == [{"health": "well"}]
    assert found.failed == 2
    assert "2 trials failed" in str(found)
    assert best_model(tuner) is not None


def test_the_best_model_has_the_schedule_of_its_search(tmp_path, data):
    _, validation = data
    hyper = hypermodel(
        tuner_helpers.build_of_two,
        kinds=["ghost"],
        decay=None,
        example_weights=[0.4],
        schedule="falling",
    )
    tuner = random_search(tmp_path, hyper, max_trials=1)
    search(tuner, data, epochs=1)
    (weight,) = results(tuner).rows[0]["example_weight"]
    model = best_model(tuner)
    assert [x.example_weight for x in weighing_layers(model)] == [weight, 0]
    sweep = sweep_example_weight(
        model, *validation, example_weights=[0.4], schedule="falling", verbose=0
    )
    best = sweep.best("loss")
    assert weight == best["example_weight"]
    assert results(tuner).rows[0]["val_loss"] == pytest.approx(best["loss"], rel=1e-5)


def test_trials_without_a_record(tmp_path, data):
    class Own(keras_tuner.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            hp = trial.hyperparameters
            model = self.hypermodel.build(hp)
            return self.hypermodel.fit(hp, model, *args, **kwargs)

    tuner = Own(hypermodel(), "val_loss", max_trials=1, directory=tmp_path)
    search(tuner, data)
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
    other = random_search(tmp_path / "other", tuner_helpers.build)
    for function in (results, best_model):
        with pytest.raises(ValueError, match="HyperBatchNormalization"):
            function(other)


@pytest.mark.parametrize("function", [best_model, results])
@pytest.mark.parametrize("value", [None, "tuner", 3])
def test_what_is_no_tuner_is_named(function, value):
    with pytest.raises(ValueError, match=r"Expected a tuner of Keras Tuner") as error:
        function(value)
    assert repr(value) in str(error.value)

"""The search of the example weight of a model that is trained already."""

import numpy as np
import pytest
import tuner_helpers
from tuner_helpers import hypermodel, keras_tuner, random_search

from keras_bn4 import convert, set_example_weight, sweep_example_weight
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.tuner import ExampleWeightSearch, best_model

pytestmark = tuner_helpers.quiet


@pytest.fixture
def trained(data):
    train, _ = data
    model = convert(tuner_helpers.build_traced(), ghost_batch_size=2)
    model.fit(*train, batch_size=16, epochs=3, verbose=0)
    set_example_weight(model, 0.3)
    return model


def test_agrees_with_the_sweep(trained, tmp_path, data):
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


def test_goes_on_and_takes_oracles(trained, tmp_path, data):
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


def test_does_not_take_one_for_another(trained, tmp_path, data):
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


def test_models_that_have_no_weight_or_no_loss(trained):
    with pytest.raises(ValueError, match="no layer of keras_bn4"):
        ExampleWeightSearch(tuner_helpers.build())
    trained.compiled = False
    with pytest.raises(ValueError, match="isn't compiled"):
        ExampleWeightSearch(trained)


def test_a_schedule_is_searched_and_kept(tmp_path, data):
    _, validation = data
    model = tuner_helpers.build_of_two()
    arguments = {"example_weights": [0.3], "directory": tmp_path}
    tuner = ExampleWeightSearch(model, schedule="falling", **arguments)
    tuner.search(*validation, verbose=0)
    sweep = sweep_example_weight(
        model, *validation, example_weights=[0.3], schedule="falling", verbose=0
    )
    (trial,) = tuner.oracle.trials.values()
    assert trial.score == pytest.approx(sweep.rows[-1]["loss"], rel=1e-5)
    best_model(tuner)
    assert [layer.example_weight for layer in weighing_layers(model)] == [0.3, 0]
    # The folder remembers the schedule, and whether there was one.
    with pytest.raises(ValueError, match="weights or schedules"):
        ExampleWeightSearch(model, **arguments)
    with pytest.raises(ValueError, match="must be one of"):
        ExampleWeightSearch(model, schedule="rising", **arguments)

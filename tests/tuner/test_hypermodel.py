"""The hypermodel: its arguments, every tuner, functions `fit`, weight decay."""

import keras
import pytest
import tuner_helpers
from keras import layers
from processes import on_tuner
from tuner_helpers import (
    NeverTrained,
    check_trials,
    hypermodel,
    keras_tuner,
    random_search,
    search,
)

pytestmark = tuner_helpers.quiet


def test_a_model_without_batch_normalization(tmp_path):
    def plain(hp):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
        model.compile(loss="mse")
        return model

    with pytest.raises(ValueError, match="no batch normalization layer"):
        random_search(tmp_path, hypermodel(plain))
    with pytest.raises(ValueError, match="is not built"):
        random_search(
            tmp_path,
            hypermodel(lambda hp: keras.Sequential([layers.BatchNormalization()])),
        )


@pytest.mark.slow
# Of scikit-learn, because it fits the surrogate to so few trials.
@pytest.mark.filterwarnings("ignore:The optimal value found")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        # The other tests search at random.
        ("BayesianOptimization", {"max_trials": 4, "num_initial_points": 2}),
        ("GridSearch", {"max_trials": 4}),
        ("Hyperband", {"max_epochs": 3, "factor": 3}),
    ],
)
def test_every_tuner(name, arguments, tmp_path, data):
    tuner = getattr(keras_tuner, name)(
        hypermodel(kinds=["ghost", "batch_group"]),
        "val_loss",
        seed=1,
        directory=tmp_path,
        **arguments,
    )
    search(tuner, data, epochs=2)
    found = check_trials(tuner, data)
    assert len(found.rows) == arguments.get("max_trials", len(found.rows))
    assert len(found.rows) > 2
    assert max(map(len, str(found).splitlines())) <= 100
    # The data are such that weighing pays, or this would test little.
    assert any(weight for row in found.rows for weight in row["example_weight"])


@pytest.mark.slow
def test_a_hypermodel_that_chooses_the_batch_size(tmp_path, data):
    sizes = []

    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return tuner_helpers.build()

        def fit(self, hp, model, *args, **kwargs):
            size = hp.Choice("batch_size", [16, 32], default=32)
            history = model.fit(*args, batch_size=size, **kwargs)
            sizes.append((size, history.params["steps"]))
            return history

    tuner = search(random_search(tmp_path, hypermodel(Own()), max_trials=3), data)
    check_trials(tuner, data)
    assert sizes[0] == (32, 1)
    assert all(steps == 32 // size for size, steps in sizes)


def test_a_hypermodel_with_its_own_fit(tmp_path, data):
    class Own(keras_tuner.HyperModel):
        def declare_hyperparameters(self, hp):
            hp.Int("epochs", 1, 2)

        def build(self, hp):
            return tuner_helpers.build(units=hp.Choice("units", [4, 8]))

        def fit(self, hp, model, x, y, callbacks, **arguments):
            model.fit(x, y, **arguments | {"epochs": hp.get("epochs")})
            return {"val_loss": 0.0, "own": 5.0}

    tuner = search(random_search(tmp_path, hypermodel(Own())), data)
    found = check_trials(tuner, data)
    assert all(set(r["hyperparameters"]) == {"epochs", "units"} for r in found.rows)
    trial = tuner.oracle.get_best_trials(1)[0]
    assert trial.metrics.exists("own")


def test_fit_out_of_a_tuner_is_ordinary(data):
    train, _ = data
    hyper = hypermodel()
    hp = keras_tuner.HyperParameters()
    history = hyper.fit(hp, hyper.build(hp), *train, epochs=2, verbose=0)
    assert list(history.history) == ["accuracy", "loss"]


@pytest.mark.parametrize("decay", [None, (0.1,)])
def test_decay_is_one_thing(decay, data):
    train, _ = data
    hyper = hypermodel(lambda hp: tuner_helpers.build(optimizer="adamw"), decay=decay)
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
        x = layers.BatchNormalization(name="converted")(inputs)
        x = layers.BatchNormalization(name="other")(x)
        model = keras.Model(inputs, layers.Dense(1)(x))
        model.compile("adamw", "mse")
        return model

    hyper = hypermodel(two, select=lambda layer: layer.name == "converted")
    hp = keras_tuner.HyperParameters()
    model = hyper.build(hp)
    hyper.fit(hp, model, *train, verbose=0)
    decays = [model.optimizer._use_weight_decay(x.gamma) for x in model.layers[1:3]]
    assert decays == [False, True]


@pytest.mark.slow
def test_decay_by_an_optimizer_that_is_built(tmp_path, data):
    def fine_tuned(hp):
        model = tuner_helpers.build(optimizer="adamw")
        model.optimizer.build(model.trainable_variables)
        return model

    tuner = random_search(tmp_path, hypermodel(fine_tuned))
    with pytest.raises(ValueError, match=r"is built.*decay=None"):
        search(tuner, data, callbacks=[NeverTrained()])
    tuner = random_search(tmp_path / "none", hypermodel(fine_tuned, decay=None))
    search(tuner, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GridSearch", "Hyperband"])
def test_a_killed_search_goes_on(name, tmp_path):
    whole = on_tuner.search(tmp_path / "whole", name)
    arguments = tmp_path / "killed", name
    status, _ = tuner_helpers.run_search(*arguments, 2, "one")
    assert status == -9
    status, rest = tuner_helpers.run_search(*arguments, -1, "one")
    assert status == 0, rest
    trials = len(whole["rows"])
    assert trials > 3
    assert whole["trained"] == trials
    assert rest == {**whole, "trained": trials - 2}


@tuner_helpers.only_tensorflow
@pytest.mark.slow
def test_mirrored_strategy(tmp_path):
    status, found = tuner_helpers.run_search(tmp_path, "RandomSearch", -1, "mirrored")
    assert status == 0, found
    assert len(found["rows"]) == on_tuner.MAX_TRIALS
    assert found["loss"] == pytest.approx(found["rows"][0]["val_loss"], rel=1e-5)

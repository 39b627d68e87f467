"""What `search` hands to `fit`: validation data of any form, and checks beforehand."""

import keras
import numpy as np
import pytest
import tuner_helpers
from keras import layers
from tuner_helpers import NeverTrained, hypermodel, keras_tuner, random_search, search

from keras_bn4.common.batches import split
from keras_bn4.tuner import results

pytestmark = tuner_helpers.quiet


@pytest.mark.parametrize(
    ("objective", "arguments", "message"),
    [
        ("val_loss", {"validation_data": None}, "need validation data"),
        ("val_loss", {"validation_split": 0.99}, "leaves 0 to train and 32"),
        ("val_mae", {}, r"\['val_mae'\].*\['val_loss', 'val_accuracy'\]"),
        ("loss", {}, r"Unknown objective \['loss'\]"),
        (None, {}, "default_objective"),
        (["val_loss", "val_mae"], {}, r"Unknown objective \['val_mae'\]"),
        ("val_loss", {"validation_data": iter(())}, "`validation_data` is an iterator"),
        ("val_loss", {"validation_data": (iter(()),)}, "`validation_data` is an iter"),
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


def test_an_iterator_that_ends_after_one_trial(tmp_path, data):
    train, validation = data
    tuner = random_search(tmp_path, hypermodel())
    with pytest.raises(ValueError, match="Argument `x` is an iterator"):
        tuner.search(
            iter([train]), validation_data=validation, callbacks=[NeverTrained()]
        )


@pytest.mark.slow
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
    tuner = random_search(
        tmp_path / "8",
        hypermodel(tuner_helpers.build_traced, batch_size=8),
        max_trials=1,
    )
    tuner.search(Batches(), validation_data=validation, verbose=0)
    assert len(results(tuner).rows) == 1


@pytest.mark.slow
def test_objectives_of_a_test_step_of_the_model(tmp_path, data):
    class Scored(keras.Model):
        def test_step(self, *args):
            result = super().test_step(*args)
            # On JAX a step returns the state of the model, too.
            logs, *state = result if isinstance(result, tuple) else (result,)
            logs = {**logs, "score": -logs["loss"]}
            return (logs, *state) if state else logs

    def scored(hp):
        inputs = keras.Input((6,))
        outputs = layers.Dense(1)(layers.BatchNormalization()(inputs))
        model = Scored(inputs, outputs)
        model.compile("sgd", "mse")
        return model

    def judged_by(name):
        objective = keras_tuner.Objective(f"val_{name}", "max")
        return random_search(tmp_path / name, hypermodel(scored), objective)

    with pytest.raises(ValueError, match=r"\['val_own'\].*\['val_loss', 'val_score'\]"):
        search(judged_by("own"), data, callbacks=[NeverTrained()])
    tuner = search(judged_by("score"), data)
    found = results(tuner)
    assert len(found.rows) == 2
    for row in found.rows:
        metrics = tuner.oracle.trials[row["trial"]].metrics
        assert row["val_score"] == pytest.approx(-metrics.get_best_value("val_loss"))
        assert row["val_score"] >= row["val_score_at_0"]


def test_a_model_that_is_not_compiled(tmp_path, data):
    def uncompiled(hp):
        model = tuner_helpers.build()
        model.compiled = False
        return model

    tuner = random_search(tmp_path, hypermodel(uncompiled))
    with pytest.raises(ValueError, match="is not compiled"):
        search(tuner, data, callbacks=[NeverTrained()])


@pytest.mark.slow
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
    if tuner_helpers.TENSORFLOW:
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices(validation).batch(16)
        forms["dataset"] = {"validation_data": dataset}
        forms["endless"] = {"validation_data": dataset.repeat(), "validation_steps": 1}
    whole = [np.concatenate(pair) for pair in zip((x, y), validation)]

    def loss(name, *train, **arguments):
        # Of a traced evaluation the last batch may be shorter than the others.
        is_traced = name == "batches of 5"
        build = tuner_helpers.build_traced if is_traced else tuner_helpers.build
        tuner = random_search(tmp_path / name, hypermodel(build), max_trials=1)
        # On PyTorch the order would depend on how often data were read before.
        tuner.search(*train, **arguments, epochs=1, shuffle=False, verbose=0)
        (row,) = results(tuner).rows
        return row["val_loss"]

    found = {name: loss(name, x, y, **arguments) for name, arguments in forms.items()}
    found["split"] = loss("split", *whole, validation_split=1 / 3)
    for name, value in found.items():
        np.testing.assert_allclose(value, found["arrays"], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 1 / 3, 0.7])
def test_split_is_that_of_keras(fraction, data):
    (x, y), _ = data
    (_, _, _), (x_validation, y_validation, weights) = split(x, y, None, fraction)
    assert weights is None
    model = tuner_helpers.build(metrics=())
    history = model.fit(x, y, validation_split=fraction, verbose=0)
    np.testing.assert_allclose(
        model.evaluate(x_validation, y_validation, verbose=0),
        history.history["val_loss"][0],
        rtol=1e-5,
    )

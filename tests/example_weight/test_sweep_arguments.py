"""What a sweep is given is checked before anything is evaluated."""

import keras
import numpy as np
import pytest
from keras import layers
from sweep_helpers import chain, classifier, images, sequences

from keras_bn4 import (
    ExampleWeightTuning,
    GhostBatchNormalization,
    set_example_weight,
    sweep_example_weight,
)


@pytest.fixture
def data(rng):
    return images(rng)


def uncompiled():
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, GhostBatchNormalization()(inputs))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"example_weights": [0.1, 1.5]}, "1.5"),
        ({"example_weights": ["0.1"]}, "'0.1'"),
        ({"example_weights": [float("nan")]}, "nan"),
        ({"mode": "up"}, "'up'"),
        ({"mode": {"recall": "max"}}, r"recall.*accuracy"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"y": None}, "no labels"),
        ({"y": np.zeros(3)}, r"(?s)same number of examples.*70.*3"),
        ({"x": np.zeros((0, 6, 6, 2)), "y": np.zeros(0)}, "empty"),
        ({"x": [], "y": None}, "empty"),
        ({"x": 5, "y": None}, "x=5"),
        ({"x": iter([(1, 2)])}, "`y` should not be passed"),
    ],
)
def test_bad_arguments(data, keywords, message):
    model = classifier()
    arguments = {"x": data[0], "y": data[1], "verbose": 0, **keywords}
    with pytest.raises(ValueError, match=message):
        sweep_example_weight(model, **arguments)
    assert model.layers[3].example_weight == 0


def test_unfit_models(data):
    with pytest.raises(ValueError, match="isn't compiled"):
        sweep_example_weight(uncompiled(), *data)
    inputs = keras.Input((6, 6, 2))
    plain = keras.Model(inputs, layers.BatchNormalization()(inputs))
    with pytest.raises(ValueError, match=r"keras_bn4\.convert"):
        sweep_example_weight(plain, *data)
    with pytest.raises(ValueError, match=r"keras_bn4\.convert"):
        set_example_weight(plain, 0.1)
    sweep = sweep_example_weight(classifier(), *data, example_weights=[], verbose=0)
    with pytest.raises(ValueError, match=r"'recall'.*\['loss', 'accuracy'\]"):
        sweep.best("recall")


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([], "must not be empty"),
        ("rising", "must be one of"),
        (["uniform", "uniform"], r"different names.* 2 of name 'uniform'"),
        ([lambda w, d: w, lambda w, d: 0], r"2 of name '<lambda>'"),
    ],
    ids=["empty", "unknown", "twice", "lambdas"],
)
def test_unfit_schedules(rng, schedule, message):
    data = sequences(rng)
    for attempt in (
        lambda: sweep_example_weight(chain(), *data, schedule=schedule),
        lambda: ExampleWeightTuning(data, schedule=schedule),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


@pytest.mark.parametrize(
    "name", ["example_weight", "schedule", "loss_difference", "loss_difference_upper"]
)
def test_a_metric_with_the_name_of_another_column_is_refused(data, name):
    metric = keras.metrics.SparseCategoricalAccuracy(name=name)
    model = classifier(metrics=[metric])
    with pytest.raises(ValueError, match=f"A metric is named '{name}'.*another name"):
        sweep_example_weight(model, *data, verbose=0)
    assert model.layers[3].example_weight == 0


def test_data_that_can_be_read_only_once_are_refused_before_the_training(data):
    for one_shot in (iter([data]), (iter([data]),), zip(*data)):
        with pytest.raises(
            ValueError, match=r"`validation_data` is an iterator.* once"
        ):
            ExampleWeightTuning(one_shot)
    ExampleWeightTuning(iter([data]), steps=1)
    model = classifier(optimizer="adam")
    at_the_end = ExampleWeightTuning(iter([data]), every_epoch=False)
    model.fit(*data, verbose=0, callbacks=[at_the_end])
    assert at_the_end.sweep.best()["loss"] > 0

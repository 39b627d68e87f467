"""What a sweep is given is checked before anything is evaluated."""

import keras
import pytest
from sweep_helpers import chain, classifier, images, sequences

from keras_bn4 import (
    ExampleWeightTuning,
    sweep_example_weight,
)


@pytest.fixture
def data(rng):
    return images(rng)


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
            ValueError, match=r"`validation_data` is an iterator.* one pass"
        ):
            ExampleWeightTuning(one_shot)
    ExampleWeightTuning(iter([data]), steps=1)
    model = classifier(optimizer="adam")
    at_the_end = ExampleWeightTuning(iter([data]), every_epoch=False)
    model.fit(*data, verbose=0, callbacks=[at_the_end])
    assert at_the_end.sweep.best()["loss"] > 0

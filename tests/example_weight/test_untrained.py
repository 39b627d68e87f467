"""A network that looks untrained at weight 0 is warned of, and only such a one."""

import math
import warnings

import keras
import pytest
from sweep_helpers import classifier, images

from keras_bn4 import ExampleWeightTuning, sweep_example_weight
from keras_bn4.example_weight.untrained import (
    UNTRAINED,
    loss_of_guessing,
    why_untrained,
)


def test_a_sweep_and_the_end_of_a_training_warn(rng):
    x, y = images(rng)
    model = classifier(optimizer=keras.optimizers.SGD(0.0))
    model.layers[-1].kernel.assign(20 * model.layers[-1].kernel)
    with pytest.warns(UserWarning, match=r"range of values.*keras_bn4.recalibrate"):
        sweep = sweep_example_weight(model, x, y, example_weights=[0.1], verbose=0)
    assert sweep.untrained.startswith(f"{UNTRAINED}: its loss is ")
    assert sweep.untrained in str(sweep)
    tuning = ExampleWeightTuning((x, y), example_weights=[0.1])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(x, y, epochs=2, verbose=0, callbacks=[tuning])
    assert sum(str(one.message).startswith(UNTRAINED) for one in found) == 1


def test_the_loss_of_guessing():
    model = classifier()
    penalty = 0.01 * (model.layers[2].get_weights()[0] ** 2).sum()
    assert loss_of_guessing(model) == pytest.approx(math.log(3) + penalty)
    for loss in ("mse", lambda y_true, y_pred: y_pred):
        model.compile(loss=loss)
        assert loss_of_guessing(model) == math.inf


@pytest.mark.parametrize(
    ("loss", "weight", "gain", "said"),
    [
        (1.1, 0.3, 0.0, "its loss is 1.1, that of guessing 1"),
        (1.0, 0.3, 0.051, "weight 0.3 gains 15.1 points of accuracy"),
        (1.0, 0.3, 0.05, ""),
        (1.0, 0.2, 0.4, ""),
        (math.nan, 0.2, math.nan, ""),
    ],
)
def test_what_looks_untrained(loss, weight, gain, said):
    row = {"example_weight": weight, "accuracy_difference_lower": gain}
    row["accuracy_difference"] = gain + 0.1
    rows = [{**row, "example_weight": 0.0, "loss": loss}, row]
    found = why_untrained(rows, {"accuracy"}, 1.0)
    assert said in found
    assert bool(found) == bool(said)
    assert why_untrained(rows[1:], set(), math.inf) == ""

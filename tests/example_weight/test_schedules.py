"""How a schedule spreads the example weight over the layers."""

import pytest
from sweep_helpers import rising

from keras_bn4.example_weight.schedules import layer_weights


def test_layer_weights():
    assert layer_weights("uniform", 0.3, 3) == [0.3] * 3
    assert layer_weights("uniform", 1 / 3, 2) == [1 / 3] * 2
    assert layer_weights("falling", 0.3, 4) == [0.3, 0.2, 0.1, 0.0]
    assert layer_weights("falling", 0.3, 1) == [0.3]
    assert layer_weights(rising, 0.5, 3) == [0.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("schedule", "weight", "message"),
    [
        (lambda w, d: 2 * w, 0.7, r"<lambda> returned 1.4 for example_weight=0.7"),
        (lambda w, d: 0.1, 0.0, r"returned 0.1 .* must return 0"),
        (lambda w, d: None, 0.1, r"returned None"),
    ],
    ids=["above 1", "not 0 at 0", "None"],
)
def test_schedules_that_return_no_weights(schedule, weight, message):
    with pytest.raises(ValueError, match=message):
        layer_weights(schedule, weight, 3)

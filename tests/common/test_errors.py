import numpy as np
import pytest
from keras import layers

from keras_bn4.common.errors import LONGEST, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("First.\nSecond."), "First"),
        (TypeError(), "TypeError"),
        (KeyError("weight"), "KeyError: 'weight'"),
        (ValueError("a" * 2 * LONGEST), "a" * LONGEST + " [...]"),
        # As Keras writes them of parts of a model, and of files.
        (
            TypeError(
                "<class 'keras.Functional'> could not be deserialized properly. Ensure "
                f"that it is.\n\nconfig={{'layers': [{'1, ' * 500}]}}.\n\nException "
                "encountered: Error when deserializing class 'Conv2D' using "
                "config={'groups': 1}.\n\nException encountered: Unrecognized keyword "
                "arguments passed to Conv2D: {'groups': 1}"
            ),
            "Unrecognized keyword arguments passed to Conv2D: {'groups': 1}",
        ),
        (
            TypeError("Could not locate class 'Mine'. Full object config: {'name': 1}"),
            "Could not locate class 'Mine'",
        ),
        (
            ValueError(
                "A total of 1 objects could not be loaded. For x:\n\nNo y.\n\nz"
            ),
            "A total of 1 objects could not be loaded. For x: No y",
        ),
        (
            ValueError(
                "Graph execution error:\n\nDetected at node a/b defined at (most "
                'recent call last):\n  File "x.py", line 1, in f\n\nReceived a label '
                "value of 9.\n\t [[{{node a/b}}]] [Op:__inference_1]"
            ),
            "Received a label value of 9",
        ),
    ],
)
def test_the_cause_is_quoted_on_one_line(error, reason):
    assert reason_of(error) == reason


def test_errors_of_a_call():
    class Fails(layers.Layer):
        def call(self, inputs):
            raise ValueError("The inputs don't fit.")

    with pytest.raises(ValueError, match="Arguments received by Fails") as error:
        Fails()(np.zeros((2, 4), "float32"))
    assert reason_of(error.value) == "The inputs don't fit"

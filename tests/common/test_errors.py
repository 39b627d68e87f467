import numpy as np
import pytest
from keras import layers

from keras_bn4.common.errors import reason_of


def test_plain_errors():
    assert reason_of(ValueError("First.\nSecond.")) == "First"
    assert reason_of(KeyError()) == "KeyError"
    assert reason_of(ValueError("a" * 500), most=20) == "a" * 20


def test_errors_of_a_call():
    class Fails(layers.Layer):
        def call(self, inputs):
            raise ValueError("The inputs don't fit.")

    with pytest.raises(ValueError, match="Arguments received by Fails") as error:
        Fails()(np.zeros((2, 4), "float32"))
    assert reason_of(error.value) == "The inputs don't fit"


def test_errors_of_a_graph():
    error = ValueError(
        "Graph execution error:\n\nDetected at node a/b defined at (most recent call "
        'last):\n  File "x.py", line 1, in f\n\nReceived a label value of 9.\n'
        "\t [[{{node a/b}}]] [Op:__inference_1]"
    )
    assert reason_of(error) == "Received a label value of 9"

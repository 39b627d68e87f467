import pytest
from helpers import BACKEND

import keras_bn4
from keras_bn4 import demo


@pytest.fixture(scope="session")
def digits_network():
    """A network that was trained on digits with ghosts of two examples."""
    if BACKEND != "tensorflow":
        pytest.skip("What it learns is tested on TensorFlow, which compiles faster.")
    x, y = keras_bn4.datasets.load("digits", "train")
    model = demo.build(ghost_batch_size=2)
    demo.train(model, x, y, steps=100)
    return model

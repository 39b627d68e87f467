import keras
import pytest
from keras import layers

from keras_bn4.commands.main import main


@pytest.fixture
def model(tmp_path):
    """The path of a saved and compiled classifier of the digits, as a string."""
    inputs = keras.Input((8, 8, 1))
    hidden = layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    model.save(tmp_path / "model.keras")
    return str(tmp_path / "model.keras")


@pytest.fixture
def plain_model(tmp_path):
    """The path of a saved model without batch normalization, as a string."""
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, layers.Flatten()(inputs)).save(tmp_path / "plain.keras")
    return str(tmp_path / "plain.keras")


@pytest.fixture
def run(capsys):
    """A function that runs a command, and returns its status and both its outputs."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        printed, errors = capsys.readouterr()
        return status, printed, errors

    return run

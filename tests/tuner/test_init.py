"""The names of the tuner in the package, which imports Keras Tuner only for them."""

import subprocess
import sys

import pytest
import tuner_helpers

import keras_bn4
from keras_bn4.tuner import HyperBatchNormalization, best_model

pytestmark = tuner_helpers.quiet


def test_the_lazy_names():
    assert keras_bn4.HyperBatchNormalization is HyperBatchNormalization
    assert keras_bn4.tuner.best_model is best_model
    assert {"tuner", "HyperBatchNormalization", "convert"} <= set(dir(keras_bn4))
    with pytest.raises(AttributeError, match="nothing"):
        _ = keras_bn4.nothing


@pytest.mark.slow
def test_without_keras_tuner():
    code = """
import sys
import keras_bn4
assert "keras_tuner" not in sys.modules
sys.modules["keras_tuner"] = None
try:
    keras_bn4.HyperBatchNormalization
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "keras_bn4[tune]"' in done.stdout, done.stderr

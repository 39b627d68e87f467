"""The package without Keras Tuner, which it imports only for names of the tuner."""

import subprocess
import sys

import pytest


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

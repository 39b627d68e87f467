"""Keras' own tests of its normalization layers, with this package's in their place."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest
from helpers import TESTS

import keras_bn4

OF_KERAS = pathlib.Path(keras.__file__).parent / "src" / "layers" / "normalization"
ROOTS = [TESTS / "processes", pathlib.Path(keras_bn4.__file__).parents[1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [("batch_normalization_test.py", 33), ("group_normalization_test.py", 12)],
)
def test_keras_own_tests_pass(name, count):
    if not (OF_KERAS / name).exists():
        pytest.skip(f"The wheel of Keras {keras.__version__} ships no {name}.")
    paths = [*ROOTS, os.environ.get("PYTHONPATH", "")]
    # A process of its own, because Keras' layers are replaced, and without the settings
    # of these tests.
    options = ["-p", "keras_own_tests_plugin", "-p", "no:cacheprovider"]
    output = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull, OF_KERAS / name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    ).stdout
    assert re.search(rf"^collected {count} items$", output, re.M), output
    assert re.search(rf"^=+ {count} passed\b", output, re.M), output

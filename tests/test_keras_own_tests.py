"""Keras' own tests of its normalization layers, with ours in their place."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

TESTS = pathlib.Path(keras.__file__).parent / "src" / "layers" / "normalization"
HERE = pathlib.Path(__file__).parent


def keras_own(name, *options):
    """Runs a test file of Keras' in a process of its own, by none of our settings."""
    if not (TESTS / name).exists():
        pytest.skip(f"This wheel of Keras {keras.__version__} ships no {name}.")
    paths = [HERE, HERE.parent, os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "keras_own_tests_plugin"]
        + ["-p", "no:cacheprovider", "-c", os.devnull, *options, TESTS / name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    ).stdout


# On other backends there are 32: `synchronized` is TensorFlow's.
BATCH_NORMALIZATION = 33 if keras.backend.backend() == "tensorflow" else 32


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("batch_normalization_test.py", BATCH_NORMALIZATION),
        ("group_normalization_test.py", None),
    ],
)
def test_keras_own_tests_pass(name, count):
    collected = re.findall(r"^.*::test_\w+", keras_own(name, "--collect-only"), re.M)
    output = keras_own(name)
    assert re.search(rf"^{count or len(collected)} passed\b", output, re.M), output
    assert len(collected) == (count or len(collected)) > 0

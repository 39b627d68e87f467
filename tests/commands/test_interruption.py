"""Ctrl-C ends a command with one line and status 130, at whatever time it comes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

# Sends the signal when the package begins to import Keras.
WHILE_IMPORTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "keras":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "keras_bn4", *map(str, arguments)],
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells let background processes, such as this one may be, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupted(process, times=6):
    """What `process` still prints when Ctrl-C is pressed until it ends.

    Once isn't always enough: TensorFlow's native code drops the exception where it asks
    Python for an object's attributes, as it does all the time while it traces.
    """
    for attempt in range(1, times + 1):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            if attempt == times:
                raise


@pytest.mark.slow
def test_during_a_sweep(model, tmp_path, rng):
    x, y = rng.normal(size=(20_000, 8, 8, 1)), rng.integers(0, 10, 20_000)
    np.savez(tmp_path / "data.npz", x=x.astype("float32"), y=y)
    with start(
        *("sweep", model, "--dataset", tmp_path / "data.npz", "--batch-size", 4),
        *("--save", tmp_path / "out.keras"),
    ) as process:
        try:
            for line in process.stdout:
                if line.startswith("Converted"):
                    break
            printed, errors = interrupted(process)
        finally:
            process.kill()
    assert process.returncode == 130
    # A backend may complain of devices that are not there.
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors
    (line,) = [line for line in printed.splitlines() if "Interrupted" in line]
    assert line.startswith("Interrupted. ")
    assert {path.name for path in tmp_path.iterdir()} == {"data.npz", "model.keras"}


def test_during_the_import(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WHILE_IMPORTING)
    with start("sweep", "model.keras", PYTHONPATH=str(tmp_path)) as process:
        printed, errors = process.communicate(timeout=120)
    assert (process.returncode, printed, errors) == (130, "Interrupted.\n", "")

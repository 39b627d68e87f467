"""Imports without Keras or its backend: one sentence that says what to do."""

import os
import subprocess
import sys

import pytest

from keras_bn4.common import backends

WITHOUT = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "{package}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Finder())
"""


def run(*arguments, folder, package, backend):
    """Runs Python as if a package weren't installed."""
    (folder / "sitecustomize.py").write_text(WITHOUT.format(package=package))
    environment = {**os.environ, "PYTHONPATH": str(folder), "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_backend_that_is_not_installed(backend, tmp_path):
    arguments = {"folder": tmp_path, "package": backend, "backend": backend}
    status, printed, errors = run("-c", "import keras_bn4", **arguments)
    assert (status, printed) == (1, "")
    assert errors.count("Traceback") == 1
    assert "_what_to_do" in errors
    last = errors.splitlines()[-1]
    assert last.startswith(f"ImportError: Keras' backend '{backend}'")
    assert last.endswith(".")
    assert "is not installed" in last
    assert f"`pip install {backend}`" in last
    assert "KERAS_BACKEND" in last
    status, printed, errors = run("-m", "keras_bn4", "--version", **arguments)
    assert (status, printed) == (1, "")
    assert errors == last.replace("ImportError", "error") + "\n"


def test_a_backend_that_is_none_in_sys_modules():
    code = "import sys; sys.modules['tensorflow'] = None; import keras_bn4"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: Keras' backend 'tensorflow', chosen by KERAS_B"
    )


@pytest.mark.parametrize(
    ("package", "backend", "message"),
    [
        ("none", "thaeno", "Keras' backend 'thaeno', chosen by KERAS_BACKEND,"),
        ("keras", "tensorflow", "keras_bn4 needs Keras 3, which is not installed"),
    ],
)
def test_an_unknown_backend_and_no_keras(package, backend, message, tmp_path):
    arguments = {"folder": tmp_path, "package": package, "backend": backend}
    status, _, errors = run("-m", "keras_bn4", "--version", **arguments)
    assert status == 1
    assert errors.startswith(f"error: {message}")
    assert errors.endswith("tensorflow, jax and torch.\n")
    assert errors.count("\n") == 1


def test_what_chooses_a_backend(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backends._chosen_backend() == ("torch", "KERAS_BACKEND")
    monkeypatch.delenv("KERAS_BACKEND")
    assert backends._chosen_backend() == ("tensorflow", "Keras by default")
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert backends._chosen_backend() == ("jax", str(tmp_path / "keras.json"))
    (tmp_path / "keras.json").write_text("[")
    assert backends._chosen_backend()[0] == "tensorflow"

"""The command line as a program: its exit status, and where it writes what."""

import logging
import os
import pathlib
import subprocess
import sys

import pytest

import keras_bn4
from keras_bn4.commands import inspect_model, main

ROOT = pathlib.Path(keras_bn4.__file__).parents[1]


def run_program(*arguments, folder, **environment):
    """Runs `python -m keras_bn4`, and returns its status and both its outputs."""
    # The program silences TensorFlow by itself, where the tests may run with this set.
    environment = {**os.environ, **environment}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "-m", "keras_bn4", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_version(tmp_path):
    printed = f"keras_bn4 {keras_bn4.__version__}\n"
    assert run_program("--version", folder=tmp_path) == (0, printed, "")


@pytest.mark.slow
def test_commands_that_need_no_scipy_run_without_it(tmp_path):
    (tmp_path / "scipy.py").write_text("raise ImportError('no SciPy')")
    (tmp_path / "sklearn.py").write_text("raise ImportError('no scikit-learn')")
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    status, printed, errors = run_program("--version", folder=ROOT, **environment)
    assert (status, errors) == (0, "")
    assert printed.startswith("keras_bn4 ")


@pytest.mark.slow
def test_the_help(tmp_path):
    status, printed, errors = run_program("--help", folder=tmp_path)
    assert (status, errors) == (0, "")
    assert printed.startswith("usage: keras_bn4 ")
    first_words = [line.split()[0] for line in printed.splitlines() if line.strip()]
    assert {"sweep", "inspect", "--version"} <= set(first_words)


@pytest.mark.slow
def test_wrong_arguments(tmp_path):
    status, printed, errors = run_program("nonsense", folder=tmp_path)
    assert (status, printed) == (2, "")
    assert errors.startswith("usage: keras_bn4 ")
    assert "'nonsense'" in errors


@pytest.mark.parametrize(
    "before", [["--seeds", "1"], ["--fresh"], ["--output-dir", "inspect"]]
)
def test_options_before_a_command_have_no_effect(before, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main([*before, "inspect", "model.keras"])
    errors = capsys.readouterr().err
    assert f"no effect: {before[0]}" in errors
    assert "options of inspect are given after it" in errors


def test_an_error(tmp_path):
    status, printed, errors = run_program("inspect", "MISSING.keras", folder=tmp_path)
    assert (status, printed) == (1, "")
    assert errors.startswith("error: Can't load MISSING.keras: there is no such file")


def test_warnings_of_tensorflow_are_not_shown(monkeypatch, capsys):
    logger, shown = logging.getLogger("tensorflow"), []

    def load_model(path):
        shown.append(logger.isEnabledFor(logging.WARNING))
        raise ValueError("no model")

    level = logger.level
    logger.setLevel(logging.WARNING)
    monkeypatch.setattr(inspect_model, "load_model", load_model)
    try:
        assert main.main(["inspect", "model.keras"]) == 1
        assert shown == [False]
    finally:
        logger.setLevel(level)
    assert capsys.readouterr() == ("", "error: no model\n")


def test_an_interruption(monkeypatch, capsys):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(inspect_model, "load_model", interrupt)
    assert main.main(["inspect", "model.keras"]) == 130
    printed, errors = capsys.readouterr()
    assert "the same command" in printed
    assert errors == ""

"""The command line as a program: its exit status, and where it writes what."""

import argparse
import logging
import os
import pathlib
import re
import subprocess
import sys

import pytest

import keras_bn4
from keras_bn4.commands import inspect_model, main

ROOT = pathlib.Path(keras_bn4.__file__).parents[1]


def run_program(*arguments, folder, reads=True, **environment):
    """Runs `python -m keras_bn4`, and returns its status and both its outputs.

    Args:
        arguments: Its arguments.
        folder: Where it runs.
        reads: Whether anybody reads what it prints.
        environment: What is different in its environment.
    """
    # The program silences TensorFlow by itself, where the tests may run with this set.
    environment = {**os.environ, **environment}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    with subprocess.Popen(
        [sys.executable, "-m", "keras_bn4", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        if not reads:
            process.stdout.close()
            return process.wait(300), None, process.stderr.read().decode()
        outputs = process.communicate(timeout=300)
    return process.returncode, *(text.decode() for text in outputs)


@pytest.mark.slow
def test_an_error_of_the_program_without_what_it_does_not_need(tmp_path):
    (tmp_path / "scipy.py").write_text("raise ImportError('no SciPy')")
    (tmp_path / "sklearn.py").write_text("raise ImportError('no scikit-learn')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    status, printed, errors = run_program(
        "inspect", "MISSING.keras", folder=tmp_path, PYTHONPATH=path
    )
    assert (status, printed) == (1, "")
    assert errors.startswith("error: Cannot load MISSING.keras: there is no such file")
    assert errors.count("\n") == 1


def test_the_version_and_the_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main.main(["--version"])
    assert capsys.readouterr() == (f"keras_bn4 {keras_bn4.__version__}\n", "")
    with pytest.raises(SystemExit, match="0"):
        main.main(["--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: keras_bn4 ")
    assert {"sweep", "inspect", "--version"} <= set(printed.split())
    assert "results/digits" in printed


def options_of(monkeypatch):
    """The options of the program and of its commands, each with its parser's name."""
    parsers = []
    monkeypatch.setattr(
        argparse.ArgumentParser, "parse_args", lambda self, _: parsers.append(self)
    )
    with pytest.raises(AttributeError):
        main._parse([])
    (commands,) = [x for x in parsers[0]._actions if x.choices and not x.option_strings]
    for parser in (*parsers, *commands.choices.values()):
        for option in parser._actions:
            yield parser, option


def test_every_default_is_in_the_help(monkeypatch):
    for parser, option in options_of(monkeypatch):
        if option.default in (None, False, argparse.SUPPRESS):
            continue
        text = parser._get_formatter()._expand_help(option)
        values = option.default
        for value in values if isinstance(values, (list, tuple)) else [values]:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            assert re.search(rf"\(default: [^)]*{re.escape(shown)}", text), option.dest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "'nonsense'"),
        (["sweep"], "required: MODEL.keras"),
        (["--seeds", "1", "inspect", "m"], "no effect: --seeds 1"),
        (["--output-dir", "sweep", "inspect", "m"], "options of inspect are given aft"),
        (
            ["inspect", "MISSING.keras"],
            "Cannot load MISSING.keras: there is no such fi",
        ),
        (["inspect", "a" * 256], "File name too long"),
    ],
)
def test_errors_have_one_exit_status(arguments, message, capsys):
    try:
        status = main.main(arguments)
    except SystemExit as ended:
        status = ended.code
    printed, errors = capsys.readouterr()
    assert (status, printed) == (main.ERROR, "")
    assert errors.splitlines()[-1].startswith("error: ")
    assert message in errors


@pytest.mark.slow
def test_a_reader_that_has_gone(model, tmp_path):
    status, _, errors = run_program(
        "inspect", model, folder=tmp_path, reads=False, PYTHONUNBUFFERED=""
    )
    assert (status, errors) == (1, "")


@pytest.mark.slow
def test_a_terminal_without_greek_letters(model, tmp_path):
    status, printed, errors = run_program(
        "inspect", model, folder=tmp_path, PYTHONIOENCODING="ascii"
    )
    assert (status, errors) == (0, "")
    assert printed.isascii()
    assert r"\u03b1" in printed


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


# Presses Ctrl-C when the package begins to import Keras.
WHILE_IMPORTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "keras":
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


def test_an_interruption_of_the_import(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WHILE_IMPORTING)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    found = run_program("sweep", "model.keras", folder=tmp_path, PYTHONPATH=path)
    assert found == (130, "Interrupted.\n", "")

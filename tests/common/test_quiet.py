"""Standard error while a backend is imported."""

import os
import sys

import pytest

from keras_bn4.common.quiet import quiet_in_commands

NOISE = b"noise of a backend\n"


@pytest.fixture
def in_command(monkeypatch):
    """Lets this process pass for a command of the package."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/keras_bn4", "--help"])
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")


def test_a_program_of_the_user_hears_everything(capfd):
    with quiet_in_commands():
        os.write(2, NOISE)
    assert capfd.readouterr().err == NOISE.decode()


@pytest.mark.parametrize(
    ("argv", "orig_argv", "quiet"),
    [
        (["/usr/bin/keras_bn4"], [], True),
        (["C:/Scripts/keras_bn4.exe"], [], True),
        (["/folder/of_keras_bn4.py"], [], False),
        ([], [], False),
        (["-m"], ["python", "-m", "keras_bn4", "sweep"], True),
        (["-m"], ["python", "-m", "keras_bn4.experiments.speed"], True),
        (["-m"], ["python", "-m", "pytest"], False),
        (["-m"], ["python", "-mkeras_bn4", "--help"], True),
        (["-m"], ["python", "-um", "keras_bn4"], True),
        (["-m"], ["python", "-Ximporttime", "-m", "keras_bn4"], True),
        (["-m"], ["python", "-W", "ignore", "-um", "mine.train"], False),
        (["-m"], ["python"], False),
    ],
)
def test_what_is_a_command(argv, orig_argv, quiet, in_command, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    with quiet_in_commands():
        os.write(2, NOISE)
    os.write(2, b"afterwards")
    heard = b"" if quiet else NOISE
    assert capfd.readouterr().err == heard.decode() + "afterwards"


def fail(error):
    with quiet_in_commands():
        os.write(2, NOISE)
        raise error


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        (ImportError("no backend"), 1, ("", "error: no backend\n")),
        (KeyboardInterrupt(), 130, ("Interrupted.\n", "")),
    ],
)
def test_an_import_that_ends_is_said_in_one_line(
    error, status, printed, in_command, capfd
):
    with pytest.raises(SystemExit) as ended:
        fail(error)
    assert ended.value.code == status
    assert capfd.readouterr() == printed


def test_other_errors_bring_back_what_was_held(in_command, capfd):
    with pytest.raises(RuntimeError):
        fail(RuntimeError())
    assert capfd.readouterr().err == NOISE.decode()

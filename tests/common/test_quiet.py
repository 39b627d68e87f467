"""Standard error while a backend is imported, and Ctrl-C where it would print more."""

import os
import signal
import subprocess
import sys

import pytest

from keras_bn4.common import quiet
from keras_bn4.common.quiet import quiet_in_commands

NOISE = b"noise of a backend\n"


@pytest.fixture
def in_command(monkeypatch):
    """Lets this process pass for a command of the package."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/keras_bn4", "--help"])
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setattr("keras_bn4.common.quiet._end_when_interrupted", lambda: None)


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


def test_an_import_that_fails_is_said_in_one_line(in_command, capfd):
    with pytest.raises(SystemExit) as ended:
        fail(ImportError("no backend"))
    assert ended.value.code == 1
    assert capfd.readouterr().err == "error: no backend\n"


def test_other_errors_bring_back_what_was_held(in_command, capfd):
    with pytest.raises(RuntimeError):
        fail(RuntimeError())
    assert capfd.readouterr().err == NOISE.decode()


# A command, without Keras.
COMMAND = f"""
import atexit, os, signal, sys, time
sys.path.insert(0, {os.path.dirname(quiet.__file__)!r})
sys.argv[0] = "keras_bn4"
import quiet

def press(*args):
    os.kill(os.getpid(), signal.SIGINT)

with quiet.quiet_in_commands():
    pass
quiet.let_interrupts_raise()
"""
AFTER_THE_COMMAND = """
atexit.register(press)
print("result")
quiet.let_interrupts_end()
"""
TWICE = """
try:
    press()
except KeyboardInterrupt:
    quiet.let_interrupts_end()
    print("one line", flush=True)
    press()
"""
WHERE_PYTHON_ONLY_PRINTS = """
class Collected:
    __del__ = press

try:
    Collected()
    time.sleep(20)
except KeyboardInterrupt:
    print("raised")
"""


@pytest.mark.parametrize(
    ("code", "status", "printed"),
    [
        (AFTER_THE_COMMAND, 130, "result\nInterrupted.\n"),
        (TWICE, 130, "one line\n"),
        (WHERE_PYTHON_ONLY_PRINTS, 0, "raised\n"),
    ],
    ids=["after the command", "twice", "where Python only prints"],
)
def test_an_interrupt_prints_one_line(code, status, printed):
    done = subprocess.run(
        [sys.executable, "-c", COMMAND + code],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, printed, "")

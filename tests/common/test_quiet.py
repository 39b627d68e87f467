"""Ctrl-C at moments when a `KeyboardInterrupt` would be printed or lost."""

import os
import signal
import subprocess
import sys

import pytest

from keras_bn4.common import quiet

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

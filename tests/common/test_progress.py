"""A bar on a terminal and in a notebook, few plain lines anywhere else."""

import contextlib
import os
import pathlib
import re

import keras
import numpy as np
import pytest

import keras_bn4
from keras_bn4.common import progress

# What moves the cursor or sets colors.
CONTROL = re.compile(r"[\x08\r\x1b]")
OPEN = {"terminal": os.openpty, "pipe": os.pipe}


def printed(where, work):
    """What a function prints where standard output is a terminal or a pipe."""
    reading, writing = OPEN[where]()
    chunks = []
    try:
        with open(writing, "w") as stdout, contextlib.redirect_stdout(stdout):
            work()
        # What a terminal shows arrives in parts, and its end is an error.
        with contextlib.suppress(OSError):
            while chunk := os.read(reading, 1 << 16):
                chunks.append(chunk)
    finally:
        os.close(reading)
    # Terminals end their lines by a carriage return, too.
    return b"".join(chunks).decode().replace("\r\n", "\n")


def many_steps():
    bar = progress.progress_bar(200, unit_name="network")
    for _ in range(200):
        bar.add(1)
    bar.update(200)


def test_a_bar_on_a_terminal():
    text = printed("terminal", many_steps)
    assert CONTROL.search(text)
    assert "200/200" in text
    assert "/network" in text


def test_one_line_of_short_work_in_a_pipe():
    assert printed("pipe", many_steps) == "network 200 of 200 after 0 s\n"


def test_lines_from_time_to_time(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0)

    def work():
        progress.progress_bar(3).update(2)
        of_unknown_length = progress.progress_bar(None)
        of_unknown_length.add(5)
        of_unknown_length.add(1)

    lines = ["step 2 of 3 after 0 s", "step 5 after 0 s", "step 6 after 0 s", ""]
    assert printed("pipe", work).split("\n") == lines


@pytest.mark.parametrize("where", OPEN)
def test_silence(where):
    def work():
        progress.progress_bar(1, verbose=0).add(1)
        keras.config.disable_interactive_logging()
        try:
            progress.progress_bar(1).add(1)
        finally:
            keras.config.enable_interactive_logging()

    assert printed(where, work) == ""


@pytest.mark.parametrize(
    ("where", "verbose", "expected"),
    [
        ("terminal", "auto", r"\r.*3/3.*loss.*\n"),
        ("pipe", "auto", r"step 3 of 3 after \d s\n"),
        ("pipe", 1, r"step 3 of 3 after \d s\n"),
        ("pipe", 2, r"3/3 - .*loss.*\n"),
        ("pipe", 0, ""),
    ],
)
def test_evaluation(where, verbose, expected):
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.ReLU()(inputs))
    model.compile(loss="mse")
    x = np.ones((6, 1), "float32")

    def work():
        model.evaluate(x, x, batch_size=2, **progress.of_evaluation(verbose))

    assert re.fullmatch(expected, printed(where, work), re.DOTALL)


def test_all_bars_are_made_here():
    folder = pathlib.Path(keras_bn4.__file__).parent
    with_bars = [p for p in folder.rglob("*.py") if "Progbar(" in p.read_text()]
    assert with_bars == [folder / "common" / "progress.py"]

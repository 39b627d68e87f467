"""Shows the progress of long work: a bar on a screen, few plain lines in a file."""

import sys
import time

import keras

# At least this long between two lines.
SECONDS = 30


def progress_bar(target, *, unit_name="step", verbose=1):
    """Makes a `keras.utils.Progbar`, or what prints plain lines in its place.

    A bar is drawn on a terminal and in a notebook. Anywhere else, such as in a file or
    a pipe, it would be hundreds of lines of control characters. There a line is printed
    every half a minute at most, and at the end.

    Args:
        target: Integer, how many units there are, or `None` if that isn't known.
        unit_name: String, what one unit of the work is called.
        verbose: Whether to show anything.

    Returns:
        An object with the methods `update(current)` and `add(n)`.
    """
    if not verbose or _has_bars():
        return keras.utils.Progbar(
            target, verbose=int(bool(verbose)), unit_name=unit_name
        )
    return _Lines(target, unit_name)


def of_evaluation(verbose):
    """What to give to `model.evaluate` so that its progress is shown in the same way.

    Args:
        verbose: As `model.evaluate` takes it.

    Returns:
        Dict of arguments.
    """
    if verbose in (1, "auto") and not _has_bars():
        return {"verbose": 0, "callbacks": [_OfEvaluation()]}
    return {"verbose": verbose}


def _has_bars():
    """Whether bars can be drawn, or Keras was told not to print at all."""
    if not keras.config.is_interactive_logging_enabled():
        return True
    is_terminal = getattr(sys.stdout, "isatty", lambda: False)()
    return is_terminal or type(sys.stdout).__module__.startswith("ipykernel")


class _Lines:
    def __init__(self, target, unit_name):
        self._target = target
        self._unit_name = unit_name
        self._current = 0
        self._start = self._printed = time.monotonic()
        self._is_finished = False

    def update(self, current):
        self._current = current
        now = time.monotonic()
        is_finished = self._target is not None and current >= self._target
        if self._is_finished or not (is_finished or now - self._printed >= SECONDS):
            return
        self._is_finished, self._printed = is_finished, now
        of = "" if self._target is None else f" of {self._target}"
        seconds = round(now - self._start)
        # Flushed, because whoever reads the file wants to see whether work goes on.
        print(f"{self._unit_name} {current}{of} after {seconds} s", flush=True)

    def add(self, n):
        self.update(self._current + n)


class _OfEvaluation(keras.callbacks.Callback):
    def on_test_begin(self, logs=None):
        self._progress = progress_bar(self.params["steps"])

    def on_test_batch_end(self, batch, logs=None):
        self._progress.update(batch + 1)

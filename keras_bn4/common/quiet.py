"""Keeps what a backend writes while it is imported out of the output of commands."""

import contextlib
import os
import pathlib
import re
import signal
import sys
import tempfile
import threading

INTERRUPTED = 130


@contextlib.contextmanager
def quiet_in_commands():
    """Holds back standard error in a command of this package, unless it fails.

    TensorFlow writes lines about processors and drivers to standard error while it is
    imported, and no setting stops the first of them. In a program of the user's own,
    nothing is held back. In a command, an `ImportError` and Ctrl-C end the process with
    one line.
    """
    if not _is_command():
        yield
        return
    # For what TensorFlow writes later.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        standard_error = os.dup(2)
        os.dup2(held.fileno(), 2)
        _end_when_interrupted()
        try:
            yield
        except ImportError as error:
            os.dup2(standard_error, 2)
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except BaseException:
            os.dup2(standard_error, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _end_when_interrupted():
    """Lets Ctrl-C end the process at once, as long as nothing has to be kept.

    A `KeyboardInterrupt` within an import can be swallowed by the module that is
    imported, or leave it half made.
    """
    if _handles_interrupts(signal.default_int_handler):
        signal.signal(signal.SIGINT, _end)


def let_interrupts_raise():
    """Lets Ctrl-C raise `KeyboardInterrupt` again, for a command that can end well."""
    if _handles_interrupts(_end):
        signal.signal(signal.SIGINT, _raise)
        sys.unraisablehook = _interrupt_again


def let_interrupts_end():
    """Lets Ctrl-C end the process at once again, when a command has ended.

    A `KeyboardInterrupt` while Python shuts down would be printed with its traceback.
    """
    sys.stdout.flush()
    if _handles_interrupts(_raise):
        signal.signal(signal.SIGINT, _end)


def was_interrupted():
    """Whether there was a Ctrl-C since `let_interrupts_raise`.

    Compiled functions of a backend turn a `KeyboardInterrupt` into other errors.
    """
    return bool(_interrupts)


def _handles_interrupts(handler):
    # Only the main thread may set handlers.
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is handler


_interrupts = []


def _raise(number, frame):
    _interrupts.append(number)
    raise KeyboardInterrupt


def _interrupt_again(unraisable):
    """Repeats an interrupt that was raised where Python only prints exceptions.

    Such a place is JAX's callback of the garbage collector.
    """
    if unraisable.exc_type is KeyboardInterrupt:
        again = (os.getpid(), signal.SIGINT)
        threading.Timer(0.05, os.kill, again).start()
    else:
        sys.__unraisablehook__(unraisable)


def _end(number, frame):
    # One line is enough, however often the keys are pressed.
    if not was_interrupted():
        os.write(1, b"Interrupted.\n")
    os._exit(INTERRUPTED)


def _is_command():
    """Whether this process is `keras_bn4` or `python -m keras_bn4`, or a part of it."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":
        # Python looks for the module to run, and imports its package on the way.
        program = _module(sys.orig_argv).split(".")[0]
    return pathlib.Path(program).stem == "keras_bn4"


def _module(arguments):
    """The module that Python was told to run, where `-m` can be joined with others."""
    for i, argument in enumerate(arguments[1:], 1):
        # The letters are the options of Python that take no argument.
        if found := re.match(r"-[bBdEiIOPqsSuvx]*m(.*)", argument):
            return found[1] or "".join(arguments[i + 1 : i + 2])
    return ""

"""Standard error of commands without the log of a backend's import."""

import contextlib
import os
import pathlib
import re
import sys
import tempfile

INTERRUPTED = 130


@contextlib.contextmanager
def quiet_in_commands():
    """Holds back standard error in a command of this package, unless it fails.

    TensorFlow writes lines about processors and drivers to standard error while it is
    imported, and no setting stops the first of them. In other programs nothing is held
    back. In a command, an `ImportError` and Ctrl-C end the process with one line.
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
        try:
            yield
        except KeyboardInterrupt:
            print("Interrupted.")
            sys.exit(INTERRUPTED)
        except ImportError as error:
            os.write(standard_error, f"error: {error}\n".encode())
            sys.exit(1)
        except BaseException:
            held.seek(0)
            os.write(standard_error, held.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


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

"""The command line `keras_bn4`: options, commands, and errors in one line."""

import argparse
import io
import logging
import os
import sys

import keras_bn4
from keras_bn4.commands import demo, inspect_model, shift, sweep
from keras_bn4.common.quiet import INTERRUPTED

ERROR = 1


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors exit with `ERROR`, as all others do."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(ERROR, f"error: {message}\n")


def main(arguments=None):
    """Runs the command that the arguments name.

    Args:
        arguments: List of strings, or `None` for those of the process.

    Returns:
        Integer, the exit status of the process.
    """
    arguments = sys.argv[1:] if arguments is None else list(map(str, arguments))
    return finish(_parse, arguments)


def _parse(arguments):
    parser = Parser(
        prog="keras_bn4",
        description="Without a command, trains small networks on scikit-learn's "
        "digits with Keras' batch normalization, makes them robust to shifted images "
        "without training them any further, and shows the rest of the paper in "
        "miniature: two tables and a figure. If it was interrupted, it continues where "
        "it stopped.",
    )
    parser.add_argument(
        "--version", action="version", version=f"keras_bn4 {keras_bn4.__version__}"
    )
    demo.add_options(parser)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command_name"
    )
    for command in (sweep, shift, inspect_model):
        command.add(commands)
    options = parser.parse_args(arguments)
    if options.command_name is not None:
        before = arguments[: arguments.index(options.command_name)]
        if before:
            parser.error(
                f"options of {options.command_name} are given after it, and these have "
                f"no effect: {' '.join(before)}"
            )
    return options


def finish(parse, arguments=None):
    """Runs a command and prints its errors, each on one line.

    Args:
        parse: Function of the arguments that returns the options, with the function to
            run, of the options, as `command`.
        arguments: List of strings, or `None` for those of the process.

    Returns:
        Integer, the exit status of the process.
    """
    # TensorFlow warns about the functions of many models.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Not every terminal has Greek letters, nor is every file name Unicode.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            options = parse(arguments)
            options.command(options)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        # A progress bar may stand on the last line.
        print(
            "\nInterrupted. The demonstration, trainings and searches continue where "
            "they stopped with the same command, without `--fresh`."
        )
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe, and Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    return 0

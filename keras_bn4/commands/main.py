"""Parses the command line `keras_bn4`, runs a command, and prints errors."""

import argparse
import logging
import sys

import keras_bn4
from keras_bn4.commands import inspect_model, miniature, sweep
from keras_bn4.common.quiet import (
    INTERRUPTED,
    let_interrupts_end,
    let_interrupts_raise,
    was_interrupted,
)


def main(arguments=None):
    """Runs the command that the arguments name.

    Args:
        arguments: List of strings, or `None` for those of the process.

    Returns:
        Integer, the exit status of the process.
    """
    parser = argparse.ArgumentParser(
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
    miniature.add_options(parser)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command_name"
    )
    for command in (sweep, inspect_model):
        command.add(commands)
    arguments = sys.argv[1:] if arguments is None else list(map(str, arguments))
    options = parser.parse_args(arguments)
    if options.command_name is not None:
        before = arguments[: arguments.index(options.command_name)]
        if before:
            parser.error(
                f"options of {options.command_name} are given after it, and these have "
                f"no effect: {' '.join(before)}"
            )
    return finish(options)


def finish(options):
    """Runs `options.command`, prints its errors, and returns the exit status."""
    # TensorFlow warns of the many functions that many models make.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        let_interrupts_raise()
        options.command(options)
    except BaseException as error:
        let_interrupts_end()
        if isinstance(error, KeyboardInterrupt) or was_interrupted():
            # A progress bar may stand on the last line.
            without = ", without `--fresh`" if getattr(options, "fresh", False) else ""
            print(
                "\nInterrupted. The digits, and the trainings and searches of the "
                f"experiments, go on with the same command{without}, from where they "
                "stopped."
            )
            return INTERRUPTED
        if not isinstance(error, (ValueError, OSError, ImportError, RuntimeError)):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        let_interrupts_end()
    return 0

"""`keras_bn4` without a command: shifted digits, and the paper in miniature."""

import pathlib

from keras_bn4 import demo
from keras_bn4.commands.inputs import add_output_dir, check_folder


def add_options(parser):
    """Adds the options of the miniature to the parser of the program."""
    parser.add_argument(
        "--seeds",
        type=int,
        default=10,
        help="networks to measure on shifted digits (default: 10)",
    )
    parser.add_argument(
        "--miniature-seeds",
        type=int,
        default=5,
        help="networks in each row of the miniature (default: 5)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=300,
        help="training steps of a network (default: 300)",
    )
    add_output_dir(parser, "results/digits")
    parser.add_argument("--fresh", action="store_true", help="discard earlier results")
    parser.set_defaults(command=run)


def run(options):
    """Trains the networks, prints a table, and draws a figure."""
    check_folder(options.output_dir)
    results = demo.run(
        seeds=options.seeds,
        miniature_seeds=options.miniature_seeds,
        steps=options.steps,
        output_dir=options.output_dir,
        fresh=options.fresh,
    )
    figure = pathlib.Path(options.output_dir, "digits.png")
    print(demo.table(results))
    demo.figure(results, figure)
    print(f"\nFigure: {figure}")

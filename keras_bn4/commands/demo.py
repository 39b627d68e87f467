"""`keras_bn4` without a command: shifted digits, and the paper in miniature."""

import pathlib

from keras_bn4 import demo
from keras_bn4.commands.inputs import add_output_dir, check_folder
from keras_bn4.common.errors import reason_of

NEXT = """\
Next, your own trained model, on images with a folder for each class:
  python -m keras_bn4 shift MODEL.keras --dataset FOLDER"""


def add_options(parser):
    """Adds the options of the demonstration to the parser of the program."""
    parser.add_argument(
        "--seeds",
        type=int,
        default=10,
        help="networks to measure on shifted digits (default: %(default)s)",
    )
    parser.add_argument(
        "--miniature-seeds",
        type=int,
        default=5,
        help="networks in each row of the miniature (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=300,
        help="training steps of a network (default: %(default)s)",
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
    try:
        print(demo.table(results))
        demo.figure(results, figure)
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(
            f"{figure.with_name('results.json')} holds other results than this "
            f"program writes ({reason_of(error)}). Remove it, or give --fresh."
        ) from error
    print(f"\nFigure: {figure}\n\n{NEXT}")

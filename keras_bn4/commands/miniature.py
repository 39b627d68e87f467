"""The main job, without a command: the paper in miniature on scikit-learn's digits."""

import pathlib

from keras_bn4.experiments import digits


def add_options(parser):
    """Adds the options of the main job to the parser of the program."""
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--steps", type=int, default=300, help="of training (300)")
    parser.add_argument("--output-dir", default="results/digits")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.set_defaults(command=run)


def run(options):
    """Trains, prints a table, and draws a figure."""
    results = digits.run(
        seeds=options.seeds,
        steps=options.steps,
        output_dir=options.output_dir,
        fresh=options.fresh,
    )
    figure = pathlib.Path(options.output_dir, "digits.png")
    print(digits.table(results))
    digits.figure(results, figure)
    print(f"\nFigure: {figure}")

"""Searches how to normalize, and compares the best on test data."""

import pathlib
import sys

from keras_bn4.commands.inputs import add_data_dir, add_output_dir, check_folder
from keras_bn4.commands.main import Parser, finish

OPTIONS = {
    "dataset": ("digits", "'digits', or a name of tensorflow-datasets"),
    "examples": (10_000, "images to train on, for other data sets than digits"),
    "trials": (12, "number of trials"),
    "executions": (1, "trainings of each trial, every one with a seed of its own"),
    "epochs": (None, "epochs of a training"),
    "objective": ("val_cross_entropy", "val_cross_entropy, val_accuracy or val_loss"),
    "repeats": (5, "seeds with which the best is compared on test data"),
    "seed": (0, "seed of the search"),
}


def main(arguments=None):
    """Runs the search that the arguments describe, and returns the exit status."""
    parser = Parser(
        prog="python -m keras_bn4.experiments.tune",
        description="Searches the kind of statistics, ghosts, channel groups, decay of "
        "γ and β, and the example weight, then compares the best with Keras' layer on "
        "test data. If it was interrupted, it continues where it stopped.",
    )
    for name, (default, text) in OPTIONS.items():
        shown = "75 for digits, else 12" if name == "epochs" else default
        parser.add_argument(
            f"--{name}",
            type=str if isinstance(default, str) else int,
            default=default,
            help=f"{text} (default: {shown})",
        )
    add_data_dir(parser)
    add_output_dir(parser, "results/tune")
    parser.add_argument("--fresh", action="store_true", help="discard earlier results")
    parser.set_defaults(command=run)
    return finish(parser.parse_args, arguments)


def run(options):
    """Searches with Keras Tuner and prints what it found."""
    check_folder(options.output_dir)
    # Imported here, because Keras Tuner takes seconds to import, also for `--help`.
    from keras_bn4.experiments import tune

    arguments = {name: getattr(options, name) for name in (*OPTIONS, "data_dir")}
    found = tune.run(**arguments, output_dir=options.output_dir, fresh=options.fresh)
    if found is None:
        return
    trials, repeats = found
    print(f"\n{trials}\n")
    if repeats:
        print(f"{tune.table(repeats)}\n")
    folder = pathlib.Path(options.output_dir)
    trials.to_csv(folder / "trials.csv")
    trials.plot().savefig(folder / "trials.png")
    print(f"Trials: {folder / 'trials.csv'}\nFigure: {folder / 'trials.png'}")


if __name__ == "__main__":
    sys.exit(main())

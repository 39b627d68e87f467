"""Searches how to normalize, and compares the best on test data."""

import pathlib
import sys

from keras_bn4.commands.inputs import add_data_dir, add_output_dir, check_folder
from keras_bn4.commands.main import Parser, finish


def main(arguments=None):
    """Runs the search that the arguments describe, and returns the exit status."""
    tune = Parser(
        prog="python -m keras_bn4.experiments.tune",
        description="Searches the kind of statistics, ghosts, channel groups, decay of "
        "γ and β, and the example weight, then compares the best with Keras' layer on "
        "test data. If it was interrupted, it continues where it stopped.",
    )
    tune.add_argument(
        "--dataset",
        default="digits",
        help="'digits' (default), or a name of tensorflow-datasets such as cifar100",
    )
    add_data_dir(tune)
    tune.add_argument(
        "--examples",
        type=int,
        default=10_000,
        help="images to train on, for other data sets than digits (default: 10,000)",
    )
    tune.add_argument(
        "--trials", type=int, default=12, help="number of trials (default: 12)"
    )
    tune.add_argument(
        "--executions",
        type=int,
        default=1,
        help="trainings of each trial, every one with a seed of its own (default: 1)",
    )
    tune.add_argument(
        "--epochs",
        type=int,
        help="epochs of a training (default: 75 for digits, else 12)",
    )
    tune.add_argument(
        "--objective",
        default="val_cross_entropy",
        help="val_cross_entropy (default), val_accuracy or val_loss",
    )
    tune.add_argument(
        "--repeats",
        type=int,
        default=5,
        help="seeds with which the best is compared on test data (default: 5)",
    )
    tune.add_argument(
        "--seed", type=int, default=0, help="seed of the search (default: 0)"
    )
    tune.add_argument(
        "--workers",
        type=int,
        default=0,
        help="worker processes that search; with 0, this process searches (default: 0)",
    )
    add_output_dir(tune, "results/tune")
    tune.add_argument("--fresh", action="store_true", help="discard earlier results")
    tune.set_defaults(command=run)
    return finish(tune.parse_args, arguments)


def run(options):
    """Searches with Keras Tuner and prints what it found."""
    check_folder(options.output_dir)
    # Imported here, because Keras Tuner takes seconds to import and only this command
    # needs it.
    from keras_bn4.experiments import tune

    found = tune.run(
        options.dataset,
        data_dir=options.data_dir,
        examples=options.examples,
        trials=options.trials,
        executions=options.executions,
        epochs=options.epochs,
        objective=options.objective,
        repeats=options.repeats,
        seed=options.seed,
        workers=options.workers,
        output_dir=options.output_dir,
        fresh=options.fresh,
    )
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

"""Command line of the search, which is then compared on test data."""

import pathlib
import sys

from keras_bn4.experiments import command

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
    options = {}
    for name, (default, text) in OPTIONS.items():
        shown = "75 for digits, else 12" if name == "epochs" else default
        options[f"--{name}"] = {
            "type": str if isinstance(default, str) else int,
            "default": default,
            "help": f"{text} (default: {shown})",
        }
    options["--fresh"] = {"action": "store_true", "help": "discard earlier results"}
    return command.main(
        "keras_bn4.experiments.tune",
        "Searches the kind of statistics, ghosts, channel groups, decay of γ and β, "
        "and the example weight, then compares the best with Keras' layer on test "
        "data. If it was interrupted, it continues where it stopped.",
        run,
        options,
        arguments,
        output_dir="results/tune",
    )


def run(output_dir, **options):
    """Searches with Keras Tuner and prints what it found."""
    # Imported here, because Keras Tuner takes seconds to import, also for `--help`.
    from keras_bn4.experiments import tune

    found = tune.run(output_dir=output_dir, **options)
    if found is None:
        return
    trials, repeats = found
    print(f"\n{trials}\n")
    if repeats:
        print(f"{tune.table(repeats)}\n")
    folder = pathlib.Path(output_dir)
    trials.to_csv(folder / "trials.csv")
    trials.plot().savefig(folder / "trials.png")
    print(f"Trials: {folder / 'trials.csv'}\nFigure: {folder / 'trials.png'}")


if __name__ == "__main__":
    sys.exit(main())

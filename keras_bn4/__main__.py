"""Commands: `python -m keras_bn4`, `sweep` and `inspect` for a model, `tune`."""

import argparse
import pathlib
import sys

from keras_bn4 import tables
from keras_bn4.advice import advise
from keras_bn4.convert import convert
from keras_bn4.example_weight import (
    EXAMPLE_WEIGHTS,
    set_example_weight,
    sweep_example_weight,
    weighing_layers,
)
from keras_bn4.experiments import digits, digits_report
from keras_bn4.files import compile_as_classifier, load_data, load_model
from keras_bn4.paths import normalization_paths


def main(arguments=None):
    """Runs a command. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_bn4",
        description="Without a command: the paper in miniature. Trains small networks "
        "on scikit-learn's digits with Keras' batch normalization and with ghosts, "
        "weighs examples, prints a table and draws a figure. Interrupted, it goes on "
        "where it stopped.",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--steps", type=int, default=300, help="of training (300)")
    parser.add_argument("--output-dir", default="results/digits")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.set_defaults(command=run_digits)
    commands = parser.add_subparsers(title="commands", metavar="")
    _add_sweep(commands)
    _add_inspect(commands)
    _add_tune(commands)
    options = parser.parse_args(arguments)
    try:
        options.command(options)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Digits and searches go on with the same command.")
        return 130
    return 0


def run_digits(options):
    """The main job."""
    results = digits.run(
        seeds=options.seeds,
        steps=options.steps,
        output_dir=options.output_dir,
        fresh=options.fresh,
    )
    figure = pathlib.Path(options.output_dir, "digits.png")
    print(digits_report.table(results))
    digits_report.figure(results, figure)
    print(f"\nFigure: {figure}")


def _add_sweep(commands):
    sweep = commands.add_parser(
        "sweep",
        help="find the example weight of a saved model",
        description="Evaluates a saved model at many example weights in one pass over "
        "validation data. Its batch normalization is converted first.",
    )
    sweep.add_argument("model", metavar="MODEL.keras", help="a compiled classifier")
    sweep.add_argument(
        "--dataset",
        required=True,
        help="'digits', a name of tensorflow-datasets, or an .npz file with x and y",
    )
    sweep.add_argument("--data-dir", help="folder of tensorflow-datasets")
    sweep.add_argument("--split", default="test", help="such as 'test[:50%%]' (test)")
    sweep.add_argument("--download", action="store_true", help="fetch the data set")
    sweep.add_argument("--metric", default="loss", help="that decides (default loss)")
    sweep.add_argument("--batch-size", type=int, default=128)
    sweep.add_argument(
        "--example-weights", type=float, nargs="+", default=EXAMPLE_WEIGHTS
    )
    sweep.add_argument("--save", metavar="OUT.keras", help="the model with the best")
    sweep.add_argument("--csv", metavar="FILE", help="all rows")
    sweep.add_argument("--plot", metavar="FILE", help="differences to weight 0")
    sweep.set_defaults(command=run_sweep)


def run_sweep(options):
    """Sweeps the example weight of a saved model."""
    for path in (options.save, options.csv, options.plot):
        if path and not pathlib.Path(path).absolute().parent.is_dir():
            raise ValueError(f"Can't write {path}: there is no such folder.")
    if options.save and not options.save.endswith(".keras"):
        raise ValueError(f"--save must end in '.keras'. Received: {options.save}.")
    model = load_model(options.model)
    x, y = load_data(
        options.dataset,
        options.split,
        data_dir=options.data_dir,
        download=options.download,
    )
    if not model.compiled:
        compile_as_classifier(model, x)
    try:
        weighing_layers(model)
    except ValueError:
        model = convert(model)
        print(f"Converted {len(model.conversion_report.converted)} layers.")
    result = sweep_example_weight(
        model,
        x,
        y,
        example_weights=options.example_weights,
        batch_size=options.batch_size,
    )
    best = result.best(options.metric)["example_weight"]
    print(result)
    for metric in result.metrics:
        row, name = result.best(metric), f"{metric}_difference"
        print(
            f"Best {metric}: {row[metric]:.6g} at {row['example_weight']:g}, a change "
            f"of {row[name]:+.3g} with 95 % interval "
            f"[{row[f'{name}_lower']:+.3g}, {row[f'{name}_upper']:+.3g}]"
        )
    if options.csv:
        result.to_csv(options.csv)
    if options.plot:
        result.plot().savefig(options.plot, dpi=150)
    if options.save:
        set_example_weight(model, best)
        model.save(options.save)
        print(
            f"Saved {options.save} with example weight {best:g}. Programs that load it "
            "need `import keras_bn4`."
        )


def _add_inspect(commands):
    inspect = commands.add_parser(
        "inspect",
        help="list the normalizers of a saved model, with advice",
        description="Lists the normalizers of a saved model, says which of their γ and "
        "β can act on the output (Sec. 3.3), and what the paper's findings advise.",
    )
    inspect.add_argument("model", metavar="MODEL.keras")
    inspect.add_argument("--batch-size", type=int, help="of the training")
    inspect.add_argument(
        "--overfits",
        choices=("yes", "no"),
        help="whether it does much better on its training data than on others",
    )
    inspect.set_defaults(command=run_inspect)


def run_inspect(options):
    """Prints normalizers, paths and advice for a saved model."""
    model = load_model(options.model)
    overfits = {None: None, "yes": True, "no": False}[options.overfits]
    advice = advise(model, batch_size=options.batch_size, overfits=overfits)
    paths = normalization_paths(model)
    if not paths:
        print("The model has no normalizer.")
        return
    lines = [["layer", "class", "channels", "B'", "groups", "α"]]
    for row in paths:
        settings = [
            getattr(row.layer, name, None)
            for name in ("ghost_batch_size", "groups", "example_weight")
        ]
        channels = row.variables[0].shape[0] if row.variables else None
        cells = [channels, *settings]
        cells = ["" if cell is None else f"{cell:g}" for cell in cells]
        lines.append([row.name, type(row.layer).__name__, *cells])
    print(tables.text(lines, left=2), end="\n\n")
    print(paths, end="\n\n")
    for item in advice:
        print(f"- {item}")


def _add_tune(commands):
    tune = commands.add_parser(
        "tune",
        help="search all four things with Keras Tuner",
        description="Searches kind of statistics, ghosts, groups, decay of γ and β, "
        "and example weight, then compares the best with Keras' layer on test data. "
        "Interrupted, it goes on where it stopped.",
    )
    tune.add_argument("--dataset", default="digits", help="or a name such as cifar100")
    tune.add_argument("--data-dir", help="folder of tensorflow-datasets")
    tune.add_argument("--examples", type=int, default=10_000, help="images (10,000)")
    tune.add_argument("--trials", type=int, default=12, help="(12)")
    tune.add_argument(
        "--executions", type=int, default=1, help="trainings a trial, a seed each"
    )
    tune.add_argument("--epochs", type=int, help="of a training (digits 75, others 12)")
    tune.add_argument(
        "--objective",
        default="val_cross_entropy",
        help="(default val_cross_entropy), val_accuracy, or val_loss",
    )
    tune.add_argument("--repeats", type=int, default=5, help="seeds on test data (5)")
    tune.add_argument("--seed", type=int, default=0, help="of the search")
    tune.add_argument("--workers", type=int, default=0, help="processes to search with")
    tune.add_argument("--output-dir", default="results/tune")
    tune.add_argument("--fresh", action="store_true", help="forget earlier results")
    tune.set_defaults(command=run_tune)


def run_tune(options):
    """Searches with Keras Tuner and prints what it found."""
    # It needs Keras Tuner, which the others don't.
    from keras_bn4 import tuner  # noqa: F401 - its error says what to install
    from keras_bn4.experiments import tune, tune_repeats

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
        print(f"{tune_repeats.table(repeats)}\n")
    folder = pathlib.Path(options.output_dir)
    trials.to_csv(folder / "trials.csv")
    trials.plot().savefig(folder / "trials.png", dpi=150)
    print(f"Trials: {folder / 'trials.csv'}\nFigure: {folder / 'trials.png'}")


if __name__ == "__main__":
    sys.exit(main())

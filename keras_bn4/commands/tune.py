"""`keras_bn4 tune`: searches all four things, and compares the best on test data."""

import pathlib


def add(commands):
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
    tune.set_defaults(command=run)


def run(options):
    """Searches with Keras Tuner and prints what it found."""
    # Only this command needs Keras Tuner, whose import takes seconds.
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
    trials.plot().savefig(folder / "trials.png", dpi=150)
    print(f"Trials: {folder / 'trials.csv'}\nFigure: {folder / 'trials.png'}")

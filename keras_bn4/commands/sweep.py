"""`keras_bn4 sweep`: finds the example weight of a saved model."""

import pathlib

from keras_bn4.commands.inputs import compile_as_classifier, load_data, load_model
from keras_bn4.common.files import written_whole
from keras_bn4.conversion import convert
from keras_bn4.example_weight import (
    EXAMPLE_WEIGHTS,
    set_example_weight,
    sweep_example_weight,
)
from keras_bn4.example_weight.setting import weighing_layers


def add(commands):
    sweep = commands.add_parser(
        "sweep",
        help="find the example weight of a saved model",
        description="Evaluates a saved model at many example weights in one pass over "
        "validation data. Its batch normalization is converted first.",
    )
    sweep.add_argument(
        "model", metavar="MODEL.keras", help="file of the model, a classifier"
    )
    sweep.add_argument(
        "--dataset",
        required=True,
        help="'digits', a name of tensorflow-datasets, or an .npz file with x and y",
    )
    sweep.add_argument("--data-dir", help="folder of tensorflow-datasets")
    sweep.add_argument(
        "--split",
        default="test",
        help="split to use, such as 'test[:50%%]' (default: test)",
    )
    sweep.add_argument(
        "--download", action="store_true", help="download the data set if necessary"
    )
    sweep.add_argument(
        "--metric", default="loss", help="metric that --save goes by (default: loss)"
    )
    sweep.add_argument(
        "--batch-size",
        type=int,
        default=128,
        help="batch size to evaluate with (default: 128)",
    )
    sweep.add_argument(
        "--example-weights",
        type=float,
        nargs="+",
        default=EXAMPLE_WEIGHTS,
        help="weights to evaluate at, from 0 to 1",
    )
    sweep.add_argument(
        "--save",
        metavar="OUT.keras",
        help="save the model with the best example weight",
    )
    sweep.add_argument("--csv", metavar="FILE", help="write the results as a CSV file")
    sweep.add_argument(
        "--plot", metavar="FILE", help="plot the differences to weight 0"
    )
    sweep.set_defaults(command=run)


def run(options):
    """Sweeps the example weight of a saved model, prints and saves what it finds."""
    for path in (options.save, options.csv, options.plot):
        if path and not pathlib.Path(path).absolute().parent.is_dir():
            raise ValueError(
                f"Can't write {path}: there is no such folder. Create it first."
            )
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
        with written_whole(options.plot) as unfinished:
            result.plot().savefig(unfinished, dpi=150)
    if options.save:
        set_example_weight(model, best)
        with written_whole(options.save) as unfinished:
            model.save(unfinished)
        print(
            f"Saved {options.save} with example weight {best:g}. Programs that load it "
            "need `import keras_bn4`."
        )

"""`keras_bn4 sweep`: finds the example weight of a saved model."""

import pathlib
import warnings

from keras_bn4.commands.data import add_data_options, load_data
from keras_bn4.commands.inputs import (
    add_example_weights,
    compile_as_classifier,
    load_model,
)
from keras_bn4.common.arguments import (
    check_example_weight,
    check_number,
)
from keras_bn4.common.figures import new_figure
from keras_bn4.common.files import check_writable, written_whole
from keras_bn4.conversion import convert
from keras_bn4.example_weight import (
    set_example_weight,
    sweep_example_weight,
)
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.example_weight.sweep_result import FAR_FROM_SURE


def add(commands):
    sweep = commands.add_parser(
        "sweep",
        help="find the example weight of a saved model",
        description="Evaluates a saved model at many example weights in one pass over "
        "validation data. Its batch normalization is converted first. Data without a "
        "validation split are cut into two halves at random: the weight is chosen on "
        "one, and its gain measured on the other. Of folders and large data sets one "
        "batch is in memory at a time.",
    )
    sweep.add_argument(
        "model", metavar="MODEL.keras", help="file of the model, a classifier"
    )
    add_data_options(sweep)
    sweep.add_argument(
        "--metric",
        default="loss",
        help="metric that --save goes by (default: %(default)s)",
    )
    sweep.add_argument(
        "--mode",
        choices=("min", "max"),
        help="what is best of this metric (default: what the metric says itself)",
    )
    add_example_weights(sweep)
    sweep.add_argument(
        "--within",
        type=float,
        metavar="AMOUNT",
        help="take the largest weight at which --metric is worse than at weight 0 by "
        "this at most, for data that may shift (default: take the best weight)",
    )
    sweep.add_argument(
        "--save",
        metavar="OUT.keras",
        help="save the model with the example weight that was chosen",
    )
    sweep.add_argument(
        "--force",
        action="store_true",
        help="save it even if the model looks untrained at weight 0",
    )
    sweep.add_argument("--csv", metavar="FILE", help="write the results as a CSV file")
    sweep.add_argument(
        "--plot", metavar="FILE", help="plot the differences to weight 0"
    )
    sweep.set_defaults(command=run)


def run(options):
    """Sweeps the example weight of a saved model, prints and saves what it finds."""
    _check(options)
    model = load_model(options.model)
    chosen_on, *measured_on = load_data(options, model)
    first = chosen_on.first()
    if not model.compiled:
        compile_as_classifier(model, first[0])
    try:
        weighing_layers(model)
    except ValueError:
        model = convert(model)
        print(f"Converted {len(model.conversion_report.converted)} layers.")

    def sweep(example_weights, schedules, *args, **keywords):
        with warnings.catch_warnings():
            # What it warns of is printed with the results.
            warnings.simplefilter("ignore", UserWarning)
            return sweep_example_weight(
                model,
                *args,
                example_weights=example_weights,
                schedule=schedules,
                mode={options.metric: options.mode},
                **keywords,
            )

    # Reports an unfit metric before anything takes long.
    _check_mode(sweep((), "uniform", *first, verbose=0), options.metric)
    result = sweep(options.example_weights, options.schedule, **chosen_on.arguments())
    print(result)
    for metric in result.metrics:
        _print_best(result, metric)
    chosen = _choose(result, options)
    weight, schedule = chosen["example_weight"], chosen["schedule"]
    for other in measured_on:
        there = sweep([weight], schedule, **other.arguments(), verbose=0)
        print(
            f"The weights were chosen on {chosen_on.count} examples drawn at random, "
            f"because there is no validation split. On the other {other.count}, "
            f"{options.metric} is "
            f"{_described(there, there.rows[-1], options.metric)}."
        )
    if options.csv is not None:
        result.to_csv(options.csv)
    if options.plot is not None:
        with written_whole(options.plot) as unfinished:
            result.plot().savefig(unfinished)
    if options.save is not None:
        if result.untrained and not options.force:
            raise ValueError(
                f"{options.save} was not saved. {result.untrained} Give --scale where "
                "the range is another, or --force to save it nevertheless."
            )
        set_example_weight(model, chosen)
        with written_whole(options.save) as unfinished:
            model.save(unfinished)
        print(
            f"Saved {options.save} with example weight {_named(chosen)}. Programs that "
            "load it need `import keras_bn4`."
        )


def _check(options):
    """Raises an error for what can be seen before anything is loaded."""
    if options.within is not None:
        check_number("within", options.within, least=0)
        if len(options.schedule) > 1:
            raise ValueError(
                "--within chooses among the weights of one schedule. Received: "
                f"--schedule {' '.join(options.schedule)}. Name one of them."
            )
    for weight in options.example_weights:
        check_example_weight(weight)
    for name in ("save", "csv", "plot"):
        path = getattr(options, name)
        if path == "":
            raise ValueError(f"--{name} must be the path of a file. Received: ''.")
        if path is not None:
            check_writable(path)
    if options.save is not None and not options.save.endswith(".keras"):
        raise ValueError(f"--save must end in '.keras'. Received: {options.save}.")
    if options.plot is not None:
        suffix = pathlib.Path(options.plot).suffix
        allowed = new_figure(1, 1).canvas.get_supported_filetypes()
        if suffix[1:].lower() not in allowed:
            raise ValueError(
                f"--plot must end in one of {['.' + x for x in sorted(allowed)]}. "
                f"Received: {options.plot}."
            )


def _check_mode(result, metric):
    try:
        result.mode(metric)
    except ValueError as error:
        if metric not in result.metrics:
            raise
        raise ValueError(
            f"Metric {metric!r} does not say whether more is better. Give --mode min "
            "or --mode max."
        ) from error


def _print_best(result, metric):
    try:
        row = result.best(metric)
    except ValueError as error:
        print(f"Best {metric}: unknown. {error}")
        return
    print(f"Best {metric}: {_described(result, row, metric)}")


def _described(result, row, metric):
    name = f"{metric}_difference"
    if result.has_interval(metric):
        lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
        interval = f"with 95 % interval [{lower:+.3g}, {upper:+.3g}]"
    else:
        interval = "without a known interval"
    return (
        f"{row[metric]:.6g} at {_named(row)}, a change of {row[name]:+.3g} {interval}"
    )


def _named(row):
    weight, schedule = row["example_weight"], row["schedule"]
    return f"{weight:g}" if schedule == "uniform" else f"{weight:g} {schedule}"


def _choose(result, options):
    """The row with the best weight, or with the largest one that `--within` allows."""
    metric = options.metric
    if options.within is None:
        return result.best(metric)
    with warnings.catch_warnings():
        # It is printed with the choice.
        warnings.filterwarnings("ignore", FAR_FROM_SURE)
        row = result.largest(metric, within=options.within)
    print(
        f"Largest weight with {metric} within {options.within:g}: "
        f"{_described(result, row, metric)}"
    )
    print(result.certainty(metric, within=options.within))
    return row

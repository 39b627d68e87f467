"""`keras_bn4 shift`: evaluates a saved model on corrupted images of its user."""

import argparse
import dataclasses
import pathlib
import warnings

import keras
import numpy as np

from keras_bn4 import datasets
from keras_bn4.commands.data import add_data_options, load_data
from keras_bn4.commands.inputs import (
    add_example_weights,
    add_output_dir,
    check_folder,
    compile_as_classifier,
    load_model,
)
from keras_bn4.common.arguments import check_integer, check_number
from keras_bn4.common.batches import iterate
from keras_bn4.common.files import written_whole
from keras_bn4.common.records import Records
from keras_bn4.conversion import convert
from keras_bn4.datasets.folders import RAW, ImageFolder, scaling
from keras_bn4.example_weight import sweep_example_weight
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.example_weight.sweep_result import FAR_FROM_SURE
from keras_bn4.shift import SEVERITIES, corrupt, evaluate_shifts, kinds
from keras_bn4.shift.corruptions import check_images, check_kind
from keras_bn4.shift.evaluation_plot import draw_images
from keras_bn4.shift.evaluator import digest

# Of these, tensorflow-datasets has the published files.
PUBLISHED = ("cifar10", "imagenet2012")


def add(commands):
    shift = commands.add_parser(
        "shift",
        help="see whether an example weight helps on your images, corrupted",
        description="Cuts clean images into two halves at random. On one, chooses the "
        "largest example weight that hardly costs accuracy; on the other, reports what "
        "it does to accuracy and loss, clean and with common corruptions. It can be "
        "interrupted and goes on with the same command.",
    )
    shift.add_argument(
        "model", metavar="MODEL.keras", help="file of the model, a classifier"
    )
    add_data_options(shift)
    shift.set_defaults(batch_size=32)
    shift.add_argument(
        "--highest",
        type=float,
        default=255,
        help="value of white in the data, 16 for the digits (default: %(default)s)",
    )
    shift.add_argument(
        "--images",
        type=int,
        default=200,
        metavar="N",
        help="images of the second half to report on (default: %(default)s)",
    )
    shift.add_argument(
        "--kinds",
        nargs="+",
        metavar="KIND",
        help="kinds of corruption (default: all that images of this size can have)",
    )
    shift.add_argument(
        "--severities",
        type=int,
        nargs="+",
        choices=SEVERITIES,
        default=[1, 3, 5],
        help="severities of corruption (default: 1 3 5)",
    )
    add_example_weights(shift)
    shift.add_argument(
        "--within",
        type=float,
        default=0.005,
        metavar="AMOUNT",
        help="how much accuracy the weight may cost on clean images (default: "
        "%(default)s)",
    )
    shift.add_argument(
        "--recalibrate-on",
        type=int,
        default=64,
        metavar="N",
        help="compare with moving statistics recalibrated on so many corrupted images "
        "of the first half, 0 for no comparison (default: %(default)s)",
    )
    add_output_dir(shift, "results/shift")
    shift.set_defaults(command=run)


def run(options):
    """Chooses a weight on clean images, and reports on clean and corrupted ones."""
    check_integer("images", options.images)
    check_integer("recalibrate_on", options.recalibrate_on, least=0)
    check_number("within", options.within, least=0)
    check_folder(options.output_dir)
    preprocess = scaling(options.scale)
    model = load_model(options.model)
    choosing, reporting, count = _halves(options, model)
    x, _ = next(_batches(choosing))
    check_images(x, options.highest)
    shape = x.shape[1:]
    wanted = options.kinds
    if wanted is None:
        wanted = [k for k in kinds(shape[:2]) if k != "saturate" or shape[-1] > 1]
    for kind in wanted:
        check_kind(kind, options.severities[0], shape)
    # Says before anything takes long what is not installed.
    examples = {
        f"{kind.replace('_', ' ')} {severity}": corrupt(
            x[:1], kind, severity, highest=options.highest
        )[0]
        / options.highest
        for kind in wanted
        for severity in [max(options.severities)]
    }
    # Some functions of keras.applications change the images in place.
    model = _prepared(model, preprocess(x.copy()), options)
    folder = pathlib.Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / "images.png") as unfinished:
        examples = {"clean": x[0] / options.highest, **examples}
        draw_images(examples).savefig(unfinished)
    chosen = _choose(model, choosing, preprocess, options, folder / "choice.json")
    others = []
    for images, _ in _batches(choosing):
        others.append(images)
        if sum(map(len, others)) >= options.recalibrate_on:
            break
    others = np.concatenate(others)[: options.recalibrate_on]
    found = evaluate_shifts(
        model,
        **reporting,
        example_weights=chosen,
        kinds=wanted,
        severities=options.severities,
        highest=options.highest,
        preprocess=preprocess,
        shifted=lambda *shift: _published(*shift, options, shape, count),
        recalibrate_on=others if options.recalibrate_on else None,
        output=folder / "shifts.json",
    )
    print(f"\nOn {found.count} images of the other half, and their changes with 95 %")
    print(f"intervals:\n\n{found}\n")
    found.to_csv(folder / "shifts.csv")
    with written_whole(folder / "shifts.png") as unfinished:
        found.plot().savefig(unfinished)
    print(f"Rows, figures and records: {folder}")


def _halves(options, model):
    """Arguments of `evaluate`: clean images to choose on, and so many to report on."""
    given = argparse.Namespace(**{**vars(options), "scale": RAW})
    if options.dataset == "imagenet2012" and options.split is None:
        # Its test split has no labels.
        given.split = "validation[:50%]"
    parts = load_data(given, model)
    if len(parts) == 1:
        is_sliced = str(given.split).endswith("[:50%]")
        if not is_sliced and str(given.split).startswith("test"):
            raise ValueError(
                "The weight is chosen on --split, and all is reported on 'test', "
                f"so that these must differ. Received: --split {given.split}. Leave it "
                "out to cut the test split into halves."
            )
        given.split = given.split[:-6] + "[50%:]" if is_sliced else "test"
        parts += load_data(given, model)[:1]
    few = _few(parts[1], options.images)
    return parts[0].arguments(), few.arguments(), few.count


def _few(part, count):
    """The first images of data."""
    x, y = part.x, part.y
    if isinstance(x, ImageFolder):
        x.files, x.labels = x.files[:count], x.labels[:count]
    elif y is None:
        x = x.unbatch().take(count).batch(part.batch_size)
    else:
        x, y = x[:count], y[:count]
    return dataclasses.replace(part, x=x, y=y, count=min(count, part.count))


def _batches(data):
    for x, y, _ in iterate(**data)[0]:
        yield keras.ops.convert_to_numpy(x), keras.ops.convert_to_numpy(y)


def _prepared(model, x, options):
    """The model with layers of this package, compiled for loss and accuracy."""
    if options.scale != RAW:
        print(f"Scaled, that is {x.min():.4g} to {x.max():.4g}.")
    if model.compiled and model.loss:
        model.compile(loss=model.loss, metrics=["accuracy"])
    else:
        compile_as_classifier(model, x)
    try:
        weighing_layers(model)
    except ValueError:
        model = convert(model)
        print(f"Converted {len(model.conversion_report.converted)} layers.")
    return model


def _choose(model, data, preprocess, options, path):
    """Rows of a sweep on clean images, one a schedule, with the chosen weights."""
    records = Records(path)
    settings = {
        "model": digest(model.get_weights()),
        "data": digest(next(_batches(data))),
        "example_weights": list(options.example_weights),
        "schedule": options.schedule,
        "within": options.within,
        "scale": options.scale,
    }
    record = records.find(settings)
    if record is None:
        batches = ((preprocess(x), y) for x, y in _batches(data))
        sweep = sweep_example_weight(
            model,
            batches,
            example_weights=options.example_weights,
            schedule=options.schedule,
        )
        record = {"settings": settings, "chosen": [], "certainty": []}
        for schedule in options.schedule:
            keywords = {"within": options.within, "schedule": schedule}
            with warnings.catch_warnings():
                # It is printed with the choice.
                warnings.filterwarnings("ignore", FAR_FROM_SURE)
                record["chosen"].append(sweep.largest("accuracy", **keywords))
            record["certainty"].append(sweep.certainty("accuracy", **keywords))
        records.add(record)
    for row, certainty in zip(record["chosen"], record["certainty"]):
        print(
            f"Largest weight with accuracy within {options.within:g}: "
            f"{row['example_weight']:g}, {row['schedule']}. {certainty}"
        )
    return record["chosen"]


def _published(kind, severity, options, shape, count):
    """Published images of a shift, if tensorflow-datasets has them on disk.

    These data sets have an order of their own, so that an image that the weight was
    chosen on can be among them.
    """
    if options.dataset not in PUBLISHED:
        return None
    split = "validation" if options.dataset == "imagenet2012" else "test"
    name, others = f"{options.dataset}_corrupted/{kind}_{severity}", ()

    def load(part):
        size = shape[:2] if options.dataset == "imagenet2012" else None
        where = {"data_dir": options.data_dir, "image_size": size}
        return datasets.load(name, f"{split}[{part}]", **where)

    try:
        if options.recalibrate_on:
            others = load(f":{options.recalibrate_on}")[:1]
        return *load(f"-{count}:"), *others
    except FileNotFoundError:
        return None

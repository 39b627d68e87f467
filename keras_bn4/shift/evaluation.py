"""Evaluates a model on corrupted images at several example weights (Sec. 3.1)."""

import operator
import os
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
from keras import ops

from keras_bn4.common.arguments import (
    check_example_weight,
    check_integer,
    check_verbose,
)
from keras_bn4.common.batches import check_repeatable
from keras_bn4.common.models import check_compiled
from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.example_weight.schedules import layer_weights, schedule_name
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.moving_statistics.recalibration import check_prior
from keras_bn4.shift.corruptions import (
    SEVERITIES,
    Kind,
    check_images,
    check_kind,
    corrupt,
    name_of_kind,
)
from keras_bn4.shift.corruptions import kinds as kinds_of
from keras_bn4.shift.evaluation_result import CLEAN, ShiftEvaluation, packed
from keras_bn4.shift.evaluator import Evaluator, batches_of, digest

EXAMPLE_WEIGHTS = (0.01, 0.02, 0.05, 0.1)


def evaluate_shifts(
    model: keras.Model,
    x,
    y=None,
    *,
    example_weights: Iterable[float | Mapping] = EXAMPLE_WEIGHTS,
    kinds: Iterable[Kind] | None = None,
    severities: Iterable[int] = SEVERITIES,
    highest: float = 255,
    seed: int = 0,
    batch_size: int | None = None,
    preprocess: Callable | None = None,
    shifted: Callable | None = None,
    recalibrate_on: np.ndarray | None = None,
    prior: float = 256,
    output: str | os.PathLike | None = None,
    verbose: str | int = "auto",
) -> ShiftEvaluation:
    """Evaluates a classifier on clean and corrupted images at several example weights.

    It answers whether an example weight helps on your own images, before these shift.
    Choose the weight on other clean images, by `keras_bn4.sweep_example_weight`. Each
    corrupted image is made once and evaluated at all weights. The model is afterwards
    as it was.

    Args:
        model: A built and compiled `keras.Model` with layers of this package (see
            `keras_bn4.convert`), and a loss and metrics that are averages over images.
        x: Images of shape `(n, height, width, channels)` with values from 0 to
            `highest`; or batches `(x, y)` of these, in a `tf.data.Dataset`, a
            `keras.utils.PyDataset` or another iterable, which are read once for each
            kind and severity, always in the same order.
        y: Labels, where `x` is an array.
        example_weights: Floats from 0 to 1, or rows of a sweep, which have a schedule.
            0 is always evaluated, to compare with.
        kinds: Kinds as `keras_bn4.shift.corrupt` takes them, functions of images
            included. `None` for all of `keras_bn4.shift.kinds`.
        severities: Integers from 1 to 5.
        highest: Number, the value of white.
        seed: Integer, the seed of the corruptions.
        batch_size: Positive integer, 32 by default, where `x` is an array.
        preprocess: Function of a batch of corrupted images that makes what the model
            takes, such as `keras.applications.resnet50.preprocess_input`, or `None`.
        shifted: Function of the name of a kind and a severity (`None` for a function)
            that returns `(x, y)`, images that are shifted already, such as published
            ones; or `(x, y, recalibrate_on)`; or `None` to make them here.
        recalibrate_on: Other images without labels, an array, or `None`. They are
            corrupted in the same way, and the model is also evaluated at weight 0 with
            moving statistics recalibrated on them (see `keras_bn4.recalibrate`).
        prior: Positive number, for how many images the statistics that the model has
            count then.
        output: Path of a JSON file that keeps the results of each kind and severity, so
            that an interrupted evaluation continues with the same call; or `None`.
        verbose: 0 for silence, else a progress bar.

    Returns:
        A `ShiftEvaluation` with rows, tables and a plot.

    Raises:
        ValueError: if an argument is not as above, before anything is evaluated.
        ImportError: if a package is missing that makes corruptions.

    Examples:
        >>> import keras, keras_bn4
        >>> inputs = keras.Input((8, 8, 1))
        >>> outputs = keras_bn4.GhostBatchNormalization()(inputs)
        >>> outputs = keras.layers.Dense(2)(keras.layers.Flatten()(outputs))
        >>> model = keras.Model(inputs, outputs)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile(loss=loss, metrics=["accuracy"])
        >>> x = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 1))
        >>> found = evaluate_shifts(
        ...     model, x, x[:, 0, 0, 0] % 2, example_weights=[0.1], kinds=["contrast"],
        ...     severities=[5], verbose=0,
        ... )
        >>> [(row["kind"], row["example_weight"]) for row in found.rows]
        [('clean', 0.0), ('clean', 0.1), ('contrast', 0.0), ('contrast', 0.1)]
    """
    check_compiled(model)
    check_verbose(verbose)
    # JSON takes no numbers of NumPy.
    seed = check_integer("seed", seed, least=0)
    check_prior(prior)
    highest = float(highest)
    check_repeatable("x", x)
    weights = _weights(example_weights, len(weighing_layers(model)))
    first = next(batches_of(x, y, batch_size), None)
    if first is None:
        raise ValueError("The data are empty. Give at least one image.")
    if first[1] is None:
        raise ValueError("The images have no labels. Give `y`, or batches `(x, y)`.")
    others = [] if recalibrate_on is None else [np.asarray(recalibrate_on)]
    for images in (ops.convert_to_numpy(first[0]), *others):
        check_images(images, highest)
    cells = _cells(kinds, severities, first[0].shape[1:], shifted is None)
    settings = [
        {"schedule": schedule, "example_weight": weight, "recalibrated_on": 0}
        for schedule, weight in weights
    ]
    settings += [{**settings[0], "recalibrated_on": len(images)} for images in others]
    common = {
        "model": digest(model.get_weights()),
        "data": digest([*first, *others, *([] if y is None else (x, y))]),
        "length": operator.length_hint(x),
        "settings": settings,
        "seed": seed,
        "highest": highest,
        "prior": float(prior) if others else None,
        "metrics": _losses_and_metrics(model),
        "backend": keras.backend.backend(),
    }

    def change(images, kind, severity, start=0):
        images = ops.convert_to_numpy(images)
        if kind is not None:
            images = corrupt(images, kind, severity, highest=highest, seed=seed + start)
        return images if preprocess is None else preprocess(images)

    common["given"] = digest([change(first[0], None, 0)])
    data = x, y, recalibrate_on
    evaluator = Evaluator(model, weights.values(), data, change, batch_size, prior)
    records = None if output is None else Records(output)
    progress = progress_bar(len(cells), verbose=verbose, unit_name="shift")
    found = []
    for kind, severity in cells:
        name = CLEAN if kind is None else name_of_kind(kind)
        of_cell = {**common, "kind": name, "severity": severity}
        record = None if records is None else records.find(of_cell)
        if record is None:
            given = shifted(name, severity) if shifted and kind is not None else None
            values = evaluator.values(kind, severity, given)
            record = {
                "settings": of_cell,
                "values": {key: list(map(packed, of)) for key, of in values.items()},
                "count": len(values[next(iter(values))][0]),
                "is_published": given is not None,
            }
            if records is not None:
                records.add(record)
        found.append(record)
        progress.add(1)
    return ShiftEvaluation(found)


def _cells(kinds, severities, shape, are_made):
    """All pairs of a kind and a severity; first `(None, 0)`, the clean images."""
    if kinds is None:
        kinds = [k for k in kinds_of(shape[:2]) if k != "saturate" or shape[-1] > 1]
    if isinstance(kinds, str):
        raise ValueError(
            "Argument `kinds` must be a list of names or functions. Received: "
            f"kinds={kinds!r}."
        )
    severities, cells = [int(severity) for severity in severities], [(None, 0)]
    for kind in kinds:
        for severity in [None] if callable(kind) else severities:
            if are_made and not callable(kind):
                check_kind(kind, severity, shape)
            cells.append((kind, severity))
    names = [(name_of_kind(kind), severity) for kind, severity in cells[1:]]
    if len(set(names)) < len(names) or CLEAN in dict(names):
        raise ValueError(
            "All kinds must have names of their own, by which tables call them, other "
            f"than {CLEAN!r}, and severities must differ. Received: {names}."
        )
    return cells


def _losses_and_metrics(model):
    """What the model was compiled to measure, as text."""
    compiled = model.get_compile_config() or {}
    names = ("loss", "loss_weights", "metrics", "weighted_metrics")
    return str({name: compiled.get(name) for name in names})


def _weights(example_weights, count):
    """Dict by schedule and example weight of the weights of all layers; 0 is first."""
    if isinstance(example_weights, (str, Mapping)) or not hasattr(
        example_weights, "__iter__"
    ):
        raise ValueError(
            "Argument `example_weights` must be a list of numbers from 0 to 1, or of "
            f"rows of a sweep. Received: example_weights={example_weights!r}."
        )
    found = {("uniform", 0.0): layer_weights("uniform", 0.0, count)}
    for weight in example_weights:
        schedule = "uniform"
        if isinstance(weight, Mapping):
            schedule, weight = weight["schedule"], weight["example_weight"]
        of_layers = layer_weights(schedule, check_example_weight(weight), count)
        if weight:
            found[schedule_name(schedule), float(weight)] = of_layers
    return found

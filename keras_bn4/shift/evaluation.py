"""Evaluates a model on corrupted images at several example weights (Sec. 3.1)."""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
from keras import ops

from keras_bn4.common.arguments import (
    check_example_weight,
    check_integer,
    check_number,
    check_verbose,
)
from keras_bn4.common.batches import check_repeatable, iterate
from keras_bn4.common.models import check_compiled
from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.example_weight.evaluation import evaluate_at_settings
from keras_bn4.example_weight.schedules import layer_weights, schedule_name
from keras_bn4.example_weight.setting import (
    example_weights_kept,
    set_example_weight,
    weighing_layers,
)
from keras_bn4.moving_statistics import recalibrate
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

    Example:

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
    >>> [(row["kind"], row["severity"], row["example_weight"]) for row in found.rows]
    [('clean', 0, 0.0), ('clean', 0, 0.1), ('contrast', 5, 0.0), ('contrast', 5, 0.1)]
    """
    check_compiled(model)
    check_verbose(verbose)
    check_integer("seed", seed, least=0)
    check_number("prior", prior, least=0)
    check_repeatable("x", x)
    weights = _weights(example_weights, len(weighing_layers(model)))
    first = next(_batches(x, y, batch_size), None)
    if first is None:
        raise ValueError("The data are empty. Give at least one image.")
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
        "data": digest([*first, *others]),
        "settings": settings,
        "seed": seed,
        "highest": highest,
        "prior": prior if others else None,
        "backend": keras.backend.backend(),
    }

    def change(images, kind, severity, start=0):
        images = ops.convert_to_numpy(images)
        if kind is not None:
            images = corrupt(images, kind, severity, highest=highest, seed=seed + start)
        return images if preprocess is None else preprocess(images)

    data = x, y, recalibrate_on
    evaluator = _Evaluator(model, weights.values(), data, change, batch_size, prior)
    records = None if output is None else Records(output)
    progress = progress_bar(len(cells), verbose=verbose, unit_name="shift")
    found = []
    for kind, severity in cells:
        name = CLEAN if kind is None else name_of_kind(kind)
        of_cell = {**common, "kind": name, "severity": severity}
        record = records and records.find(of_cell)
        if record is None:
            given = shifted(name, severity) if shifted and kind is not None else None
            values = evaluator.values(kind, severity, given)
            record = {
                "settings": of_cell,
                "values": {
                    metric: [packed(of_setting) for of_setting in of_metric]
                    for metric, of_metric in values.items()
                },
                "count": len(values[next(iter(values))][0]),
                "is_published": given is not None,
            }
            if records is not None:
                records.add(record)
        found.append(record)
        progress.add(1)
    return ShiftEvaluation(found)


class _Evaluator:
    """Evaluates a model at several settings of its example weights.

    Args:
        model: A compiled `keras.Model`.
        weights: Iterable of settings, each a list with the weight of every layer.
        data: Tuple `(x, y, recalibrate_on)`, as `evaluate_shifts` takes them.
        change: Function `(images, kind, severity, start)` that returns what the model
            takes for images, the first of which is number `start` of the data.
        batch_size: As `evaluate_shifts` takes it.
        prior: As `evaluate_shifts` takes it.
    """

    def __init__(self, model, weights, data, change, batch_size, prior):
        self.model = model
        self.layers = weighing_layers(model)
        self.weights = list(weights)
        self.data = data
        self.change = change
        self.batch_size = batch_size
        self.prior = prior
        self.labels = None

    def values(self, kind, severity, given=None):
        """What every image adds to the metrics.

        Args:
            kind: The corruption, or `None`.
            severity: Its severity.
            given: Data that are corrupted already, as `shifted` returns them, or
                `None`.

        Returns:
            Dict by metric of lists of arrays, one for each setting and, where there are
            other images, one for the first setting recalibrated on these.
        """
        if given is not None:
            kind = severity = None
        x, y, recalibrate_on = self.data if given is None else (*given, None)[:3]
        found, labels = self._values(self.weights, x, y, kind, severity)
        if given is None:
            if self.labels not in (None, labels):
                raise ValueError(
                    "The data come in another order when they are read again, so that "
                    "clean and corrupted images can't be compared. Give data that are "
                    "not shuffled."
                )
            self.labels = labels
        if recalibrate_on is not None:
            images = self.change(recalibrate_on, kind, severity)
            with _recalibrated(self.model, self.layers, images, self.prior):
                again, _ = self._values(self.weights[:1], x, y, kind, severity)
            found = {metric: found[metric] + again[metric] for metric in found}
        return found

    def _values(self, weights, x, y, kind, severity):
        steps, labels = [], hashlib.sha256()

        def batches():
            start = 0
            for images, of_images in _batches(x, y, self.batch_size):
                labels.update(ops.convert_to_numpy(of_images).tobytes())
                yield self.change(images, kind, severity, start), of_images
                start += len(images)

        with warnings.catch_warnings():
            # Keras doesn't know their number beforehand.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            results = evaluate_at_settings(
                self.model,
                self.layers,
                weights,
                lambda logs, values: steps.append(values),
                batches(),
                verbose=0,
            )
        found = {}
        for metric in results[0].keys() & set.intersection(*map(set, steps[0])):
            found[metric] = [
                np.concatenate([ops.convert_to_numpy(s[i][metric][0]) for s in steps])
                for i in range(len(weights))
            ]
        if not found:
            raise ValueError(
                f"Model '{self.model.name}' has no loss or metric that is an average "
                "over images. Compile it with a loss and metrics=['accuracy']."
            )
        return found, labels.digest()


@contextlib.contextmanager
def _recalibrated(model, layers, images, prior):
    """A model with recalibrated moving statistics, and as it was afterwards."""
    before = model.get_weights()
    try:
        with example_weights_kept(layers):
            set_example_weight(model, 0)
            recalibrate(model, images, prior=prior, verbose=0)
        yield
    finally:
        model.set_weights(before)


def _batches(x, y, batch_size):
    return ((x, y) for x, y, _ in iterate(x, y, batch_size=batch_size)[0])


def _cells(kinds, severities, shape, are_made):
    """All pairs of a kind and a severity; first `(None, 0)`, the clean images."""
    if kinds is None:
        without = ("saturate",) if shape[-1] == 1 else ()
        kinds = [kind for kind in kinds_of(shape[:2]) if kind not in without]
    severities, cells = list(severities), [(None, 0)]
    for kind in kinds:
        of_kind = [None] if callable(kind) else severities
        if are_made and not callable(kind):
            for severity in severities:
                check_kind(kind, severity, shape)
        cells += [(kind, severity) for severity in of_kind]
    names = [(name_of_kind(kind), severity) for kind, severity in cells[1:]]
    if len(set(names)) < len(names):
        raise ValueError(
            "All kinds must have names of their own, by which tables call them, and "
            f"severities must differ. Received: {names}."
        )
    return cells


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


def digest(arrays):
    """Tells arrays from all others, in the settings of a record."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(array)).data)
    return digest.hexdigest()[:16]

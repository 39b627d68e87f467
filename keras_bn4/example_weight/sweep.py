"""Evaluates a model at many example weights in one pass over the data (Sec. 3.1)."""

import collections
import itertools
import math

import keras

from keras_bn4.common.arguments import check_example_weight
from keras_bn4.common.batches import iterate
from keras_bn4.common.models import check_compiled
from keras_bn4.example_weight import evaluation
from keras_bn4.example_weight.setting import example_weights_kept, weighing_layers
from keras_bn4.example_weight.sweep_result import ExampleWeightSweep, PairedDifference

EXAMPLE_WEIGHTS = (
    *(0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1),
    *(0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9),
)


def sweep_example_weight(
    model,
    x,
    y=None,
    *,
    example_weights=EXAMPLE_WEIGHTS,
    sample_weight=None,
    batch_size=None,
    steps=None,
    mode=None,
    verbose="auto",
):
    """Evaluates a compiled model at many example weights, in one pass over the data.

    The example weight (Sec. 3.1) needs no training and is best chosen on validation
    data, for each metric by itself: loss and accuracy often want different ones. It is
    not Keras' `sample_weight`, which says how much an example counts in a metric.

    Every batch is evaluated at every weight before the next one is read, so that a data
    set that shuffles is compared with itself. Losses and metrics are the compiled ones,
    as `model.evaluate` computes them; a custom `test_step` is not called. The model
    keeps the weights it had.

    Args:
        model: A built and compiled `keras.Model` with layers of ours (see
            `keras_bn4.convert`).
        x: Arrays with the examples along their first axis, a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, or another iterable of batches.
        y: Labels, where `x` is arrays.
        example_weights: Floats from 0 to 1. 0 is always evaluated, to compare with.
        sample_weight: Weights of the examples, where `x` is arrays.
        batch_size: Positive integer, 32 by default, where `x` is arrays.
        steps: Positive integer, how many batches to use, or `None` for all.
        mode: `"min"` or `"max"`, or a dict of these by metric, what is best. `None`
            asks the metric, which Keras' own ones answer.
        verbose: 0 or `"auto"`/1, whether to show a progress bar.

    Returns:
        An `ExampleWeightSweep`.

    Raises:
        ValueError: if an argument is not as above, the model has no layer of ours or is
            not compiled, or the data are empty or lack labels.

    Example:

    >>> import numpy as np
    >>> from keras_bn4 import GhostBatchNormalization
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, GhostBatchNormalization()(inputs))
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> sweep = sweep_example_weight(model, x, x, example_weights=[0.1], verbose=0)
    >>> sweep.best("loss")["example_weight"]
    0.0
    """
    weights = sorted({0.0, *map(check_example_weight, example_weights)})
    layers = weighing_layers(model)
    check_compiled(model)
    batches, count = iterate(x, y, sample_weight, batch_size, steps)
    batches = (batch for batch in batches if len(keras.tree.flatten(batch[0])[0]))
    first = next(batches, None)
    if first is None:
        raise ValueError("The data set is empty. Give at least one example.")
    if first[1] is None:
        raise ValueError(
            f"The data have no labels, and model '{model.name}' needs them for its "
            "loss or metrics. Give `y`, or batches `(x, y)`."
        )
    evaluator = evaluation.Evaluator(model, first)
    modes = _modes(mode, evaluator)
    evaluations = [evaluator.new() for _ in weights]
    differences = [collections.defaultdict(PairedDifference) for _ in weights]
    target = None if count is None else count * len(weights)
    progress = keras.utils.Progbar(target, verbose=int(bool(verbose)))
    with example_weights_kept(layers):
        for batch in itertools.chain([first], batches):
            for i, weight in enumerate(weights):
                for layer in layers:
                    layer.example_weight = weight
                evaluator.add(evaluations[i], batch)
                for name, (values, shares) in evaluations[i].examples.items():
                    baseline = evaluations[0].examples[name][0]
                    differences[i][name].add(values, baseline, shares)
                progress.add(1)
    rows = []
    for weight, one, paired in zip(weights, evaluations, differences):
        row = {"example_weight": weight}
        for name, value in one.metrics.items():
            difference = value - evaluations[0].metrics[name]
            half = paired[name].half_width() if name in paired else math.nan
            row[name] = value
            row[f"{name}_difference"] = difference
            row[f"{name}_difference_lower"] = difference - half
            row[f"{name}_difference_upper"] = difference + half
        rows.append(row)
    return ExampleWeightSweep(rows, modes)


def _modes(mode, evaluator):
    """Each metric's direction: as given, else as it says itself."""
    names = evaluator.metric_names
    given = mode if isinstance(mode, dict) else dict.fromkeys(names, mode)
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"Unknown metrics {unknown} in `mode`. The model has {names}.")
    for value in given.values():
        if value not in (None, "min", "max"):
            raise ValueError(
                'Argument `mode` must be "min", "max", None, or a dict of these by '
                f"metric. Received: mode={mode!r}."
            )
    return {name: given.get(name) or evaluator.direction(name) for name in names}

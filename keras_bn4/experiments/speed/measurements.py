"""Measurements on one backend.

Run as a program, `python -m keras_bn4.experiments.speed.measurements ROUNDS`, this
module prints them in JSON.
"""

import json
import sys
import time

import keras
import numpy as np

from keras_bn4.common.models import BatchNormalization
from keras_bn4.conversion import convert
from keras_bn4.demo import networks
from keras_bn4.demo.minibatches import minibatches
from keras_bn4.experiments.speed.steps import step_of
from keras_bn4.layers import GhostBatchNormalization

SHAPES = (
    (256, 512),
    (32, 128),
    (64, 16, 64),
    (128, 8, 8, 64),
    (32, 7, 7, 512),
    (128, 32, 32, 16),
    (64, 56, 56, 64),
)
# For how long one is measured in a round.
SECONDS = 0.02


def compare(runs, rounds):
    """Measures the time of functions by running them in turns.

    Args:
        runs: Dict of functions without arguments.
        rounds: Positive integer.

    Returns:
        Dict by the names of all but the first: the lower quartile, the median and the
        upper quartile of their ratios to the first.
    """
    repeats = {}
    for name, function in runs.items():
        function()  # The first call compiles, and is not measured.
        repeats[name] = max(1, round(SECONDS / _seconds(function, 2)))
    seconds = {name: [] for name in runs}
    for i in range(rounds):
        for name in list(runs) if i % 2 else reversed(runs):
            seconds[name].append(_seconds(runs[name], repeats[name]))
    first = np.array(seconds.pop(next(iter(runs))))
    return {
        name: np.quantile(values / first, [0.25, 0.5, 0.75]).round(3).tolist()
        for name, values in seconds.items()
    }


def _seconds(function, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def measure(rounds, shapes=SHAPES):
    """Yields a dict for each comparison: what is compared, and its ratios."""
    for training, layers in ((True, _layers_to_train), (False, _layers_to_infer)):
        what = "training" if training else "inference"
        for shape in shapes:
            steps = {
                name: step_of(layer, shape, training)
                for name, layer in layers().items()
            }
            of = "×".join(map(str, shape))
            yield {"what": what, "of": of, "ratios": compare(steps, rounds)}
    if keras.backend.backend() != "jax":
        ratios = compare(_fits(), max(1, rounds // 3))
        yield {"what": "training", "of": "`fit` of a ResNet-20", "ratios": ratios}


def _layers_to_train():
    return {
        "Keras": BatchNormalization(),
        "whole": GhostBatchNormalization(),
        "16": GhostBatchNormalization(ghost_batch_size=16),
        "4": GhostBatchNormalization(ghost_batch_size=4),
    }


def _layers_to_infer():
    return {
        "Keras": BatchNormalization(),
        "0": GhostBatchNormalization(),
        "0.05": GhostBatchNormalization(example_weight=0.05),
    }


def _fits():
    """`fit` of a ResNet-20 for CIFAR, with Keras' layer and converted."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((1024, 32, 32, 3), "float32"), rng.integers(0, 10, 1024)
    data = minibatches(images, labels, batch_size=128)
    model = networks.resnet((32, 32, 3), 10, 3, normalizes_shortcuts=True)
    models = {
        "Keras": model,
        "whole": convert(model),
        "16": convert(model, ghost_batch_size=16),
    }
    for each in models.values():
        each.compile(
            keras.optimizers.SGD(0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    return {
        name: lambda m=each: m.fit(**data, shuffle=False, verbose=0)
        for name, each in models.items()
    }


if __name__ == "__main__":
    for comparison in measure(int(sys.argv[1])):
        print(json.dumps(comparison), flush=True)

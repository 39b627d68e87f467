"""Measures time and memory of what a comparison of the speed experiment compares."""

import subprocess
import sys
import time

import keras
import numpy as np

from keras_bn4.common.models import BatchNormalization
from keras_bn4.conversion import convert
from keras_bn4.demo import networks
from keras_bn4.demo.minibatches import minibatches
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.experiments.speed import steps
from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization

GHOST_BATCH_SIZES = (128, 64, 32, 16, 8, 4, 2)
SECONDS = 0.03


def compare(runs, rounds):
    """Measures the time of functions by running them in turns.

    Args:
        runs: Dict of functions without arguments.
        rounds: Positive integer.

    Returns:
        Dict of `"milliseconds"` and `"ratios"`, each a dict of medians. Ratios are to
        the first function.
    """
    repeats = {}
    for name, function in runs.items():
        function()  # The first call compiles, and is not measured.
        repeats[name] = max(1, round(SECONDS / _seconds(function, 2)))
    seconds = {name: [] for name in runs}
    for i in range(rounds):
        for name in list(runs) if i % 2 else reversed(runs):
            seconds[name].append(_seconds(runs[name], repeats[name]))
    first = np.array(next(iter(seconds.values())))
    return {
        "milliseconds": {k: float(1e3 * np.median(v)) for k, v in seconds.items()},
        "ratios": {k: float(np.median(v / first)) for k, v in seconds.items()},
    }


def _seconds(function, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def measure(job, rounds):
    """Makes one comparison.

    Args:
        job: Dict of settings, one of `comparison.jobs()`.
        rounds: Positive integer, how often everything that is compared has its turn.

    Returns:
        Dict of what `compare` returns, or of `"megabytes"` and `"ratios"`.
    """
    measures = {
        "fit": _fit,
        "predict": _predict,
        "sweep": _sweep,
        "memory": _memory,
    }
    if job["what"] in measures:
        return measures[job["what"]](rounds, job.get("compile") == "xla")
    return compare(
        {
            name: steps.make(
                layer,
                job["shape"],
                training=job["what"] != "inference",
                backward=job["what"] in ("step", "sizes"),
                known=job["batch"] == "known",
                xla=job["compile"] == "xla",
                dtype=job["dtype"],
            )
            for name, layer in _layers(job).items()
        },
        rounds,
    )


def _layers(job):
    dtype, channels = job["dtype"], job["shape"][-1]
    layers = {"Keras": BatchNormalization(dtype=dtype)}
    if job["what"] == "inference":
        for weight in (0.0, 0.05):
            layers[f"weight {weight:g}"] = GhostBatchNormalization(
                example_weight=weight
            )
        return layers
    layers["ReLU"] = keras.layers.ReLU(dtype=dtype)
    layers["whole batch"] = GhostBatchNormalization(dtype=dtype)
    sizes = GHOST_BATCH_SIZES if job["what"] == "sizes" else (128, 16, 8)
    for size in sizes:
        layers[f"ghosts of {size}"] = GhostBatchNormalization(
            ghost_batch_size=size, dtype=dtype
        )
    groups = min(32, channels // 2)
    layers["Keras' groups"] = keras.layers.GroupNormalization(groups, dtype=dtype)
    for size in (1, 2):
        layers[f"groups, ghosts of {size}"] = BatchGroupNormalization(
            groups, ghost_batch_size=size, dtype=dtype
        )
    return layers


def _networks(xla=False):
    """Builds a ResNet-20 for CIFAR, with Keras' layer and converted."""
    model = networks.resnet((32, 32, 3), 10, 3, normalizes_shortcuts=True)
    converted = {
        "Keras": model,
        "whole batch": convert(model),
        "ghosts of 16": convert(model, ghost_batch_size=16),
    }
    for network in converted.values():
        network.compile(
            keras.optimizers.SGD(0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=xla or "auto",
        )
    return converted


def _images(n):
    rng = np.random.default_rng(0)
    return rng.random((n, 32, 32, 3), "float32"), rng.integers(0, 10, n)


def _fit(rounds, xla):
    data = minibatches(*_images(1024), batch_size=128)
    return compare(
        {
            name: lambda m=network: m.fit(**data, shuffle=False, verbose=0)
            for name, network in _networks(xla).items()
        },
        rounds,
    )


def _predict(rounds, xla):
    data = minibatches(_images(512)[0], batch_size=128)
    networks = _networks(xla)
    del networks["ghosts of 16"]
    weighing = convert(networks["whole batch"], example_weight=0.05)
    weighing.compile(jit_compile=xla or "auto")
    networks = {
        "Keras": networks["Keras"],
        "weight 0": networks["whole batch"],
        "weight 0.05": weighing,
    }
    return compare(
        {
            name: lambda m=network: m.predict(**data, verbose=0)
            for name, network in networks.items()
        },
        rounds,
    )


def _sweep(rounds, xla):
    """Compares a sweep of 21 example weights with 21 evaluations."""
    data = minibatches(*_images(256), batch_size=128)
    network = _networks(xla)["whole batch"]
    set_example_weight(network, 0.05)

    def evaluate():
        for _ in range(21):
            network.evaluate(**data, verbose=0)

    def sweep():
        sweep_example_weight(network, **data, verbose=0)

    return compare({"21 evaluations": evaluate, "sweep": sweep}, max(3, rounds // 3))


def _memory(rounds, xla):
    """Measures by how much the peak memory of a process grows in training."""
    names = ("Keras", "whole batch", "ghosts of 16")
    peaks = {name: [] for name in names}
    for _ in range(max(1, rounds // 5)):
        for name in names:
            command = [sys.executable, "-m", steps.__name__, name]
            output = subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=600
            ).stdout
            peaks[name].append(float(output.split()[-1]))
    first = np.array(peaks["Keras"])
    return {
        "megabytes": {k: float(np.median(v)) for k, v in peaks.items()},
        "ratios": {k: float(np.median(v / first)) for k, v in peaks.items()},
    }

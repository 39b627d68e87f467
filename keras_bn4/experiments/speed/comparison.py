"""Compares the speed of the layers with that of Keras' own layers.

Question: Does training with ghosts cost no more than batch normalization (Sec. 3.2),
and what does example weighing cost at inference (Sec. 3.1)?

Setting: One layer is measured, forward and backward, and a whole ResNet-20. Everything
that is compared runs in turns in one process, in alternating order, each for at least
30 ms at a time. Ratios are taken within a round, and the tables have their medians over
rounds. Load on the machine is the same for all in a round, so that it cancels out. The
step of a layer gets its upstream gradient as an input. A batch size that is "unknown"
when the step is traced is what `fit` traces. `fit`, `predict` and sweeps get their data
from `minibatches`, because TensorFlow would wait after the last step of arrays.

Command: `python -m keras_bn4.experiments.speed`, with `KERAS_BACKEND` set for JAX and
PyTorch. Time: fifteen minutes on two CPU cores. Every finished comparison is kept, and
an interrupted run continues.

Expected: On TensorFlow the layers take less time than
`keras.layers.BatchNormalization`, which computes operation by operation, at any ghost
batch size. On other backends they take the same.
"""

import importlib
import os
import pathlib
import platform
import subprocess
import sys
import time

import keras
import numpy as np

import keras_bn4
from keras_bn4.common.progress import progress_bar
from keras_bn4.conversion import convert
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.experiments import networks
from keras_bn4.experiments.minibatches import minibatches
from keras_bn4.experiments.records import Records
from keras_bn4.experiments.speed import steps
from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization

SHAPES = ((128, 32, 32, 64), (128, 8, 8, 256), (128, 32, 32, 16), (2, 56, 56, 256))
DENSE = (4096, 256)
GHOST_BATCH_SIZES = (128, 64, 32, 16, 8, 4, 2)
SECONDS = 0.03


def jobs():
    """Lists the settings of all comparisons, those quoted in layers/README.md first."""
    batch = "unknown" if keras.backend.backend() == "tensorflow" else "known"
    ways = {
        "tensorflow": [
            ("unknown", "default"),
            ("known", "default"),
            ("unknown", "xla"),
        ],
        "jax": [("known", "xla")],
        "torch": [("known", "default")],
    }[keras.backend.backend()]
    usual = {"batch": batch, "compile": ways[0][1], "dtype": "float32"}
    found = [
        {**usual, "what": "step", "shape": shape, "batch": batch, "compile": compiled}
        for batch, compiled in ways
        for shape in (*SHAPES, DENSE)
    ]
    found += [
        {**usual, "what": "inference", "shape": shape, "compile": compiled}
        for compiled in dict.fromkeys(compiled for _, compiled in ways)
        for shape in (*SHAPES, DENSE)
    ]
    found += [
        {**usual, "what": what, "shape": shape}
        for what in ("sizes", "forward")
        for shape in SHAPES[:3]
    ]
    found += [
        {**usual, "what": "step", "shape": shape, "dtype": "mixed_bfloat16"}
        for shape in SHAPES
    ]
    found += [{"what": what} for what in ("fit", "predict", "sweep", "memory")]
    if keras.backend.backend() == "tensorflow":
        found.append({"what": "predict", "compile": "xla"})
    return found


def machine():
    """Returns what the measured times depend on, as a dict."""
    backend = keras.backend.backend()
    name = platform.processor() or platform.machine()
    cpus = pathlib.Path("/proc/cpuinfo")
    if cpus.exists():
        lines = cpus.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        name = (names or [name])[0]
    return {
        "backend": f"{backend} {importlib.import_module(backend).__version__}",
        "keras_bn4": keras_bn4.__version__,
        "keras": keras.__version__,
        "processor": name,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }


def run(*, rounds=15, output_dir="results/speed", fresh=False, only=None):
    """Makes all comparisons, or continues where an earlier run stopped.

    Args:
        rounds: Positive integer, how often everything that is compared has its turn.
        output_dir: Folder for the results. They are written to `<backend>.json` in it
            after each comparison.
        fresh: Whether to discard earlier results.
        only: `None`, or a collection of the kinds of comparison (`"what"`) to make.

    Returns:
        List of dicts, one for each comparison: its `"settings"`, and under
        `"milliseconds"` (or `"megabytes"`) and `"ratios"` dicts of medians by the name
        of what was compared. Ratios are to the first.
    """
    path = pathlib.Path(output_dir, f"{keras.backend.backend()}.json")
    records = Records(path, fresh)
    todo = [job for job in jobs() if only is None or job["what"] in only]
    progress = progress_bar(len(todo), unit_name="comparison")
    results = []
    for job in todo:
        settings = {**job, "rounds": rounds, **machine()}
        settings = {
            k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()
        }
        result = records.find(settings)
        if result is None:
            result = {"settings": settings, **_measure(job, rounds)}
            records.add(result)
        results.append(result)
        progress.add(1)
    return results


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


def _measure(job, rounds):
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
    layers = {"Keras": keras.layers.BatchNormalization(dtype=dtype)}
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

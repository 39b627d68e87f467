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

import pathlib

import keras

from keras_bn4.common.arguments import check_integer
from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.experiments import machine
from keras_bn4.experiments.speed import measurements

SHAPES = ((128, 32, 32, 64), (128, 8, 8, 256), (128, 32, 32, 16), (2, 56, 56, 256))
DENSE = (4096, 256)


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


def described_machine():
    """Returns what the measured times depend on, as a dict."""
    versions = machine.versions()
    backend = versions["backend"]
    return {
        "backend": f"{backend} {versions[backend]}",
        "keras_bn4": versions["keras_bn4"],
        "keras": versions["keras"],
        "processor": machine.processor(),
        "cores": machine.cores(),
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

    Raises:
        ValueError: if `rounds` or `only` is not as above.
    """
    check_integer("rounds", rounds)
    kinds = sorted({job["what"] for job in jobs()})
    if unknown := sorted(set(only or ()) - set(kinds)):
        raise ValueError(f"There is no comparison {unknown[0]!r}. Allowed: {kinds}.")
    path = pathlib.Path(output_dir, f"{keras.backend.backend()}.json")
    records = Records(path, fresh)
    todo = [job for job in jobs() if only is None or job["what"] in only]
    progress = progress_bar(len(todo), unit_name="comparison")
    results = []
    for job in todo:
        settings = {**job, "rounds": rounds, **described_machine()}
        settings = {
            k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()
        }
        result = records.find(settings)
        if result is None:
            result = {"settings": settings, **measurements.measure(job, rounds)}
            records.add(result)
        results.append(result)
        progress.add(1)
    return results

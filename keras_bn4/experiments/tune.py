"""A search of all four things with Keras Tuner, against the untouched baseline.

Question: does the best of a search over kind of statistics, ghosts, groups, decay of γ
and β, and example weight beat Keras' layer on data that the search did not see?

Setting: `RandomSearch` with `HyperBatchNormalization`. By default on scikit-learn's
digits with the network of `digits.py`; for any other data set a ResNet of three blocks
with 16, 32 and 64 filters, SGD with Nesterov's momentum, a cosine schedule, minibatches
of 64, and no augmentation. The first `examples` of the train split are trained on, a
fifth as many after them validate.

Selection: trials and example weights by validation data. The best trial's settings and
the baseline are then trained again with other seeds than the search's, and compared on
test data, paired by seed, each at the best of its epochs and, for ours, at the example
weight, by validation data. "Keras, weighed" is the baseline with nothing but the
example weight.

Command: `python -m keras_bn4 tune`; about five minutes on two CPU cores. For CIFAR-100
`python -m keras_bn4 tune --dataset cifar100 --data-dir DIR --examples 10000`, about an
hour. `--workers 2` searches with a chief and two workers on this machine. Interrupted,
the same command goes on.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import keras
import keras_tuner
import numpy as np
from scipy import stats

from keras_bn4 import datasets, tables
from keras_bn4.convert import convert
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.experiments import digits
from keras_bn4.experiments.records import Records
from keras_bn4.tuner import HyperBatchNormalization, results

BATCH_SIZE = 64
FILTERS = (16, 32, 64)
ROWS = ("Keras", "Keras, weighed", "best of the search")


def resnet(shape, classes, steps):
    """A ResNet of three blocks with Keras' batch normalization, compiled.

    Args:
        shape: Tuple of integers, `(height, width, channels)` of the images.
        classes: Integer, the size of the logits.
        steps: Integer, the minibatches of the training.
    """
    layers = keras.layers

    def normalized(x, filters, size, strides):
        x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=digits.MOMENTUM)(x)

    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.ReLU()(normalized(x, FILTERS[0], 3, 1))
    for i, filters in enumerate(FILTERS):
        strides = 2 if i else 1
        y = layers.ReLU()(normalized(x, filters, 3, strides))
        y = normalized(y, filters, 3, 1)
        if i:
            x = layers.Conv2D(filters, 1, strides, use_bias=False)(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    outputs = layers.Dense(classes)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, steps)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def run(
    dataset="digits",
    *,
    data_dir=None,
    examples=10_000,
    trials=12,
    epochs=None,
    objective="val_loss",
    repeats=5,
    seed=0,
    workers=0,
    output_dir="results/tune",
    fresh=False,
    verbose=1,
):
    """Searches, then trains the best and the baseline again; goes on where it stopped.

    Under the environment variables with which Keras Tuner makes a process a chief or a
    worker it does that process' part of the search alone.

    Args:
        dataset: `"digits"`, or a name as `keras_bn4.datasets.load` takes it.
        data_dir: The folder of tensorflow-datasets.
        examples: Positive integer, to train on, but for the digits.
        trials: Positive integer, how many trials in all.
        epochs: Positive integer, of each training. By default 75 for the digits, and 12
            for others.
        objective: Name of a validation metric.
        repeats: Integer from 0, how many seeds to compare on test data.
        seed: Integer, of the search.
        workers: Integer from 0, how many processes besides a chief search. 0 for this
            process alone.
        output_dir: Folder for all results. It is made if necessary.
        fresh: Whether to forget earlier results.
        verbose: 0 or 1, whether to show progress.

    Returns:
        A pair: the `SearchResults`, and a list of dicts, one a repeat and row of
        `ROWS`, with the results on `"test"` data. `None` in a chief or worker.

    Raises:
        ValueError: if an argument is not as above, or `output_dir` holds a search with
            other settings.
        RuntimeError: if one of several processes fails.
    """
    if epochs is None:
        epochs = 75 if dataset == "digits" else 12
    settings = {
        "dataset": dataset,
        "examples": None if dataset == "digits" else examples,
        "epochs": epochs,
        "objective": objective,
        "seed": seed,
        "backend": keras.backend.backend(),
    }
    counts = {"trials": trials, "epochs": epochs, "examples": examples}
    for name, value, least in (
        *((name, value, 1) for name, value in counts.items()),
        *(("repeats", repeats, 0), ("workers", workers, 0)),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"Argument `{name}` must be an integer from {least}. Received: "
                f"{name}={value!r}."
            )
    folder = pathlib.Path(output_dir, "search")
    if fresh:
        shutil.rmtree(output_dir, ignore_errors=True)
    _keep_settings(pathlib.Path(output_dir), settings)
    data = _load(dataset, data_dir, examples)
    tuner = _tuner(folder, settings, data, trials)
    if "KERASTUNER_ORACLE_IP" in os.environ:
        _search(tuner, data, epochs)
        return None
    progress = keras.utils.Progbar(trials * epochs, verbose=verbose, unit_name="epoch")
    progress.update(_completed(folder) * epochs)
    if workers and _completed(folder) < trials:
        command = [
            *("tune", "--dataset", dataset, "--examples", examples, "--epochs", epochs),
            *("--trials", trials, "--objective", objective, "--seed", seed),
            *("--output-dir", output_dir),
            *(("--data-dir", data_dir) if data_dir else ()),
        ]
        _search_in_processes(
            command, workers, lambda: progress.update(_completed(folder) * epochs)
        )
        tuner = _tuner(folder, settings, data, trials)
    else:
        tuner.progress = progress
        _search(tuner, data, epochs)
    return results(tuner), _repeats(tuner, settings, data, repeats, verbose)


def _load(dataset, data_dir, examples):
    """Pairs of arrays to train on, to validate and to test."""
    names = ("train", "validation", "test")
    if dataset != "digits":
        cuts = (f"train[:{examples}]", f"train[{examples}:{examples * 6 // 5}]")
        names = (*cuts, "test")
    return datasets.load(dataset, names, data_dir=data_dir)


def _network(settings, data, seed):
    """The baseline, with initial weights by seed."""
    keras.utils.set_random_seed(seed)
    if settings["dataset"] == "digits":
        return digits.build()
    x, y = data[0]
    steps = -(-len(x) // BATCH_SIZE) * settings["epochs"]
    return resnet(x.shape[1:], int(y.max()) + 1, steps)


def _hypermodel(settings, data, seed):
    return HyperBatchNormalization(
        lambda hp: _network(settings, data, seed), batch_size=BATCH_SIZE
    )


class _Tuner(keras_tuner.RandomSearch):
    progress = None

    def on_epoch_end(self, trial, model, epoch, logs=None):
        if self.progress is not None:
            self.progress.add(1)


def _tuner(folder, settings, data, trials):
    """The tuner, with the trials of earlier runs."""
    seed = settings["seed"]
    tuner = _Tuner(
        _hypermodel(settings, data, seed),
        settings["objective"],
        max_trials=trials,
        # Keras Tuner takes 0 for none.
        seed=seed + 1,
        directory=folder.parent,
        project_name=folder.name,
    )
    # A chief and a single process know a search by files of different names.
    is_worker = not isinstance(tuner.oracle, keras_tuner.Oracle)
    if not is_worker and not tuner.oracle.trials and (folder / "oracle.json").exists():
        tuner.oracle.reload()
    return tuner


def _search(tuner, data, epochs):
    train, validation, _ = data
    tuner.search(*train, validation_data=validation, epochs=epochs, verbose=0)


def _completed(folder):
    trials = [
        json.loads(path.read_text()) for path in folder.glob("trial_*/trial.json")
    ]
    return sum(trial["status"] == "COMPLETED" for trial in trials)


def _search_in_processes(command, workers, show):
    """Starts a chief and workers with a command of this package; waits for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
    }
    command = [sys.executable, "-m", "keras_bn4", *map(str, command)]
    names = ("chief", *(f"worker{i}" for i in range(workers)))
    processes = {}
    with contextlib.ExitStack() as stack:
        logs = {name: stack.enter_context(tempfile.TemporaryFile()) for name in names}
        for name in names:
            processes[name] = subprocess.Popen(
                command,
                env={**os.environ, **environment, "KERASTUNER_TUNER_ID": name},
                stdout=logs[name],
                stderr=subprocess.STDOUT,
            )
            stack.callback(processes[name].wait)
            stack.callback(processes[name].kill)
        while any(process.poll() is None for process in processes.values()):
            for name, process in processes.items():
                if process.poll():
                    logs[name].seek(0)
                    raise RuntimeError(
                        f"The {name} of the search failed with status "
                        f"{process.returncode}. The same command goes on from here. "
                        "Its last words:\n"
                        + logs[name].read().decode(errors="replace")[-2000:]
                    )
            show()
            time.sleep(1)
    show()


def _repeats(tuner, settings, data, repeats, verbose):
    """Trains the best settings and the baseline with other seeds; on test data."""
    (best,) = tuner.oracle.get_best_trials(1)
    records = Records(pathlib.Path(tuner.directory, "repeats.json"))
    progress = keras.utils.Progbar(repeats, verbose=verbose, unit_name="repeat")
    found = []
    for seed in range(settings["seed"] + 1, settings["seed"] + 1 + repeats):
        key = {**settings, "seed": seed, "values": best.hyperparameters.values}
        result = records.find(key)
        if result is None:
            result = {"settings": key, "test": _compare(tuner, best, key, data)}
            records.add(result)
        found.append(result)
        progress.add(1)
    return found


def _compare(tuner, trial, settings, data):
    """Test results of the rows for one seed."""
    train, validation, test = data
    objective, seed = tuner.oracle.objective, settings["seed"]
    metric = objective.name.removeprefix("val_")
    rows = {}

    def fit(model):
        keep = keras.callbacks.EarlyStopping(
            objective.name,
            patience=settings["epochs"],
            mode=objective.direction,
            restore_best_weights=True,
        )
        model.fit(
            *train,
            batch_size=BATCH_SIZE,
            epochs=settings["epochs"],
            validation_data=validation,
            callbacks=[keep],
            verbose=0,
        )

    def weigh(model):
        sweep = sweep_example_weight(model, *validation, batch_size=500, verbose=0)
        set_example_weight(model, sweep.best(metric)["example_weight"])
        return sweep.best(metric)["example_weight"]

    def evaluate(name, model, weight):
        scores = model.evaluate(*test, batch_size=500, verbose=0, return_dict=True)
        rows[name] = {"example_weight": weight, **scores}

    keras.backend.clear_session()
    model = _network(settings, data, seed)
    fit(model)
    evaluate(ROWS[0], model, 0.0)
    model = convert(model, in_place=True)
    evaluate(ROWS[1], model, weigh(model))
    model = _hypermodel(settings, data, seed).build(trial.hyperparameters.copy())
    fit(model)
    evaluate(ROWS[2], model, weigh(model))
    return rows


def table(repeats):
    """Test results of the repeats: means, and differences to Keras with intervals."""
    n = len(repeats)
    metrics = [m for m in repeats[0]["test"][ROWS[0]] if m != "example_weight"]
    header = ["", "α"]
    for metric in metrics:
        header += [f"test {metric}", "difference", "95 % interval"]
    lines = [header]
    for name in ROWS:
        weights = [r["test"][name]["example_weight"] for r in repeats]
        line = [name, f"{min(weights):g}-{max(weights):g}"]
        for metric in metrics:
            values = np.array([r["test"][name][metric] for r in repeats])
            changes = values - [r["test"][ROWS[0]][metric] for r in repeats]
            line += [f"{values.mean():.4f}", "", ""]
            if name != ROWS[0]:
                line[-2] = f"{changes.mean():+.4f}"
                if n > 1:
                    half = stats.t.ppf(0.975, n - 1) * stats.sem(changes)
                    ends = changes.mean() - half, changes.mean() + half
                    line[-1] = "[{:+.4f}, {:+.4f}]".format(*ends)
        lines.append(line)
    return (
        tables.text(lines, left=1)
        + f"\n\nMeans over n = {n} seeds other than the search's; differences paired "
        "by seed."
    )


def _keep_settings(folder, settings):
    """Writes what a search is of, or raises where it was of something else."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if not path.exists():
        path.write_text(json.dumps(settings, indent=1))
    before = json.loads(path.read_text())
    other = {k: v for k, v in before.items() if settings.get(k) != v}
    if other:
        raise ValueError(
            f"{folder} holds a search with {other}, and this one has "
            f"{ {k: settings.get(k) for k in other} }. Give another folder "
            "(--output-dir), or forget it (--fresh)."
        )

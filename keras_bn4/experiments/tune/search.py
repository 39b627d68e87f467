"""A search with Keras Tuner for how to normalize, compared with Keras' layer.

Question: Does the best of a search over kind of statistics, ghosts, channel groups,
decay of γ and β, and example weight beat Keras' layer on data that the search did not
see?

Setting: `RandomSearch` searches with `HyperBatchNormalization`, by default on
scikit-learn's digits with the network of `demo`. For any other data set the network
is a ResNet of three blocks with 16, 32 and 64 filters. It is trained by SGD with
Nesterov's momentum and a cosine schedule, on minibatches of 64 without augmentation.
The first `examples` images of the train split are trained on, and the next fifth of
that number validate.

Selection: Trials and example weights are chosen on validation data. The settings of the
best trial and the baseline are then trained again, with other seeds than the search's,
and compared on test data, paired by seed. Each training is evaluated at its best epoch
on validation data. The best of the search and "Keras, weighed", which is the baseline
with an example weight, are evaluated at their best example weight on validation data.

Command: `python -m keras_bn4.experiments.tune` takes about five minutes on two CPU
cores, with `--dataset cifar100 --data-dir DIR --examples 10000` about an hour. If the
command was interrupted, it continues when it is run again.

Several processes search with Keras Tuner's own variables. The same command is started
with `KERASTUNER_ORACLE_IP=127.0.0.1 KERASTUNER_ORACLE_PORT=8000` and
`KERASTUNER_TUNER_ID=chief`, and, as often as there are processes, with these and
`KERASTUNER_TUNER_ID=worker0`, `worker1` and so on. Without them it then reports.
"""

import json
import os
import pathlib
import shutil

import keras
import keras_tuner

from keras_bn4.common.arguments import check_integer
from keras_bn4.common.files import written_whole
from keras_bn4.common.tables import progress_bar
from keras_bn4.experiments.tune import repeats as repeated
from keras_bn4.experiments.tune.task import Task
from keras_bn4.tuner import results

OBJECTIVES = {"val_cross_entropy": "min", "val_accuracy": "max", "val_loss": "min"}
RECORDS = ("settings.json", "oracle.json")


def run(
    dataset="digits",
    *,
    data_dir=None,
    examples=10_000,
    trials=12,
    executions=1,
    epochs=None,
    objective="val_cross_entropy",
    repeats=5,
    seed=0,
    output_dir="results/tune",
    fresh=False,
    verbose=1,
):
    """Searches, then trains the best and the baseline again, continuing earlier runs.

    The arguments are the options of the command, in `__main__.py`. With the environment
    variables by which Keras Tuner makes a process a chief or a worker, only that
    process' part of the search is done.

    Returns:
        A pair of the `SearchResults` and the list that `repeats.run` returned, or
        `None` in a chief or worker.

    Raises:
        ValueError: if an argument is invalid, or `output_dir` holds a search with other
            settings.
    """
    if epochs is None:
        epochs = 75 if dataset == "digits" else 12
    settings = {
        "dataset": dataset,
        "examples": None if dataset == "digits" else examples,
        "executions": executions,
        "epochs": epochs,
        "objective": objective,
        "seed": seed,
        "backend": keras.backend.backend(),
    }
    if objective not in OBJECTIVES:
        raise ValueError(
            f"Argument `objective` must be one of {list(OBJECTIVES)}. Received: "
            f"objective={objective!r}."
        )
    for name, value, least in (
        *(("trials", trials, 1), ("executions", executions, 1)),
        *(("epochs", epochs, 1), ("examples", examples, 1)),
        *(("repeats", repeats, 0), ("seed", seed, 0)),
    ):
        check_integer(name, value, least)
    task = Task(settings, data_dir)
    folder = pathlib.Path(output_dir, "search")
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
        pathlib.Path(output_dir, repeated.FILE).unlink(missing_ok=True)
    _keep_settings(folder, settings)
    tuner = _tuner(folder, task, settings, trials)
    if "KERASTUNER_ORACLE_IP" in os.environ:
        _search(tuner, task)
        return None
    length = epochs * executions
    progress = progress_bar(trials * length, verbose=verbose, unit_name="epoch")
    progress.update(_completed(folder) * length)
    tuner.progress = progress
    _search(tuner, task)
    found = results(tuner)
    if not found.rows or not repeats:
        return found, []
    best = found.rows[0]["trial"]
    compared = repeated.run(task, tuner, best, settings, repeats, verbose=verbose)
    return found, compared


class _Tuner(keras_tuner.RandomSearch):
    progress = None

    def on_trial_begin(self, trial):
        self.task.execution = 0
        super().on_trial_begin(trial)

    def on_epoch_begin(self, trial, model, epoch, logs=None):
        self.task.execution += epoch == 0

    def on_epoch_end(self, trial, model, epoch, logs=None):
        if self.progress is not None:
            self.progress.add(1)


def _tuner(folder, task, settings, trials):
    """Makes the tuner, with the trials of earlier runs."""
    if "chief" in os.environ.get("KERASTUNER_TUNER_ID", "chief"):
        # A worker may find a file that the chief is writing at this moment.
        _check_records(folder)
    objective = settings["objective"]
    tuner = _Tuner(
        task.hypermodel(settings["seed"], by_execution=True),
        keras_tuner.Objective(objective, OBJECTIVES[objective]),
        max_trials=trials,
        executions_per_trial=settings["executions"],
        # Keras Tuner treats a seed of 0 as none.
        seed=settings["seed"] + 1,
        directory=folder.parent,
        project_name=folder.name,
    )
    tuner.task = task
    # Keras Tuner only reloads a search if it finds a file with the tuner's ID, which is
    # not the same for a chief and for a single process.
    is_worker = not isinstance(tuner.oracle, keras_tuner.Oracle)
    if not is_worker and not tuner.oracle.trials and (folder / "oracle.json").exists():
        tuner.oracle.reload()
    return tuner


def _check_records(folder):
    """Raises `ValueError` for a file that a killed search has not written whole."""
    for path in sorted(folder.rglob("*.json")):
        try:
            json.loads(path.read_text())
        except ValueError as error:
            if path.parent == folder and path.name not in RECORDS:
                # Keras Tuner keeps an empty record of each process here.
                path.unlink()
                continue
            of_trial = path.parent if path.parent.name.startswith("trial_") else None
            way_out = "Discard the search (--fresh)."
            if of_trial:
                way_out = f"Remove {of_trial} to repeat its trial, or use --fresh."
            raise ValueError(
                f"{path} is empty or truncated ({error}): a process was killed while "
                f"it wrote the file. {way_out}"
            ) from error


def _search(tuner, task):
    tuner.search(
        *task.train, validation_data=task.validation, epochs=task.epochs, verbose=0
    )


def _completed(folder):
    files = folder.glob("trial_*/trial.json")
    # Not parsed as JSON, because another process may be writing the file.
    return sum('"status": "COMPLETED"' in file.read_text() for file in files)


def _keep_settings(folder, settings):
    """Writes the settings of a search, or raises `ValueError` if they were others."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if not path.exists():
        with written_whole(path) as file:
            file.write_text(json.dumps(settings, indent=1))
    before = json.loads(path.read_text())
    other = {k: v for k, v in before.items() if settings.get(k) != v}
    if other:
        now = {k: settings.get(k) for k in other}
        raise ValueError(
            f"{folder.parent} holds a search with {other}, but this one has {now}. "
            "Use another folder (--output-dir), or discard that search (--fresh)."
        )

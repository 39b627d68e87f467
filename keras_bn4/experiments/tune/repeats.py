"""The best trial of a search against Keras' layer, on test data."""

import pathlib

import keras
import numpy as np
from scipy import stats

from keras_bn4.common import tables
from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.conversion import convert
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.experiments.tune.task import BATCH_SIZE
from keras_bn4.moving_statistics import recalibrate

FILE = "repeats.json"
METRICS = ("accuracy", "cross_entropy")
# The last two are recalibrated and weighed, as the trials of a search are.
ROWS = ("Keras", "Keras, weighed", "best of the search")


def run(task, tuner, trial_id, settings, repeats, *, verbose=1):
    """Trains the best of a search and the baseline again, with other seeds.

    The results of finished repeats are kept in the folder of the tuner, and these
    repeats are not run again.

    Args:
        task: The `Task` of the search.
        tuner: The tuner that has searched.
        trial_id: String, the name of the best trial.
        settings: Dict, the settings of the search. The seeds are the integers after its
            `"seed"`.
        repeats: Non-negative integer, the number of repeats.
        verbose: 0 or 1.

    Returns:
        List of dicts, one for each repeat: its `"settings"`, and under `"test"`, by the
        names of `ROWS`, the results on test data with the `"example_weight"`.
    """
    hyperparameters = tuner.oracle.get_trial(trial_id).hyperparameters
    records = Records(pathlib.Path(tuner.directory, FILE))
    progress = progress_bar(repeats, verbose=verbose, unit_name="repeat")
    progress.update(0)
    found = []
    for seed in range(settings["seed"] + 1, settings["seed"] + 1 + repeats):
        key = {**settings, "seed": seed, "values": hyperparameters.values}
        result = records.find(key)
        if result is None:
            rows = _compare(task, tuner.oracle.objective, hyperparameters, seed)
            result = {"settings": key, "test": rows}
            records.add(result)
        found.append(result)
        progress.add(1)
    return found


def _compare(task, objective, hyperparameters, seed):
    metric = objective.name.removeprefix("val_")
    rows = {}

    def weigh(model):
        recalibrate(model, task.train[0], batch_size=BATCH_SIZE, verbose=0)
        sweep = sweep_example_weight(model, *task.validation, batch_size=500, verbose=0)
        set_example_weight(model, sweep.best(metric)["example_weight"])
        return sweep.best(metric)["example_weight"]

    def evaluate(name, model, weight):
        scores = model.evaluate(*task.test, batch_size=500, verbose=0, return_dict=True)
        rows[name] = {"example_weight": weight, **scores}

    keras.backend.clear_session()
    model = task.network(seed)
    task.fit(model, objective)
    evaluate(ROWS[0], model, 0.0)
    model = convert(model, in_place=True)
    evaluate(ROWS[1], model, weigh(model))
    model = task.hypermodel(seed).build(hyperparameters.copy())
    task.fit(model, objective)
    evaluate(ROWS[2], model, weigh(model))
    return rows


def table(repeats):
    """Makes a table of means, and of differences to Keras' layer with intervals."""
    n = len(repeats)
    header = ["", "α"]
    for metric in METRICS:
        name = metric.replace("_", "-")
        header += [f"test {name}", "difference", "95 % interval"]
    lines = [header]
    for name in ROWS:
        weights = [r["test"][name]["example_weight"] for r in repeats]
        line = [name, tables.value_range(weights)]
        for metric in METRICS:
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
        + f"\n\nMeans over n = {n} seeds other than the search's. Differences are to "
        f"{ROWS[0]}, paired by seed."
    )

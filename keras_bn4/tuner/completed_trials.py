"""The completed trials of a search: the best model, and a table of all."""

import math
import statistics

import keras
import keras_tuner

from keras_bn4.common.models import new_optimizers_allowed
from keras_bn4.example_weight import set_example_weight
from keras_bn4.tuner.hypermodel import HyperBatchNormalization
from keras_bn4.tuner.search_results import SearchResults
from keras_bn4.tuner.space import chosen
from keras_bn4.tuner.trial import executions


def best_model(tuner: keras_tuner.Tuner) -> keras.Model:
    """Returns the model of a search's best trial, with its example weight set.

    Args:
        tuner: A tuner of `HyperBatchNormalization` that has searched. It can also be a
            new one that was made with the directory and project name of the search.

    Returns:
        The `keras.Model` with the weights of its best epoch. If the trial had several
        executions, it is that of the execution with the best objective.

    Raises:
        ValueError: if no trial has been completed, or the tuner has another hypermodel.

    Example: see `HyperBatchNormalization`.
    """
    _check_tuner(tuner)
    trials, _ = _completed_trials(tuner)
    if not trials:
        raise ValueError(
            "No trial has been completed yet. Run `tuner.search` first, with the same "
            "directory and project name."
        )
    trial = trials[0]
    # Only the weights are needed; no optimizer continues from the checkpoint.
    with new_optimizers_allowed():
        model = tuner.load_model(trial)
    objective = tuner.oracle.objective
    pick = max if objective.direction == "max" else min
    best = pick(executions(trial, objective.name), key=lambda run: run["best"])
    schedule = tuner.hypermodel.schedule
    set_example_weight(model, best["example_weight"], schedule=schedule)
    return model


def results(tuner: keras_tuner.Tuner) -> SearchResults:
    """Returns the completed trials of a search, the best first.

    Args:
        tuner: A tuner, as `best_model` takes it.

    Returns:
        A `SearchResults`. It prints as a table, holds the same as `rows`, writes a CSV
        file and plots the objective over B'.

    Raises:
        ValueError: if the tuner has another hypermodel.

    Example: see `HyperBatchNormalization`.
    """
    _check_tuner(tuner)
    objective = tuner.oracle.objective
    trials, failed = _completed_trials(tuner)
    rows = []
    for trial in trials:
        settings, others = chosen(trial.hyperparameters.values)
        runs = executions(trial, objective.name)
        recalibrated = _mean_or_none([run["recalibrated"] for run in runs])
        rows.append(
            {
                "trial": trial.trial_id,
                **settings,
                "hyperparameters": others,
                "example_weight": [run["example_weight"] for run in runs],
                "recalibrated": None if recalibrated is None else recalibrated == 1,
                f"{objective.name}_as_trained": _mean_or_none(
                    [run["as_trained"] for run in runs]
                ),
                f"{objective.name}_at_0": statistics.fmean(run["at_0"] for run in runs),
                objective.name: statistics.fmean(run["best"] for run in runs),
                "executions": {
                    f"{objective.name}_at_0": [run["at_0"] for run in runs],
                    objective.name: [run["best"] for run in runs],
                },
            }
        )
    return SearchResults(
        rows,
        objective.name,
        objective.direction,
        tuner.hypermodel.space.batch_size,
        failed=failed,
    )


def _check_tuner(tuner):
    if not hasattr(tuner, "oracle"):
        raise ValueError(
            "Expected a tuner of Keras Tuner, such as keras_tuner.RandomSearch. "
            f"Received: {tuner!r}."
        )
    if not isinstance(tuner.hypermodel, HyperBatchNormalization):
        raise ValueError(
            "Expected a tuner whose hypermodel is a HyperBatchNormalization. Received "
            f"a tuner of {tuner.hypermodel!r}."
        )


def _mean_or_none(values):
    return None if any(map(math.isnan, values)) else statistics.fmean(values)


def _completed_trials(tuner):
    """Lists the completed trials, the best first, and counts the others."""
    # More trials than there are: all of them, also from an oracle in another process.
    trials = tuner.oracle.get_best_trials(2**31 - 1)
    completed = [trial for trial in trials if trial.status == "COMPLETED"]
    sign = -1 if tuner.oracle.objective.direction == "max" else 1
    # Equal scores by trial, because files are read in any order.
    completed.sort(key=lambda trial: (sign * trial.score, trial.trial_id))
    return completed, len(trials) - len(completed)

"""What a tuner has found: its best model, and a table of its trials."""

import statistics
import warnings

from keras_bn4.example_weight import set_example_weight
from keras_bn4.tuner.example_weight_search import ExampleWeightSearch
from keras_bn4.tuner.hypermodel import HyperBatchNormalization
from keras_bn4.tuner.results import SearchResults
from keras_bn4.tuner.space import chosen
from keras_bn4.tuner.trial import executions


def best_model(tuner):
    """The model of a search's best trial, with its example weight set.

    Args:
        tuner: A tuner of `HyperBatchNormalization` or an `ExampleWeightSearch` that has
            searched, or that was made anew with the same directory and project name.

    Returns:
        The `keras.Model` with the weights of its best epoch. Of several executions it
        is that with the best objective.

    Raises:
        ValueError: if no trial has been completed.

    Example: see `HyperBatchNormalization`.
    """
    trials, _ = _completed_trials(tuner)
    if not trials:
        raise ValueError(
            "No trial has been completed yet. Search first, with the same directory "
            "and project name."
        )
    trial = trials[0]
    with warnings.catch_warnings():
        # The tuner's checkpoints are for weights; no optimizer goes on from them.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        model = tuner.load_model(trial)
    if isinstance(tuner, ExampleWeightSearch):
        return model
    objective = tuner.oracle.objective
    pick = max if objective.direction == "max" else min
    best = pick(executions(trial, objective.name), key=lambda run: run["best"])
    set_example_weight(model, best["example_weight"])
    return model


def results(tuner):
    """The trials of a search: a table, and a plot of the objective over B'.

    Args:
        tuner: A tuner of `HyperBatchNormalization` that has searched, or that was made
            anew with the same directory and project name.

    Returns:
        A `SearchResults`: `print` it, or see its `rows`, `to_csv` and `plot`.

    Raises:
        ValueError: if the tuner is of something else.

    Example: see `HyperBatchNormalization`.
    """
    if not isinstance(tuner.hypermodel, HyperBatchNormalization):
        raise ValueError(
            "Expected a tuner whose hypermodel is a HyperBatchNormalization. Received "
            f"one of {tuner.hypermodel!r}."
        )
    objective = tuner.oracle.objective
    trials, failed = _completed_trials(tuner)
    rows = []
    for trial in trials:
        settings, others = chosen(trial.hyperparameters.values)
        runs = executions(trial, objective.name)
        rows.append(
            {
                "trial": trial.trial_id,
                **settings,
                "hyperparameters": others,
                "example_weight": [run["example_weight"] for run in runs],
                f"{objective.name}_at_0": statistics.fmean(run["at_0"] for run in runs),
                objective.name: statistics.fmean(run["best"] for run in runs),
            }
        )
    return SearchResults(
        rows,
        objective.name,
        objective.direction,
        tuner.hypermodel.space.batch_size,
        failed=failed,
    )


def _completed_trials(tuner):
    """The completed trials, the best first, and how many others there are."""
    # All of them, also where the oracle is in another process.
    trials = tuner.oracle.get_best_trials(2**31 - 1)
    completed = [trial for trial in trials if trial.status == "COMPLETED"]
    sign = -1 if tuner.oracle.objective.direction == "max" else 1
    # Of equals the first, in whatever order they were read from files.
    completed.sort(key=lambda trial: (sign * trial.score, trial.trial_id))
    return completed, len(trials) - len(completed)

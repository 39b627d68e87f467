"""One trial of a search: its best epoch, its example weight, and its record."""

import math

import keras


def find_checkpoint(callbacks):
    """How a tuner keeps the best epoch of a trial's executions, or `None`."""
    for callback in callbacks:
        if hasattr(callback, "objective") and hasattr(callback, "best_value"):
            return callback
    return None


def reported(checkpoint, callbacks):
    """The metrics of a trial that was trained and reported before, or `None`.

    A tuner that was killed between the report and its end runs such a trial again, as
    does a chief with the last ones. It would keep the old report and the new
    checkpoint, which don't go together.
    """
    for callback in callbacks:
        metrics = getattr(getattr(callback, "trial", None), "metrics", None)
        if metrics is not None and metrics.exists(checkpoint.objective.name):
            return {name: metrics.get_last_value(name) for name in metrics.metrics}
    return None


class BestEpoch(keras.callbacks.Callback):
    """Keeps weights and logs of the epoch with the best objective, at weight 0.

    Where logs don't have it, those of the last epoch. In place of the tuner's own
    callback, which would write a checkpoint of another epoch or execution than that
    whose example weight is found.
    """

    def __init__(self, objective):
        super().__init__()
        self.objective = objective
        self.logs = self.weights = None

    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs or {})
        if self.weights is None or self._is_better(logs):
            self.logs = logs
            self.weights = self.model.get_weights()

    def _is_better(self, logs):
        if not self.objective.has_value(self.logs):
            return True
        if not self.objective.has_value(logs):
            return False
        before, now = map(self.objective.get_value, (self.logs, logs))
        return math.isnan(before) or self.objective.better_than(now, before)


def finish(checkpoint, model, logs, sweep):
    """Ends an execution of a trial: its metrics, and if it is the best the checkpoint.

    Args:
        checkpoint: The tuner's callback, as `find_checkpoint` gives it.
        model: The `keras.Model` with the weights of its best epoch.
        logs: Dict of the metrics of that epoch.
        sweep: The `ExampleWeightSweep` on the validation data.

    Returns:
        Dict of metrics, those of validation at the example weight with the best
        objective.
    """
    objective = checkpoint.objective

    def at(row):
        return {**logs, **{f"val_{name}": row[name] for name in sweep.metrics}}

    def value(row):
        return float(objective.get_value(at(row)))

    zero = best = sweep.rows[0]
    for row in sweep.rows[1:]:
        if math.isnan(value(best)) or objective.better_than(value(row), value(best)):
            best = row
    # The tuner makes one of these for all executions of a trial, and a new one where
    # the trial is run again.
    execution = getattr(checkpoint, "executions", 0)
    checkpoint.executions = execution + 1
    if not execution or objective.better_than(value(best), checkpoint.best_value):
        checkpoint.best_value = value(best)
        model.save_weights(checkpoint.filepath)
    prefix = f"execution_{execution}/"
    return {
        **at(best),
        objective.name: value(best),
        f"{prefix}example_weight": best["example_weight"],
        f"{prefix}{objective.name}": value(best),
        f"{prefix}{objective.name}_at_0": value(zero),
    }


def executions(trial, objective):
    """What `finish` recorded, for each execution of a trial.

    Args:
        trial: `keras_tuner.engine.trial.Trial`, completed.
        objective: String, the name of the objective.

    Returns:
        List of dicts, one an execution: `"example_weight"`, and the objective at that,
        `"best"`, and at weight 0, `"at_0"`.

    Raises:
        ValueError: if there are none.
    """
    names = {
        "example_weight": "example_weight",
        "best": objective,
        "at_0": f"{objective}_at_0",
    }
    found = []
    while trial.metrics.exists(
        f"{(prefix := f'execution_{len(found)}/')}example_weight"
    ):
        execution = {
            k: float(trial.metrics.get_last_value(prefix + n)) for k, n in names.items()
        }
        # Workers report in single precision.
        execution["example_weight"] = float(f"{execution['example_weight']:.7g}")
        found.append(execution)
    if not found:
        raise ValueError(
            f"Trial {trial.trial_id} has no example weight on record: it was not "
            "trained by `HyperBatchNormalization.fit` with the callbacks that "
            "`keras_tuner.Tuner.run_trial` gives it. Let a tuner of yours hand them on."
        )
    return found

"""The best epoch, the example weight and the recorded metrics of a trial."""

import contextlib
import logging
import math
import warnings

import keras

from keras_bn4 import moving_statistics
from keras_bn4.common.batches import are_arrays


def find_checkpoint(callbacks):
    """Returns the tuner's callback that saves the best epoch of a trial, or `None`."""
    # By its attributes, because Keras Tuner does not export its class, SaveBestEpoch.
    for callback in callbacks:
        if hasattr(callback, "objective") and hasattr(callback, "best_value"):
            return callback
    return None


def reported(checkpoint, callbacks):
    """Returns the metrics of a trial that was already reported, or `None`.

    A tuner that was killed after a trial was reported, but before the trial was ended,
    runs it again; so does a chief with its last trials. Training it again would leave
    the old metrics with a checkpoint that they do not describe.
    """
    for callback in callbacks:
        metrics = getattr(getattr(callback, "trial", None), "metrics", None)
        if metrics is not None and metrics.exists(checkpoint.objective.name):
            return {name: metrics.get_last_value(name) for name in metrics.metrics}
    return None


@contextlib.contextmanager
def retracing_expected():
    """Leaves TensorFlow's warning about frequent retracing out of the log.

    TensorFlow counts the functions of all models as one, and every trial has a model.
    """

    def is_other(record):
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


class BestEpoch(keras.callbacks.Callback):
    """Keeps weights and logs of the epoch whose objective is best at example weight 0.

    If the logs do not have the objective, those of the last epoch are kept. It replaces
    the tuner's own callback, whose checkpoint might be of another epoch or execution
    than the one for which the example weight is found.
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


def recalibrate(model, arguments):
    """Replaces the moving statistics by those of the training data.

    Returns:
        Whether that was possible. It is not for frozen layers, for example, or after a
        training that failed.
    """
    data = arguments.get("x")
    sizes = {"steps": arguments.get("steps_per_epoch")}
    if are_arrays(data):
        sizes["batch_size"] = arguments.get("batch_size")
    try:
        moving_statistics.recalibrate(model, data, verbose=0, **sizes)
    except ValueError as error:
        warnings.warn(
            "A trial could not be recalibrated, and is judged by the moving statistics "
            f"of its training: {str(error).rstrip('.')}. With `recalibrate=False` all "
            "trials are.",
            stacklevel=2,
        )
        return False
    return True


def finish(checkpoint, model, logs, sweep, as_trained, recalibrated):
    """Ends an execution of a trial, and saves its checkpoint if it is the best so far.

    Args:
        checkpoint: The tuner's callback, as `find_checkpoint` gives it.
        model: The `keras.Model` with the weights of its best epoch.
        logs: Dict of the metrics of that epoch.
        sweep: The `ExampleWeightSweep` on the validation data.
        as_trained: Float, the objective before the moving statistics were recalibrated,
            or NaN where it is not known.
        recalibrated: Whether they were recalibrated, or `None` if that was not tried.

    Returns:
        Dict of the metrics to report. Those of validation are at the example weight
        with the best objective.
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
    # The tuner makes one callback for all executions of a trial, and a new one if the
    # trial is run again.
    execution = getattr(checkpoint, "executions", 0)
    checkpoint.executions = execution + 1
    if not execution or objective.better_than(value(best), checkpoint.best_value):
        checkpoint.best_value = value(best)
        model.save_weights(checkpoint.filepath)
    prefix = f"execution_{execution}/"
    metrics = {
        **at(best),
        objective.name: value(best),
        f"{prefix}example_weight": best["example_weight"],
        f"{prefix}{objective.name}": value(best),
    }
    for name, number in (("at_0", value(zero)), ("as_trained", as_trained)):
        # Keras Tuner would count a trial with a NaN among its metrics as failed.
        if not math.isnan(number):
            metrics[f"{prefix}{objective.name}_{name}"] = number
    if recalibrated is not None:
        metrics[f"{prefix}recalibrated"] = float(recalibrated)
    return metrics


def value_of(objective, logs):
    """The value of an objective in the logs of an epoch, or NaN."""
    return float(objective.get_value(logs)) if objective.has_value(logs) else math.nan


def executions(trial, objective):
    """Returns what `finish` recorded for each execution of a trial.

    Args:
        trial: A completed `keras_tuner.engine.trial.Trial`.
        objective: String, the name of the objective.

    Returns:
        List of dicts, one for each execution: the `"example_weight"`, and the objective
        at that weight (`"best"`), at weight 0 (`"at_0"`), at weight 0 before the moving
        statistics were recalibrated (`"as_trained"`), and whether they were
        (`"recalibrated"`, 1 or 0). NaN where it was not recorded.

    Raises:
        ValueError: if nothing was recorded.
    """
    names = {
        "example_weight": "example_weight",
        "best": objective,
        "at_0": f"{objective}_at_0",
        "as_trained": f"{objective}_as_trained",
        "recalibrated": "recalibrated",
    }
    found = []
    while trial.metrics.exists(
        f"{(prefix := f'execution_{len(found)}/')}example_weight"
    ):
        execution = {
            k: float(trial.metrics.get_last_value(prefix + n))
            if trial.metrics.exists(prefix + n)
            else math.nan
            for k, n in names.items()
        }
        # Workers report in single precision, in which 0.1 is 0.10000000149.
        execution["example_weight"] = float(f"{execution['example_weight']:.7g}")
        found.append(execution)
    if not found:
        raise ValueError(
            f"Trial {trial.trial_id} has no example weight on record: it was not "
            "trained by `HyperBatchNormalization.fit` with the callbacks that "
            "`keras_tuner.Tuner.run_trial` gives it. A custom tuner must pass these "
            "callbacks on."
        )
    return found

"""One trial of a search: its data, best epoch, example weight and record."""

import functools
import inspect
import math

import keras

from keras_bn4.batches import iterate, split
from keras_bn4.example_weight import sweep_example_weight


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


def by_name(fit, model, args, kwargs):
    """The arguments of a call of `fit`, all by their names.

    Args:
        fit: The function to call; one with `*args` hands them to `model.fit`.
        model: The `keras.Model` to train.
        args: Tuple of positional arguments.
        kwargs: Dict of keyword arguments.

    Returns:
        A pair: list of the names of the positional ones, and a dict of all.
    """
    parameters = inspect.signature(fit).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        parameters = inspect.signature(model.fit).parameters
    names = list(parameters)[: len(args)]
    return names, {**dict(zip(names, args)), **kwargs}


def with_validation(arguments, batch_size):
    """Arguments of `fit` with validation data of their own, and of a sweep on these.

    Args:
        arguments: Dict of arguments of `fit`.
        batch_size: Integer, the examples in a minibatch where the data are arrays, or
            `None` for what `fit` makes of it.

    Returns:
        A pair of dicts: arguments of `fit`, and of `keras_bn4.sweep_example_weight`.

    Raises:
        ValueError: if there are no validation data.
    """
    arguments = dict(arguments)
    leaves = keras.tree.flatten(arguments.get("x"))
    is_arrays = all(hasattr(leaf, "shape") for leaf in leaves)
    if is_arrays and batch_size is not None:
        arguments.setdefault("batch_size", batch_size)
    fraction = arguments.pop("validation_split", None)
    if arguments.get("validation_data") is None and fraction:
        if not is_arrays:
            raise ValueError(
                "Argument `validation_split` goes with arrays. Give `validation_data`."
            )
        parts = ("x", "y", "sample_weight")
        train, rest = split(*map(arguments.get, parts), fraction)
        train = {k: v for k, v in zip(parts, train) if k in arguments}
        arguments.update(train, validation_data=rest)
    data = arguments.get("validation_data")
    if data is None:
        raise ValueError(
            "The example weight and the objective need validation data, and there are "
            "none. Give `validation_data` or `validation_split` to `search`."
        )
    if isinstance(data, (tuple, list)):
        sweep = dict(zip(("x", "y", "sample_weight"), data))
        sizes = map(arguments.get, ("validation_batch_size", "batch_size"))
        sweep["batch_size"] = next(filter(None, sizes), None)
    else:
        sweep = {"x": data}
    return arguments, {**sweep, "steps": arguments.get("validation_steps")}


def check_batch_size(arguments, batch_size):
    """Raises `ValueError` if minibatches have another size.

    Args:
        arguments: Dict of arguments of `fit`. Of a data set the first minibatch is
            looked at, but of iterators, which would lose it.
        batch_size: Integer.
    """
    data, size = arguments.get("x"), arguments.get("batch_size")
    if size is None and not hasattr(data, "__next__"):
        first = next(iterate(data, steps=1)[0], None)
        size = None if first is None else len(keras.tree.flatten(first[0])[0])
    if size not in (None, batch_size):
        raise ValueError(
            f"The search trains with minibatches of {size} examples, and its "
            f"hypermodel was made for batch_size={batch_size}. Give both the same."
        )


def check_objective(objective, model, validation):
    """Raises `ValueError` unless a model can be judged by an objective.

    Args:
        objective: `keras_tuner.Objective`.
        model: A built `keras.Model`.
        validation: Dict of arguments of `keras_bn4.sweep_example_weight`, the data.
    """
    if not model.compiled:
        raise ValueError(
            "The model isn't compiled, so there is nothing to search for. Compile it "
            "in `build`, or give `loss` and `optimizer` to the tuner."
        )
    # One batch is enough, and an error if the data have no end.
    iterate(**validation)
    first = {**validation, "steps": 1}
    sweep = sweep_example_weight(model, **first, example_weights=(), verbose=0)
    known = [f"val_{name}" for name in sweep.metrics]
    wanted = getattr(objective, "name_to_direction", [objective.name])
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"Unknown objective {unknown}: validation reports {known}. Give the tuner "
            "one of these, such as "
            "`objective=keras_tuner.Objective('val_accuracy', 'max')`, or compile the "
            "model with the metric."
        )


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


def restore_grid(callbacks):
    """Lets a grid search go on that was killed, which its oracle can't by itself.

    It doesn't save which trials it has made: keras-tuner#1055.
    """
    for callback in callbacks:
        oracle = getattr(getattr(callback, "tuner", None), "oracle", None)
        ordered = getattr(oracle, "_ordered_ids", None)
        if ordered is None or ordered._memory:
            continue
        values = {k: trial.hyperparameters.values for k, trial in oracle.trials.items()}
        compare = functools.cmp_to_key(
            lambda a, b, o=oracle, v=values: o._compare(v[a], v[b])
        )
        for trial_id in sorted(values, key=compare):
            ordered.insert(trial_id)
        oracle._populate_next = list(oracle.start_order)

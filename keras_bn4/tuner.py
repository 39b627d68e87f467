"""Search by Keras Tuner: kind of statistics, ghosts, groups, decay, example weight."""

import copy
import inspect
import math
import warnings

import keras

from keras_bn4.batches import iterate, split
from keras_bn4.convert import convert, convertible_layers
from keras_bn4.example_weight import (
    EXAMPLE_WEIGHTS,
    set_example_weight,
    sweep_example_weight,
    weighing_layers,
)
from keras_bn4.search_results import SearchResults
from keras_bn4.search_space import DECAY, SearchSpace, chosen
from keras_bn4.weight_decay import exclude_from_weight_decay

try:
    import keras_tuner
    from keras_tuner import errors
except ImportError as error:
    raise ImportError(
        f"The search is by Keras Tuner, which is not installed in full: {error}. "
        'Install it with all it needs: pip install "keras_bn4[tune]".'
    ) from error


class HyperBatchNormalization(keras_tuner.HyperModel):
    """Searches how to normalize, for any model with batch normalization.

    Wraps a function `build(hp)` or a `keras_tuner.HyperModel`, converts the batch
    normalization of its model in every trial (`keras_bn4.convert`), and adds these
    hyperparameters to those that `build` has itself:

    - `normalization/kind`: `"batch"`, the statistics of the whole minibatch; `"ghost"`,
      of ghosts (Sec. 3.2); or `"batch_group"`, of ghosts and channel groups (Sec. 3.4)
    - `normalization/ghost/ghost_batch_size`: B', for ghosts
    - `normalization/batch_group/ghost_batch_size` and `.../groups`: B' and channel
      groups, for batch groups
    - `normalization/decay` and `normalization/l2`: whether γ is pulled to 1 and β to 0
      by a regularizer (Sec. 3.3), and its factor
    - `normalization/momentum`, if asked

    The example weight α (Sec. 3.1) needs no training and is no hyperparameter: after
    the training of a trial the weights of its best epoch are swept on the validation
    data, and the objective is taken at its best α. A trial records, for every execution
    `i`, `execution_i/example_weight`, and the objective there and at α = 0. What the
    tuner averages over executions are objectives, each at its own α.

    Checkpoints don't hold α: take the best model with `keras_bn4.tuner.best_model`, not
    `tuner.get_best_models`, whose models have α = 0. `keras_bn4.tuner.results` has a
    table and a plot. Out of a tuner, `fit` is that of the model or hypermodel.

    Works with every tuner of Keras Tuner that trains Keras models, with
    `executions_per_trial`, `distribution_strategy`, and chief and workers. A search
    that was killed goes on when it is run again, except that Keras Tuner's `GridSearch`
    forgets where it was (keras-tuner#1055); `RandomSearch` with as many trials tries
    the same, none twice.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548)

    Args:
        build: Function of `keras_tuner.HyperParameters` that returns a compiled and
            built `keras.Model` with batch normalization, or a `keras_tuner.HyperModel`.
        batch_size: Positive integer, the examples in a minibatch of the training. With
            arrays, `fit` uses it.
        kinds: Sequence of kinds to try, or `None` for those that the batch size and the
            channels allow.
        ghost_batch_sizes: Sequence of B' to try, integers from 1 to `batch_size`, or
            `None` for the powers of two from 2 to half of it, and for batch groups the
            whole batch besides.
        groups: Sequence of numbers of channel groups to try, which divide the channels
            of every layer, or -1. `None` for all common divisors but 1. Where channels
            depend on a hyperparameter, a layer that a number doesn't divide gets their
            greatest common divisor.
        decay: Sequence of factors of the regularizer to try, or `None` to leave γ and β
            as `build` has them. With a sequence, all γ and β are excluded from the
            optimizer's own weight decay.
        momentum: Sequence of floats to try, or `None` to leave it as `build` has it.
        example_weights: Floats from 0 to 1, the α to sweep.
        select: `None` for all layers, or a function of a layer that says whether to
            convert it.
        name: String, or `None`.
        tunable: Whether the hyperparameters are searched.

    Raises:
        ValueError: if an argument is not as above; when the tuner is made, if the model
            has no batch normalization, or `groups` don't divide its channels; before
            the first trial trains, if there are no validation data, or the objective is
            none of what validation reports.

    Example:

    >>> import keras_tuner
    >>> def build(hp):
    ...     inputs = keras.Input((4,))
    ...     x = keras.layers.Dense(hp.Choice("units", [8, 16]))(inputs)
    ...     x = keras.layers.BatchNormalization()(x)
    ...     model = keras.Model(inputs, keras.layers.Dense(1)(x))
    ...     model.compile(loss="mse")
    ...     return model
    >>> hypermodel = HyperBatchNormalization(build, batch_size=64)
    >>> hp = keras_tuner.HyperParameters()
    >>> model = hypermodel.build(hp)
    >>> hp.values
    {'units': 8, 'normalization/kind': 'batch', 'normalization/decay': False}

    Then `tuner = keras_tuner.RandomSearch(hypermodel, "val_loss", max_trials=20)` and
    `tuner.search(x, y, validation_split=0.2, epochs=10)`.
    """

    def __init__(
        self,
        build,
        *,
        batch_size,
        kinds=None,
        ghost_batch_sizes=None,
        groups=None,
        decay=DECAY,
        momentum=None,
        example_weights=EXAMPLE_WEIGHTS,
        select=None,
        name=None,
        tunable=True,
    ):
        super().__init__(name=name, tunable=tunable)
        if not isinstance(build, keras_tuner.HyperModel) and (
            not callable(build) or isinstance(build, keras.layers.Layer)
        ):
            raise ValueError(
                "Argument `build` must be a function of `keras_tuner.HyperParameters` "
                "that returns a model, or a `keras_tuner.HyperModel`. Received: "
                f"build={build!r}."
            )
        self.space = SearchSpace(
            batch_size=batch_size,
            kinds=kinds,
            ghost_batch_sizes=ghost_batch_sizes,
            groups=groups,
            decay=decay,
            momentum=momentum,
        )
        self.example_weights = tuple(example_weights)
        self.select = select
        self.hypermodel = build

    def declare_hyperparameters(self, hp):
        if isinstance(self.hypermodel, keras_tuner.HyperModel):
            self.hypermodel.declare_hyperparameters(hp)

    def build(self, hp):
        """A model of the wrapped `build`, converted as the hyperparameters say."""
        is_hypermodel = isinstance(self.hypermodel, keras_tuner.HyperModel)
        model = (self.hypermodel.build if is_hypermodel else self.hypermodel)(hp)
        try:
            layers, _ = convertible_layers(model, self.select)
            channels = [layer.moving_mean.shape[0] for layer in layers]
            arguments = self.space.choose(hp, channels)
            # `build` made the model for us, and may have told an optimizer of it.
            return convert(model, select=self.select, in_place=True, **arguments)
        except ValueError as error:
            raise errors.FatalValueError(str(error)) from error

    def fit(self, hp, model, *args, **kwargs):
        """Trains a model as `model.fit` does, then sweeps its example weight.

        Returns:
            Dict of the trial's metrics. Out of a tuner, what the wrapped `fit` returns.
        """
        # As Keras itself names the positional ones.
        names = inspect.signature(model.fit).parameters
        arguments = {**dict(zip(names, args)), **kwargs}
        self._exclude_from_weight_decay(model)
        callbacks = list(arguments.get("callbacks") or [])
        checkpoint = next((c for c in callbacks if _is_checkpoint(c)), None)
        if checkpoint is None:
            return self._fit(hp, model, arguments)
        try:
            arguments, validation = self._data(arguments)
            _check_objective(checkpoint.objective, model, validation)
        except ValueError as error:
            raise errors.FatalValueError(str(error)) from error
        best_epoch = _BestEpoch(checkpoint.objective)
        callbacks[callbacks.index(checkpoint)] = best_epoch
        result = self._fit(hp, model, {**arguments, "callbacks": callbacks})
        if best_epoch.weights is None:
            logs = result if isinstance(result, dict) else {}
        else:
            logs = best_epoch.logs
            model.set_weights(best_epoch.weights)
        sweep = sweep_example_weight(
            model,
            **validation,
            example_weights=self.example_weights,
            verbose=int(arguments.get("verbose", "auto") in ("auto", 1)),
        )
        return _finish(checkpoint, model, logs, sweep)

    def _fit(self, hp, model, arguments):
        if isinstance(self.hypermodel, keras_tuner.HyperModel):
            return self.hypermodel.fit(hp, model, **arguments)
        return model.fit(**arguments)

    def _exclude_from_weight_decay(self, model):
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        decays = self.space.decay and getattr(optimizer, "weight_decay", None)
        # A second `fit` finds it built, and them excluded.
        if decays and not optimizer.built:
            exclude_from_weight_decay(optimizer, model, decay="none")

    def _data(self, arguments):
        """Arguments of `fit` with validation data of their own, and of the sweep."""
        arguments = dict(arguments)
        is_arrays = _is_arrays(arguments.get("x"))
        if is_arrays:
            size = arguments.setdefault("batch_size", self.space.batch_size)
            if size != self.space.batch_size:
                raise ValueError(
                    f"The search trains with batch_size={size}, and its hypermodel was "
                    f"made for batch_size={self.space.batch_size}. Give both the same."
                )
        fraction = arguments.pop("validation_split", None)
        if arguments.get("validation_data") is None and fraction:
            if not is_arrays:
                raise ValueError(
                    "Argument `validation_split` goes with arrays. Give "
                    "`validation_data`."
                )
            names = ("x", "y", "sample_weight")
            train, rest = split(*map(arguments.get, names), fraction)
            arguments.update(zip(names, train), validation_data=rest)
        validation = arguments.get("validation_data")
        if validation is None:
            raise ValueError(
                "The example weight and the objective need validation data, and there "
                "are none. Give `validation_data` or `validation_split` to `search`."
            )
        if not isinstance(validation, (tuple, list)):
            sweep = {"x": validation}
        else:
            sweep = dict(zip(("x", "y", "sample_weight"), validation))
            sweep["batch_size"] = (
                arguments.get("validation_batch_size") or self.space.batch_size
            )
        return arguments, {**sweep, "steps": arguments.get("validation_steps")}


class ExampleWeightSearch(keras_tuner.Tuner):
    """Searches the example weight of a model that is already trained.

    For those who live in Keras Tuner. `keras_bn4.sweep_example_weight` finds the same
    in one pass over the data, with intervals. Every trial evaluates the model at one
    value of the hyperparameter `example_weight`; nothing is trained.
    `tuner.get_best_models()` returns copies of the model with their weights set.

    Args:
        model: A built and compiled `keras.Model` with layers of ours (see
            `keras_bn4.convert`). It keeps its example weight.
        objective: What to optimize, as `keras_tuner.Objective` or the name of a metric
            as `model.evaluate` names it.
        example_weights: Floats from 0 to 1.
        oracle: A `keras_tuner.Oracle` that chooses among `example_weights`, with its
            own objective. `None` for all of them, one after the other.
        **kwargs: Arguments of `keras_tuner.Tuner`: `directory`, `project_name`,
            `overwrite`.

    Raises:
        ValueError: if the model has no layer of ours or is not compiled.

    Example:

    >>> import numpy as np, tempfile
    >>> inputs = keras.Input((4,))
    >>> batch_normalization = keras.layers.BatchNormalization()
    >>> model = convert(keras.Model(inputs, batch_normalization(inputs)))
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> folder = tempfile.mkdtemp()
    >>> tuner = ExampleWeightSearch(
    ...     model, "loss", example_weights=[0, 0.1], directory=folder
    ... )
    >>> tuner.search(x, x, verbose=0)
    >>> tuner.get_best_models()[0].layers[-1].example_weight
    0.0
    """

    def __init__(
        self,
        model,
        objective="loss",
        *,
        example_weights=EXAMPLE_WEIGHTS,
        oracle=None,
        **kwargs,
    ):
        self._layers = weighing_layers(model)
        if not model.compiled:
            raise ValueError(
                f"Model '{model.name}' isn't compiled, so there is no metric to "
                "search. Call `model.compile(loss=..., metrics=[...])` first."
            )
        self.model = model
        oracle = oracle or _InOrder(objective=objective)
        space = keras_tuner.HyperParameters()
        space.Choice("example_weight", sorted({float(w) for w in example_weights}))
        oracle.update_space(space)
        super().__init__(oracle, **kwargs)

    def run_trial(self, trial, *args, **kwargs):
        """Evaluates the model at one weight. The arguments are `model.evaluate`'s."""
        before = [layer.example_weight for layer in self._layers]
        try:
            set_example_weight(self.model, trial.hyperparameters["example_weight"])
            kwargs["return_dict"] = True
            return self.model.evaluate(*args, **kwargs)
        finally:
            for layer, weight in zip(self._layers, before):
                layer.example_weight = weight

    def load_model(self, trial):
        """A copy of the model with the trial's weight."""
        model = copy.deepcopy(self.model)
        set_example_weight(model, trial.hyperparameters["example_weight"])
        return model


class _InOrder(keras_tuner.Oracle):
    """Every value of the only hyperparameter, in order; a killed search goes on."""

    def populate_space(self, trial_id):
        (choice,) = self.get_space().space
        tried = [t.hyperparameters.get(choice.name) for t in self.trials.values()]
        left = [value for value in choice.values if value not in tried]
        if not left:
            return {"status": "STOPPED"}
        return {"status": "RUNNING", "values": {choice.name: left[0]}}


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
    """
    trial = tuner.oracle.get_best_trials(1)[:1]
    if not trial or trial[0].status != "COMPLETED":
        raise ValueError(
            "No trial has been completed yet. Search first, with the same directory "
            "and project name."
        )
    (trial,) = trial
    with warnings.catch_warnings():
        # The tuner's checkpoints are for weights; no optimizer goes on from them.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        model = tuner.load_model(trial)
    if isinstance(tuner, ExampleWeightSearch):
        return model
    executions = _executions(trial, tuner.oracle.objective.name)
    best = executions[0]
    for execution in executions[1:]:
        if tuner.oracle.objective.better_than(execution["best"], best["best"]):
            best = execution
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
    """
    if not isinstance(tuner.hypermodel, HyperBatchNormalization):
        raise ValueError(
            "Expected a tuner whose hypermodel is a HyperBatchNormalization. Received "
            f"one of {tuner.hypermodel!r}."
        )
    objective = tuner.oracle.objective
    # All of them, also where the oracle is in another process.
    trials = tuner.oracle.get_best_trials(2**31 - 1)
    rows = []
    for trial in trials:
        if trial.status != "COMPLETED":
            continue
        settings, others = chosen(trial.hyperparameters.values)
        executions = _executions(trial, objective.name)
        rows.append(
            {
                "trial": trial.trial_id,
                **settings,
                **others,
                "example_weight": [e["example_weight"] for e in executions],
                f"{objective.name}_at_0": _mean(e["at_0"] for e in executions),
                objective.name: _mean(e["best"] for e in executions),
            }
        )
    return SearchResults(
        rows,
        objective.name,
        objective.direction,
        tuner.hypermodel.space.batch_size,
        failed=len(trials) - len(rows),
    )


class _BestEpoch(keras.callbacks.Callback):
    """Keeps weights and logs of the epoch with the best objective, at weight 0.

    In place of the tuner's own callback, which would write a checkpoint of another
    epoch or execution than that whose example weight is found.
    """

    def __init__(self, objective):
        super().__init__()
        self.objective = objective
        self.logs = self.weights = None

    def on_epoch_end(self, epoch, logs=None):
        if self.weights is None or self._is_better(logs):
            self.logs = dict(logs or {})
            self.weights = self.model.get_weights()

    def _is_better(self, logs):
        if not self.objective.has_value(logs):
            return False
        if not self.objective.has_value(self.logs):
            return True
        before, now = map(self.objective.get_value, (self.logs, logs))
        return math.isnan(before) or self.objective.better_than(now, before)


def _is_checkpoint(callback):
    """Whether this is how a tuner keeps the best epoch of a trial's executions."""
    return hasattr(callback, "objective") and hasattr(callback, "best_value")


def _is_arrays(x):
    return x is not None and all(hasattr(t, "shape") for t in keras.tree.flatten(x))


def _check_objective(objective, model, validation):
    if not model.compiled:
        raise ValueError(
            "The model isn't compiled, so there is nothing to search for. Compile it "
            "in `build`, or give `loss` and `optimizer` to the tuner."
        )
    batches, _ = iterate(**{**validation, "steps": 1})
    batch = next(iter(batches), None)
    if batch is None or batch[1] is None:
        raise ValueError(
            "The validation data have no labels, or no examples. Give both."
        )
    x, y, sample_weight = batch
    reported = model.evaluate(
        x, y, sample_weight=sample_weight, verbose=0, return_dict=True
    )
    reported = [f"val_{name}" for name in reported]
    wanted = getattr(objective, "name_to_direction", [objective.name])
    unknown = [name for name in wanted if name not in reported]
    if unknown:
        raise ValueError(
            f"Unknown objective {unknown}: validation reports {reported}. Give the "
            "tuner one of these, such as "
            "`objective=keras_tuner.Objective('val_accuracy', 'max')`, or compile the "
            "model with the metric."
        )


def _finish(checkpoint, model, logs, sweep):
    """The metrics of an execution; the checkpoint if it is the best of its trial."""
    objective = checkpoint.objective

    def at(row):
        return {**logs, **{f"val_{name}": row[name] for name in sweep.metrics}}

    def value(row):
        return float(objective.get_value(at(row)))

    best = zero = sweep.rows[0]
    for row in sweep.rows[1:]:
        if objective.better_than(value(row), value(best)):
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


def _executions(trial, objective):
    """What `_finish` recorded, for each execution of a trial."""

    names = {"best": objective, "at_0": f"{objective}_at_0"}
    names["example_weight"] = "example_weight"
    executions = []
    while trial.metrics.exists(
        f"{(prefix := f'execution_{len(executions)}/')}example_weight"
    ):
        histories = {k: trial.metrics.get_history(prefix + n) for k, n in names.items()}
        # A trial that was reported, and then run again, has reported twice.
        execution = {k: history[0].value[-1] for k, history in histories.items()}
        # Workers report in single precision.
        execution["example_weight"] = float(f"{execution['example_weight']:.7g}")
        executions.append(execution)
    return executions


def _mean(values):
    values = list(values)
    return sum(values) / len(values)

"""The hypermodel that searches how to normalize."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_tuner
from keras_tuner import errors

from keras_bn4.common.arguments import check_example_weight, check_flag
from keras_bn4.conversion import convert, convertible_layers
from keras_bn4.example_weight import EXAMPLE_WEIGHTS, sweep_example_weight
from keras_bn4.example_weight.schedules import Schedule, check_schedule
from keras_bn4.tuner.fit_arguments import (
    by_name,
    check_batch_size,
    check_objective,
    with_validation,
)
from keras_bn4.tuner.grid_search import restore_grid
from keras_bn4.tuner.space import DECAY, SearchSpace, candidates
from keras_bn4.tuner.trial import (
    BestEpoch,
    find_checkpoint,
    finish,
    recalibrate,
    reported,
    retracing_expected,
    value_of,
)
from keras_bn4.weight_decay.optimizer import exclude_variables
from keras_bn4.weight_decay.paths import affine_variables


class HyperBatchNormalization(keras_tuner.HyperModel):
    """Searches how to normalize, for any model with batch normalization.

    This hypermodel wraps a function `build(hp)` or another `keras_tuner.HyperModel`. In
    every trial it converts the batch normalization layers of the wrapped model (see
    `keras_bn4.convert`), and adds these hyperparameters to those of `build`:

    - `normalization/kind`: Which statistics to normalize with: `"batch"` for those of
      the whole minibatch, `"ghost"` for those of ghosts (Sec. 3.2), or `"batch_group"`
      for those of ghosts and channel groups (Sec. 3.4).
    - `normalization/ghost/ghost_batch_size`: The ghost batch size B' of kind `"ghost"`.
    - `normalization/batch_group/ghost_batch_size` and `.../groups`: B' and the number
      of channel groups of kind `"batch_group"`.
    - `normalization/decay` and `normalization/l2`: Whether a regularizer pulls γ to 1
      and β to 0 (Sec. 3.3), and its factor.
    - `normalization/momentum`: Only if `momentum` is given.

    The example weight α (Sec. 3.1) needs no training and is not a hyperparameter.
    After each training, α is swept on the validation data with the weights of the best
    epoch, and the trial is judged by the objective at the best α. For every execution
    `i` a trial records `execution_i/example_weight`, and the objective at this weight
    and at α = 0; the tuner averages the objectives of executions at their own α.

    Checkpoints do not hold α. Get the best model from `keras_bn4.tuner.best_model`, not
    from `tuner.get_best_models`, and a table and plot of all trials from
    `keras_bn4.tuner.results`. Outside a tuner, `fit` only trains.

    It works with every tuner that trains Keras models, with `executions_per_trial`,
    `distribution_strategy`, and a chief and workers. A search that was interrupted
    continues when it is run again; a `keras_tuner.GridSearch` continues only without a
    chief, and adds no trials to a finished search (keras-tuner#1055).

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548)

    Args:
        build: Function of `keras_tuner.HyperParameters` that returns a compiled and
            built `keras.Model` with batch normalization, or a `keras_tuner.HyperModel`.
        batch_size: Positive integer, the batch size of the training. If the data are
            arrays, `fit` uses it. If a hypermodel's own `fit` chooses the batch size,
            give the smallest.
        kinds: Sequence of kinds to try, or `None` for those that the batch size and the
            channels allow.
        ghost_batch_sizes: Sequence of B' to try, integers from 1 to `batch_size`.
            `None` for the powers of two from 2 to half of `batch_size`, and for kind
            `"batch_group"` also `batch_size` itself.
        groups: Sequence of numbers of channel groups to try, each -1 (every channel its
            own group) or a divisor of the channels of every layer. `None` for all
            common divisors except 1. Where the channels depend on a hyperparameter, the
            greatest common divisor of the channels and the chosen number is used.
        decay: Sequence of factors of the regularizer to try, besides none. `None` never
            adds a regularizer. With a sequence, γ and β are excluded from the
            optimizer's own weight decay. As always in Keras, `val_loss` includes the
            penalty; a metric such as accuracy or cross-entropy does not.
        momentum: Sequence of floats to try, or `None` to leave the momentum as it is.
        example_weights: Sequence of floats from 0 to 1, the α to sweep.
        schedule: How α is spread over the layers: `"uniform"`, `"falling"`, or a
            function, as `keras_bn4.set_example_weight` takes it.
        recalibrate: Whether to replace the moving statistics of each trial by those of
            the training data (`keras_bn4.recalibrate`) before the sweep. In short
            trainings they have not converged, and would decide the ranking. The trial
            also records the objective before that. A warning says why a trial could not
            be recalibrated, and the results say which.
        select: Function of a layer that returns whether to convert it, or `None` to
            convert all layers.
        name: String, or `None`.
        tunable: Whether the hyperparameters are searched.

    Raises:
        ValueError: if an argument is not as above; when the tuner is made, if the model
            has no batch normalization or `groups` do not divide its channels; before
            the first trial trains, if there are no validation data or validation does
            not report the objective.

    Examples:
        >>> import keras_tuner, numpy as np, tempfile
        >>> from keras_bn4.tuner import best_model, results
        >>> def build(hp):
        ...     inputs = keras.Input((4,))
        ...     x = keras.layers.Dense(hp.Choice("units", [8, 16]))(inputs)
        ...     x = keras.layers.BatchNormalization()(x)
        ...     model = keras.Model(inputs, keras.layers.Dense(1)(x))
        ...     model.compile(loss="mse")
        ...     return model
        >>> hypermodel = HyperBatchNormalization(build, batch_size=16)
        >>> tuner = keras_tuner.RandomSearch(
        ...     hypermodel, "val_loss", max_trials=1, directory=tempfile.mkdtemp()
        ... )
        >>> x = np.random.default_rng(0).normal(size=(64, 4))
        >>> tuner.search(x, x[:, :1], validation_split=0.25, verbose=0)
        >>> len(results(tuner).rows)
        1
        >>> model = best_model(tuner)
    """

    def __init__(
        self,
        build: Callable | keras_tuner.HyperModel,
        *,
        batch_size: int,
        kinds: Sequence[str] | None = None,
        ghost_batch_sizes: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        decay: Sequence[float] | None = DECAY,
        momentum: Sequence[float] | None = None,
        example_weights: Sequence[float] = EXAMPLE_WEIGHTS,
        schedule: Schedule = "uniform",
        recalibrate: bool = True,
        select: Callable[[keras.layers.Layer], bool] | None = None,
        name: str | None = None,
        tunable: bool = True,
    ):
        super().__init__(name=name, tunable=tunable)
        self._is_hypermodel = isinstance(build, keras_tuner.HyperModel)
        is_function = callable(build) and not isinstance(build, keras.layers.Layer)
        if not self._is_hypermodel and not is_function:
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
        self.example_weights = candidates(
            "example_weights", example_weights, check_example_weight
        )
        check_schedule(schedule)
        self.schedule = schedule
        self.recalibrate = check_flag("recalibrate", recalibrate)
        self.select = select
        self.hypermodel: Any = build  # `_is_hypermodel` says which
        # The objective that data and model were checked for: in the first trial only,
        # because that reads a batch of each data set and traces the model.
        self._checked = None

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        if self._is_hypermodel:
            self.hypermodel.declare_hyperparameters(hp)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds the wrapped model and converts it as the hyperparameters say."""
        model = (self.hypermodel.build if self._is_hypermodel else self.hypermodel)(hp)
        try:
            layers, _ = convertible_layers(model, self.select)
            channels = [layer.moving_mean.shape[0] for layer in layers]
            arguments = self.space.choose(hp, channels)
            # In place, because `build` made the model for this call only, and may have
            # given its variables to an optimizer.
            return convert(model, select=self.select, in_place=True, **arguments)
        except ValueError as error:
            # Fatal, so that it ends the search and not only the trial.
            raise errors.FatalValueError(str(error)) from error

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args, **kwargs):
        """Trains a model as `model.fit` does, then sweeps its example weight.

        Returns:
            Dict of the trial's metrics. Outside a tuner, what the wrapped `fit`
            returns.
        """
        self._exclude_gamma_and_beta(model)
        fit = model.fit
        # Such a `fit` may also choose the batch size.
        is_own = self._is_hypermodel and (
            type(self.hypermodel).fit is not keras_tuner.HyperModel.fit
        )
        if is_own:
            fit = functools.partial(self.hypermodel.fit, hp, model)
        checkpoint = find_checkpoint(kwargs.get("callbacks") or ())
        if checkpoint is None:
            return fit(*args, **kwargs)
        restore_grid(kwargs["callbacks"])
        metrics = reported(checkpoint, kwargs["callbacks"])
        if metrics is not None:
            return metrics
        with retracing_expected():
            return self._run_trial(checkpoint, fit, is_own, model, args, kwargs)

    def _run_trial(self, checkpoint, fit, is_own, model, args, kwargs):
        """Trains a model, sweeps its example weight, and returns what to report."""
        names, arguments = by_name(fit, model, args, kwargs)
        try:
            batch_size = None if is_own else self.space.batch_size
            arguments, validation = with_validation(arguments, batch_size)
            if self._checked != checkpoint.objective.name:
                if batch_size is not None:
                    check_batch_size(arguments, batch_size)
                check_objective(checkpoint.objective, model, validation)
                self._checked = checkpoint.objective.name
        except ValueError as error:
            raise errors.FatalValueError(str(error)) from error
        best_epoch = BestEpoch(checkpoint.objective)
        arguments["callbacks"] = [
            best_epoch if callback is checkpoint else callback
            for callback in kwargs["callbacks"]
        ]
        result = fit(
            *(arguments[name] for name in names),
            **{k: v for k, v in arguments.items() if k not in names},
        )
        logs = dict(result) if isinstance(result, dict) else {}
        if best_epoch.weights is not None:
            logs.update(best_epoch.logs)
            model.set_weights(best_epoch.weights)
        as_trained = value_of(checkpoint.objective, logs)
        recalibrated = recalibrate(model, arguments) if self.recalibrate else None
        sweep = sweep_example_weight(
            model,
            **validation,
            example_weights=self.example_weights,
            schedule=self.schedule,
            verbose=int(arguments.get("verbose", "auto") in ("auto", 1)),
        )
        return finish(checkpoint, model, logs, sweep, as_trained, recalibrated)

    def _exclude_gamma_and_beta(self, model):
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        if not self.space.decay or not getattr(optimizer, "weight_decay", None):
            return
        layers, _ = convertible_layers(model, self.select)
        variables = [v for layer in layers for v in affine_variables(layer)]
        try:
            exclude_variables(optimizer, variables)
        except ValueError as error:
            raise errors.FatalValueError(
                f"{error} Or leave the decay of γ and β to the optimizer: "
                "HyperBatchNormalization(decay=None)."
            ) from error

"""A tuner that searches the example weight of a model that is already trained."""

import hashlib
import os
from collections.abc import Sequence

import keras
import keras_tuner
import numpy as np

from keras_bn4.common.arguments import check_example_weight
from keras_bn4.common.models import check_compiled
from keras_bn4.example_weight import EXAMPLE_WEIGHTS, set_example_weight
from keras_bn4.example_weight.schedules import Schedule, check_schedule, schedule_name
from keras_bn4.example_weight.setting import example_weights_kept, weighing_layers
from keras_bn4.tuner.space import candidates


class ExampleWeightSearch(keras_tuner.Tuner):
    """Searches the example weight of a model that is already trained.

    This tuner is for users who run all their searches with Keras Tuner.
    `keras_bn4.sweep_example_weight` finds the same weight in one pass over the data,
    with confidence intervals. Every trial evaluates the model at one value of the
    hyperparameter `example_weight`; nothing is trained.
    `keras_bn4.tuner.best_model(tuner)` and `tuner.get_best_models()` set the best
    weight in the model itself and return the model.

    Args:
        model: A built and compiled `keras.Model` with layers of `keras_bn4` (see
            `keras_bn4.convert`). A search leaves its example weight unchanged.
        objective: What to optimize: a `keras_tuner.Objective`, or the name of a metric
            as `model.evaluate` reports it.
        example_weights: Sequence of floats from 0 to 1, the example weights to try.
        schedule: How a weight is spread over the layers: `"uniform"`, `"falling"`, or a
            function, as `keras_bn4.set_example_weight` takes it.
        oracle: A `keras_tuner.Oracle` that chooses among `example_weights` and has an
            objective of its own. `None` to try all weights in ascending order.
        project_name: String, the name of the search's folder in `directory`.
        **kwargs: Arguments of `keras_tuner.Tuner`, such as `directory` and `overwrite`.

    Raises:
        ValueError: if the model has no layer of `keras_bn4` or is not compiled, or the
            folder holds a search of another model or other weights.

    Example:

    >>> import keras, numpy as np, tempfile
    >>> from keras_bn4 import convert
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
        model: keras.Model,
        objective: str | keras_tuner.Objective = "loss",
        *,
        example_weights: Sequence[float] = EXAMPLE_WEIGHTS,
        schedule: Schedule = "uniform",
        oracle: keras_tuner.Oracle | None = None,
        project_name: str = "example_weight_search",
        **kwargs,
    ):
        self._weighing_layers = weighing_layers(model)
        check_compiled(model)
        self.model = model
        example_weights = candidates(
            "example_weights", example_weights, check_example_weight
        )
        check_schedule(schedule)
        self.schedule = schedule
        _check_search(objective, oracle, project_name, kwargs)
        oracle = oracle or _InOrder(objective=objective)
        space = keras_tuner.HyperParameters()
        space.Choice("example_weight", sorted(example_weights))
        # Keeps results of another model from being taken for those of this one.
        space.Fixed("model", _digest(model))
        if schedule != "uniform":
            space.Fixed("schedule", schedule_name(schedule))
        oracle.update_space(space)
        super().__init__(oracle, project_name=project_name, **kwargs)
        found = self.oracle.get_space()
        wanted, stored = ([one.get_config() for one in s.space] for s in (space, found))
        if wanted != stored:
            raise ValueError(
                f"{self.project_dir} holds a search of another model or of other "
                "example weights or schedules. Pass another `project_name` or "
                "`directory`, or discard that search with overwrite=True."
            )

    def run_trial(self, trial, *args, **kwargs) -> dict:
        """Evaluates the model at one weight, with the arguments of `model.evaluate`."""
        if not args and kwargs.get("x") is None:
            # Fatal, so that it ends the search and not only the trial.
            raise keras_tuner.errors.FatalValueError(
                "There are no data to evaluate on. Give `search` what `model.evaluate` "
                "takes: `tuner.search(x, y)`."
            )
        with example_weights_kept(self._weighing_layers):
            self._set(trial)
            kwargs["return_dict"] = True
            return self.model.evaluate(*args, **kwargs)

    def load_model(self, trial) -> keras.Model:
        """Returns the model itself, with the example weight of the trial."""
        self._set(trial)
        return self.model

    def _set(self, trial):
        weight = trial.hyperparameters["example_weight"]
        set_example_weight(self.model, weight, schedule=self.schedule)

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Returns a list of one model: the model itself, with the best example weight.

        Raises:
            ValueError: if more than one is asked for.
        """
        if num_models != 1:
            raise ValueError(
                "All trials use the same model and differ only in its example weight, "
                "so `num_models` must be 1. For several of the best weights use "
                "`tuner.get_best_hyperparameters`. Received: "
                f"num_models={num_models}."
            )
        return super().get_best_models()


def _check_search(objective, oracle, project_name, others):
    if oracle is not None and not isinstance(oracle, keras_tuner.Oracle):
        raise ValueError(
            "Argument `oracle` must be a `keras_tuner.Oracle` with an objective, or "
            f"None. Received: oracle={oracle!r}."
        )
    is_objective = isinstance(objective, (str, keras_tuner.Objective)) and objective
    if oracle is None and not is_objective:
        raise ValueError(
            "Argument `objective` must be the name of a metric, as `model.evaluate` "
            "reports it, such as 'loss', or a `keras_tuner.Objective`. Received: "
            f"objective={objective!r}."
        )
    directory = others.get("directory")
    for name, value in (("project_name", project_name), ("directory", directory)):
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise ValueError(
                f"Argument `{name}` must be a path. Received: {name}={value!r}."
            )
    if "hypermodel" in others:
        raise ValueError(
            "ExampleWeightSearch searches a model that is trained already. Give it as "
            f"`model`. Received: hypermodel={others['hypermodel']!r}."
        )


def _digest(model):
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()[:16]


class _InOrder(keras_tuner.Oracle):
    """Tries every example weight in order, and continues an interrupted search."""

    def populate_space(self, trial_id):
        space = {one.name: one for one in self.get_space().space}
        weights = space.pop("example_weight").values
        tried = [t.hyperparameters["example_weight"] for t in self.trials.values()]
        left = [weight for weight in weights if weight not in tried]
        if not left:
            return {"status": "STOPPED"}
        others = {name: one.default for name, one in space.items()}
        values = {"example_weight": left[0], **others}
        return {"status": "RUNNING", "values": values}

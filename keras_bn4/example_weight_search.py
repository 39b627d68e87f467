"""Keras Tuner's way to the example weight of a model that is already trained."""

import copy

import keras_tuner

from keras_bn4.arguments import check_example_weight
from keras_bn4.example_weight import (
    EXAMPLE_WEIGHTS,
    set_example_weight,
    weighing_layers,
)


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
        weights = sorted({*map(check_example_weight, example_weights)})
        space.Choice("example_weight", weights)
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

"""Keras Tuner's way to the example weight of a model that is already trained."""

import hashlib

import keras_tuner
import numpy as np

from keras_bn4.common.arguments import check_example_weight
from keras_bn4.common.models import check_compiled
from keras_bn4.example_weight import EXAMPLE_WEIGHTS, set_example_weight
from keras_bn4.example_weight.setting import example_weights_kept, weighing_layers
from keras_bn4.tuner.space import candidates


class ExampleWeightSearch(keras_tuner.Tuner):
    """Searches the example weight of a model that is already trained.

    For those who live in Keras Tuner. `keras_bn4.sweep_example_weight` finds the same
    in one pass over the data, with intervals. Every trial evaluates the model at one
    value of the hyperparameter `example_weight`; nothing is trained.
    `keras_bn4.tuner.best_model(tuner)` and `tuner.get_best_models()` give the model
    itself the best weight and return it.

    Args:
        model: A built and compiled `keras.Model` with layers of ours (see
            `keras_bn4.convert`). A search leaves it at the example weight it had.
        objective: What to optimize, as `keras_tuner.Objective` or the name of a metric
            as `model.evaluate` names it.
        example_weights: Floats from 0 to 1.
        oracle: A `keras_tuner.Oracle` that chooses among `example_weights`, with its
            own objective. `None` for all of them, one after the other.
        project_name: String, the folder in `directory`.
        **kwargs: Arguments of `keras_tuner.Tuner`: `directory`, `overwrite`.

    Raises:
        ValueError: if the model has no layer of ours or is not compiled, or the folder
            holds a search of another model or other weights.

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
        project_name="example_weight_search",
        **kwargs,
    ):
        self._layers = weighing_layers(model)
        check_compiled(model)
        self.model = model
        example_weights = candidates(
            "example_weights", example_weights, check_example_weight
        )
        oracle = oracle or _InOrder(objective=objective)
        space = keras_tuner.HyperParameters()
        space.Choice("example_weight", sorted(example_weights))
        # So that results of another model are not taken for those of this one.
        space.Fixed("model", _digest(model))
        oracle.update_space(space)
        super().__init__(oracle, project_name=project_name, **kwargs)
        found = self.oracle.get_space()
        ours, theirs = ([one.get_config() for one in s.space] for s in (space, found))
        if ours != theirs:
            raise ValueError(
                f"{self.project_dir} holds a search of another model or of other "
                "example weights. Give another `project_name` or `directory`, or "
                "overwrite=True."
            )

    def run_trial(self, trial, *args, **kwargs):
        """Evaluates the model at one weight. The arguments are `model.evaluate`'s."""
        with example_weights_kept(self._layers):
            set_example_weight(self.model, trial.hyperparameters["example_weight"])
            kwargs["return_dict"] = True
            return self.model.evaluate(*args, **kwargs)

    def load_model(self, trial):
        """The model itself, with the trial's weight."""
        set_example_weight(self.model, trial.hyperparameters["example_weight"])
        return self.model

    def get_best_models(self, num_models=1):
        """A list of the model, with the best weight.

        Raises:
            ValueError: if more than one is asked for.
        """
        if num_models != 1:
            raise ValueError(
                "There is one model, and trials differ in its example weight alone. "
                "See `tuner.get_best_hyperparameters`. Received: "
                f"num_models={num_models}."
            )
        return super().get_best_models()


def _digest(model):
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()[:16]


class _InOrder(keras_tuner.Oracle):
    """Every example weight, in order; a killed search goes on."""

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

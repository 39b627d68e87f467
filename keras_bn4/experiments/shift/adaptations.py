"""What adapts a trained network to shifted images, with nothing trained.

- "as trained": The network as it is, example weight 0.
- "uniform", "falling": The example weight that was chosen on clean images, in all
  layers or falling linearly from the first layer to 0 in the last (Eq. 3). Every image
  is adapted to by itself.
- "recalibrated on n": The moving statistics mixed with those of n shifted images
  without labels, which are not among those that are predicted, the old ones counting
  for 16 images; and the same together with the uniform example weight.
- "recalibrated on 16, without spread": The same without the term of Eq. 3 between the
  two means, as Schneider et al. (2020) mix.
- "batch statistics": Normalized in batches of 200 as in training (Nado et al., 2020).
  The prediction for an image depends on the images that come with it.
"""

import contextlib
import warnings

import keras
import numpy as np

from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.example_weight.setting import weighing_layers
from keras_bn4.example_weight.sweep_result import FAR_FROM_SURE
from keras_bn4.moving_statistics import recalibrate

EXAMPLE_WEIGHTS = (
    *(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2),
    *(0.25, 0.3, 0.4, 0.5, 0.7, 0.9),
)
SCHEDULES = ("uniform", "falling")
# How much worse the accuracy on clean images may be for robustness to shift.
WITHIN = 0.005
PRIOR = 16
ADAPTATION_SIZES = (16, 128, 1000)
PREDICTION_BATCH_SIZE = 200
WITHOUT_SPREAD = f"recalibrated on {ADAPTATION_SIZES[0]}, without spread"


def adaptations():
    """Lists the names of all adaptations, in the order of tables."""
    found = ["as trained", *SCHEDULES]
    for size in ADAPTATION_SIZES:
        found += [f"recalibrated on {size}", f"recalibrated on {size}, uniform"]
    return [*found, WITHOUT_SPREAD, "batch statistics"]


def choose(model, x, y):
    """Chooses example weights on clean images.

    Args:
        model: A compiled `keras.Model` with layers of this package.
        x: Array of images.
        y: Array of labels.

    Returns:
        A pair of a dict of the weights by schedule, and the rows of the sweep with
        example weights, schedules and metrics only.
    """
    sweep = sweep_example_weight(
        model,
        x,
        y,
        example_weights=EXAMPLE_WEIGHTS,
        schedule=SCHEDULES,
        batch_size=PREDICTION_BATCH_SIZE,
    )
    columns = ("schedule", "example_weight", "loss", "accuracy")
    rows = [{name: row[name] for name in columns} for row in sweep.rows]
    with warnings.catch_warnings():
        # What is reported has an interval of its own, on other images.
        warnings.filterwarnings("ignore", FAR_FROM_SURE)
        largest = {
            schedule: sweep.largest("accuracy", within=WITHIN, schedule=schedule)
            for schedule in SCHEDULES
        }
    weights = {schedule: row["example_weight"] for schedule, row in largest.items()}
    return weights, rows


class Adapter:
    """Predicts with a trained network, adapted in all ways.

    Args:
        model: A compiled `keras.Model` with layers of this package.
        weights: Dict of example weights by schedule.
    """

    def __init__(self, model, weights):
        self.model = model
        self.weights = weights
        self.state = model.get_weights()
        self.by_batch = ByBatchStatistics(model)
        self.by_batch.compile(jit_compile=False)

    def predictions(self, x, unlabelled):
        """Predicts the classes of images.

        Args:
            x: Array of images.
            unlabelled: Array of other images of the same shift, to recalibrate on.

        Returns:
            Dict of arrays of classes by adaptation.
        """
        found = {}
        try:
            found["as trained"] = self._classes(x)
            for schedule, weight in self.weights.items():
                found[schedule] = self._classes(x, weight, schedule)
            uniform = self.weights["uniform"]
            for size in ADAPTATION_SIZES:
                name = f"recalibrated on {size}"
                with self._recalibrated(unlabelled[:size]):
                    found[name] = self._classes(x)
                    found[f"{name}, uniform"] = self._classes(x, uniform)
            images = unlabelled[: ADAPTATION_SIZES[0]]
            with self._recalibrated(images, with_spread=False):
                found[WITHOUT_SPREAD] = self._classes(x)
            found["batch statistics"] = self._classes(x, model=self.by_batch)
        finally:
            self.model.set_weights(self.state)
            set_example_weight(self.model, 0)
        return {name: found[name] for name in adaptations()}

    def _classes(self, x, example_weight=0.0, schedule="uniform", model=None):
        set_example_weight(self.model, example_weight, schedule=schedule)
        predict = (model or self.model).predict
        return predict(x, batch_size=PREDICTION_BATCH_SIZE, verbose=0).argmax(-1)

    @contextlib.contextmanager
    def _recalibrated(self, images, with_spread=True):
        set_example_weight(self.model, 0)
        layers = weighing_layers(self.model)
        before = [np.asarray(layer.moving_mean) for layer in layers]
        # One batch of each size isn't worth to be compiled.
        eagerly, self.model.run_eagerly = self.model.run_eagerly, True
        try:
            recalibrate(self.model, images, prior=PRIOR, verbose=0)
        finally:
            self.model.run_eagerly = eagerly
        if not with_spread:
            share = len(images) / (PRIOR + len(images))
            for layer, mean in zip(layers, before):
                moved = np.asarray(layer.moving_mean) - mean
                spread = (1 - share) / share * np.square(moved)
                layer.moving_variance.assign(layer.moving_variance - spread)
        yield
        self.model.set_weights(self.state)


class ByBatchStatistics(keras.Model):
    """A model that normalizes as in training also where it predicts."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x):
        return self.model(x, training=True)

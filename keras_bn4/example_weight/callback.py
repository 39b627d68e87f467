"""A callback that chooses the example weight on validation data."""

import hashlib
import warnings
from collections.abc import Iterable, Sequence

import keras
import numpy as np

from keras_bn4.common.arguments import check_flag, check_verbose
from keras_bn4.common.batches import check_data, check_repeatable
from keras_bn4.example_weight.schedules import Schedule
from keras_bn4.example_weight.setting import set_example_weight, weighing_layers
from keras_bn4.example_weight.sweep import sweep_example_weight
from keras_bn4.example_weight.sweep_arguments import (
    EXAMPLE_WEIGHTS,
    check_mode,
    check_schedules,
    check_sizes,
    check_weights,
)
from keras_bn4.example_weight.untrained import UNTRAINED


class ExampleWeightTuning(keras.callbacks.Callback):
    """Sweeps the example weight on validation data, and sets the best one.

    Validation in `fit` judges the model at the example weight that it has, which is 0
    unless it was set. At the end of every epoch this callback finds the best example
    weight and adds two entries to the logs, for `keras.callbacks.EarlyStopping`,
    `keras.callbacks.ModelCheckpoint` and the history:

    - `val_<metric>_at_best_example_weight`
    - `best_example_weight`

    Put it before the callbacks that read them, and give those their `mode`, which they
    cannot infer from this name. Between two epochs the model has its best example
    weight, so that a `ModelCheckpoint` after this callback saves a model as good as the
    value that it monitors. At the end of training the model keeps its best example
    weight, and is swept once more if its weights have changed since the last sweep.

    `EarlyStopping(restore_best_weights=True)` restores other weights after that, when
    its own turn comes, and these may have another best example weight. So put a second
    callback after it: `ExampleWeightTuning(validation_data, every_epoch=False)`.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.1.

    Args:
        validation_data: A tuple of arrays `(x, y)` or `(x, y, sample_weight)`, or a
            data set as `keras_bn4.sweep_example_weight` takes it, which can be read in
            every epoch again.
        metric: Name of the metric that decides, as `model.evaluate` names it.
        example_weights: Floats from 0 to 1.
        schedule: How a weight is spread over the layers, or a list of several
            schedules, as `keras_bn4.sweep_example_weight` takes it.
        every_epoch: Whether to sweep at the end of each epoch, or only at the end of
            training.
        mode: `"min"`, `"max"`, or `None` to ask the metric.
        batch_size: Positive integer, where the data are arrays.
        steps: Positive integer, how many batches of a data set to use, or `None`.
        verbose: 0 or 1, whether to show a progress bar for each sweep.

    Attributes:
        sweep: The last `ExampleWeightSweep`, `None` before the first.

    Raises:
        ValueError: if an argument is not as above. An iterator of batches is refused,
            unless it is swept once (`every_epoch=False`) or `steps` is given.

    Examples:
        >>> import numpy as np, keras_bn4
        >>> x = np.random.default_rng(0).normal(size=(64, 4))
        >>> inputs = keras.Input((4,))
        >>> outputs = keras_bn4.GhostBatchNormalization(ghost_batch_size=8)(inputs)
        >>> model = keras.Model(inputs, outputs)
        >>> model.compile(loss="mse")
        >>> tuning = keras_bn4.ExampleWeightTuning((x, x))
        >>> history = model.fit(x, x, verbose=0, callbacks=[tuning])
        >>> best = tuning.sweep.best("loss")
        >>> best["example_weight"] == model.layers[-1].example_weight
        True
    """

    def __init__(
        self,
        validation_data,
        metric: str = "loss",
        *,
        example_weights: Iterable[float] = EXAMPLE_WEIGHTS,
        schedule: Schedule | Sequence[Schedule] = "uniform",
        every_epoch: bool = True,
        mode: str | None = None,
        batch_size: int | None = None,
        steps: int | None = None,
        verbose: str | int = 0,
    ):
        super().__init__()
        if not isinstance(metric, str):
            raise ValueError(
                "Argument `metric` must be the name of a metric, as `model.evaluate` "
                f"names it, such as 'loss'. Received: metric={metric!r}."
            )
        check_flag("every_epoch", every_epoch)
        _check_validation_data(validation_data)
        check_mode({metric: mode})
        check_sizes(batch_size=batch_size, steps=steps)
        check_verbose(verbose)
        if every_epoch:
            check_repeatable("validation_data", validation_data, steps)
        self.validation_data = validation_data
        self.metric = metric
        self.every_epoch = every_epoch
        self.sweep = None
        self._given = self._swept = None
        self._arguments = {
            "example_weights": check_weights(example_weights),
            "schedule": check_schedules(schedule),
            # Names the metric even where the mode is None, so that an unknown metric
            # is an error in the first sweep.
            "mode": {metric: mode},
            "batch_size": batch_size,
            "steps": steps,
            "verbose": verbose,
        }

    def on_epoch_begin(self, epoch, logs=None):
        layers = weighing_layers(self.model)
        for layer, weight in zip(layers, self._given or ()):
            layer.example_weight = weight
        self._given = [layer.example_weight for layer in layers]

    def on_epoch_end(self, epoch, logs=None):
        if self.every_epoch:
            best = self._find_best()
            if logs is not None:
                logs[f"val_{self.metric}_at_best_example_weight"] = best[self.metric]
                logs["best_example_weight"] = best["example_weight"]
            set_example_weight(self.model, best)

    def on_train_begin(self, logs=None):
        self._given = self._swept = None

    def on_train_end(self, logs=None):
        # Other callbacks may have restored the weights of another epoch.
        is_swept = self._swept == _digest(self.model)
        best = self.sweep.best(self.metric) if is_swept else self._find_best()
        set_example_weight(self.model, best)
        if self.sweep.untrained:
            warnings.warn(self.sweep.untrained, stacklevel=2)

    def _find_best(self):
        data = self.validation_data
        data = data if isinstance(data, (tuple, list)) else (data,)
        x, y, sample_weight = (*data, None, None)[:3]
        # On JAX, Keras writes variables back whenever a callback asks for its model.
        model = self.model
        try:
            with warnings.catch_warnings():
                # It is, at first. The end of training warns.
                warnings.filterwarnings("ignore", UNTRAINED)
                self.sweep = sweep_example_weight(
                    model, x, y, sample_weight=sample_weight, **self._arguments
                )
        except BaseException:
            if keras.backend.backend() == "jax":
                # Private, because no public name keeps `fit` from writing variables
                # back at its end whose memory the evaluation has taken.
                model._jax_state_synced = True
            raise
        self._swept = _digest(model)
        return self.sweep.best(self.metric)


def _digest(model):
    """A digest of the weights of a model, another one where they have changed."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).data)
    return digest.digest()


def _check_validation_data(data):
    if isinstance(data, (tuple, list)):
        if not 1 <= len(data) <= 3:
            raise ValueError(
                "Argument `validation_data` must be a tuple (x, y) or "
                "(x, y, sample_weight), or a data set. Received: "
                f"a {type(data).__name__} of length {len(data)}."
            )
    else:
        check_data(data)

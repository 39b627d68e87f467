"""Trains a network, resuming where an earlier process stopped, and evaluates it.

`keras.callbacks.BackupAndRestore` is not enough: it writes weights and epoch to two
files, between which a process can be killed, restores neither the order of the data nor
the history, and repeats the epoch that was interrupted. Here a training is a sequence
of short calls of `fit` whose data follow from the seed and their position in the
training, and the state between two of them is one file, which is replaced at once.
"""

import functools
import json
import time
import zipfile

import keras
import numpy as np

from keras_bn4.common.errors import reason_of
from keras_bn4.common.files import written_whole
from keras_bn4.common.models import layers_of
from keras_bn4.demo import networks
from keras_bn4.demo.minibatches import minibatches
from keras_bn4.example_weight import sweep_example_weight
from keras_bn4.experiments.reproduction import images, weights
from keras_bn4.experiments.reproduction.normalizations import normalization
from keras_bn4.moving_statistics import discrepancy, recalibrate

METRICS = ("cross_entropy", "accuracy")
# At most this many steps are between two occasions to keep the state.
STEPS = 500
SECONDS_BETWEEN_FILES = 20
EVALUATION_BATCH_SIZE = 500
# Of files that hold no state, or that of another network.
READING_ERRORS = (ValueError, KeyError, TypeError, EOFError, OSError)


def build(settings, input_shape, classes):
    """Builds and compiles the network, with its initial weights."""
    seeds = np.random.default_rng([settings.seed, 0, 2])
    model = networks.resnet(
        input_shape,
        classes,
        settings.blocks,
        filters=settings.filters,
        normalization=functools.partial(normalization, settings, seeds),
        normalizes_shortcuts=settings.normalizes_shortcuts,
        residual=settings.residual,
    )
    rng = np.random.default_rng(settings.seed)
    for layer in layers_of(model, (keras.layers.Conv2D, keras.layers.Dense)):
        layer.kernel.regularizer = keras.regularizers.L2(settings.weight_decay / 2)
        # Keras' own default, drawn here because each backend draws other numbers.
        *size, fan_in, fan_out = layer.kernel.shape
        limit = np.sqrt(6 / (np.prod(size) * (fan_in + fan_out)))
        layer.kernel.assign(rng.uniform(-limit, limit, layer.kernel.shape))
    steps = settings.epochs * images.steps_per_epoch(settings)
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=settings.momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            # Without the penalties of decay, which the loss has.
            keras.metrics.SparseCategoricalCrossentropy(
                from_logits=True, name="cross_entropy"
            ),
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        ],
        # On TensorFlow with two processor cores, XLA takes twice the time.
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


class Training:
    """A training that can be interrupted at any time.

    Args:
        settings: `Settings`.
        path: Path of the file that keeps its state.
        data_dir: The folder of tensorflow-datasets.
        source_weights: Path of the weights of `settings.source`, if it has one.

    Attributes:
        history: Dict of lists, a value for each finished epoch.
        seconds: Float, how long it took so far.
    """

    def __init__(self, settings, path, data_dir=None, source_weights=None):
        self.settings = settings
        self.path = path
        self.train, self.validation, self.test = images.splits(
            settings.dataset,
            settings.train_images,
            settings.validation_images,
            data_dir,
            settings.classes,
        )
        x, y = self.train
        self.model = build(settings, x.shape[1:], len(np.unique(y)))
        if settings.source is not None:
            weights.start_from(source_weights, self.model)
        self.model.optimizer.build(self.model.trainable_variables)
        self.history = {name: [] for name in ("loss", *METRICS)}
        # Of the epoch that is under way, sums over minibatches.
        self.sums = dict.fromkeys(self.history, 0.0)
        self.seconds = 0.0
        self._restore()

    def run(self, on_progress=None):
        """Trains to the end, calling `on_progress` with the number of epochs so far."""
        steps = images.steps_per_epoch(self.settings)
        start = kept = time.monotonic()
        done = int(self.model.optimizer.iterations)
        while done < steps * self.settings.epochs:
            number, first = divmod(done, steps)
            x, y = images.epoch(*self.train, self.settings, number)
            while first < steps:
                last = min(first + STEPS, steps)
                self._fit(x, y, first, last)
                done += last - first
                first = last
                if on_progress is not None:
                    on_progress(done / steps)
                now = time.monotonic()
                self.seconds += now - start
                start = now
                is_last = done == steps * self.settings.epochs
                if now - kept > SECONDS_BETWEEN_FILES or is_last:
                    self._keep()
                    kept = now

    def evaluate(self):
        """Evaluates at all example weights, on validation and on test data.

        Returns:
            Dict of `"validation"` and `"test"`, each a dict of lists by metric with a
            value for each of `settings.example_weights`; of `"outputs"`, with
            `settings.measures_outputs` the row of `discrepancy` for the last
            normalization, on test images; and of each of `settings.recalibrations`, the
            test data at example weight 0 with moving statistics of those images.
        """
        start = time.monotonic()
        example_weights = self.settings.example_weights
        results = {
            "validation": self._sweep(*self.validation, example_weights),
            "test": self._sweep(*self.test, example_weights),
        }
        if self.settings.measures_outputs:
            results["outputs"] = self._outputs()
        trained = self.model.get_weights()
        for name in self.settings.recalibrations:
            x = images.of_statistics(self.train, self.test, self.settings, name)
            recalibrate(self.model, x, batch_size=self.settings.batch_size, verbose=0)
            results[name] = self._sweep(*self.test, (0.0,))
            self.model.set_weights(trained)
        self.seconds += time.monotonic() - start
        return results

    def _outputs(self):
        size = self.settings.batch_size
        x = self.test[0][: len(self.test[0]) // size * size]
        row = discrepancy(self.model, x, batch_size=size, verbose=0).rows[-1]
        return {k: v if isinstance(v, str) else _short(v) for k, v in row.items()}

    def _sweep(self, x, y, example_weights):
        sweep = sweep_example_weight(
            self.model,
            **minibatches(x, y, batch_size=EVALUATION_BATCH_SIZE),
            example_weights=example_weights,
            verbose=0,
        )
        return {m: [_short(row[m]) for row in sweep.rows] for m in METRICS}

    def _fit(self, x, y, first, last):
        size = self.settings.batch_size
        part = slice(first * size, last * size)
        data = minibatches(x[part], y[part], batch_size=size)
        history = self.model.fit(**data, shuffle=False, verbose=0).history
        for name in self.sums:
            self.sums[name] += history[name][0] * (last - first)
        steps = images.steps_per_epoch(self.settings)
        if last == steps:
            for name, total in self.sums.items():
                self.history[name].append(_short(total / steps))
            self.sums = dict.fromkeys(self.sums, 0.0)

    def _variables(self):
        return [*self.model.variables, *self.model.optimizer.variables]

    def _keep(self):
        values = [keras.ops.convert_to_numpy(v) for v in self._variables()]
        rest = json.dumps([self.history, self.sums, self.seconds])
        with written_whole(self.path) as unfinished:
            np.savez(unfinished, *values, rest=rest)

    def _restore(self):
        if not self.path.exists():
            return
        try:
            # `np.load` of a path leaves a broken file open.
            with open(self.path, "rb") as raw, np.load(raw) as file:
                for i, variable in enumerate(self._variables()):
                    variable.assign(file[f"arr_{i}"])
                self.history, self.sums, self.seconds = json.loads(str(file["rest"]))
        except (*READING_ERRORS, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.path} is no state of this training ({reason_of(error)}). "
                "Remove it to start this training again."
            ) from error


def _short(value):
    """A number with as many digits as float32 has."""
    return float(f"{value:.7g}")

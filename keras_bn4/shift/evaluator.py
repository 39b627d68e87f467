"""Evaluates a model at several example weights, with what every image adds."""

import contextlib
import hashlib
import itertools
import warnings

import keras
import numpy as np
from keras import ops

from keras_bn4.common.batches import iterate
from keras_bn4.example_weight.evaluation import evaluate_at_settings
from keras_bn4.example_weight.setting import (
    example_weights_kept,
    set_example_weight,
    weighing_layers,
)
from keras_bn4.moving_statistics import recalibrate


class Evaluator:
    """Evaluates a model at several settings of its example weights.

    `change(images, kind, severity, start)` returns what the model takes for images, the
    first of which is number `start` of the data.
    """

    def __init__(self, model, weights, data, change, batch_size, prior):
        self.model = model
        self.layers = weighing_layers(model)
        self.weights = list(weights)
        self.data = data
        self.change = change
        self.batch_size = batch_size
        self.prior = prior
        self.labels = None
        self._current = iter(())
        self._data_sets = {}

    def values(self, kind, severity, given=None):
        """By metric, what every image adds: an array for each setting, and where there
        are other images one for the first setting, recalibrated on these.
        """
        if given is not None:
            kind = severity = None
        x, y, recalibrate_on = self.data if given is None else (*given, None)[:3]
        if (recalibrate_on is None) != (self.data[2] is None):
            raise ValueError(
                "Function `shifted` must return `(x, y, recalibrate_on)` if, and only "
                f"if, argument `recalibrate_on` is given. Received: {len(given)} items."
            )
        found, labels = self._values(self.weights, x, y, kind, severity)
        if given is None:
            if self.labels not in (None, labels):
                raise ValueError(
                    "The data come in another order when they are read again, so that "
                    "clean and corrupted images cannot be compared. Give data that are "
                    "not shuffled."
                )
            self.labels = labels
        if recalibrate_on is not None:
            images = self.change(recalibrate_on, kind, severity)
            with _recalibrated(self.model, self.layers, images, self.prior):
                again, _ = self._values(self.weights[:1], x, y, kind, severity)
            found = {metric: found[metric] + again[metric] for metric in found}
        return found

    def _values(self, weights, x, y, kind, severity):
        steps, labels, errors = [], hashlib.sha256(), []

        def batches():
            start = 0
            try:
                for images, of_images in batches_of(x, y, self.batch_size):
                    labels.update(ops.convert_to_numpy(of_images).tobytes())
                    yield self.change(images, kind, severity, start), of_images
                    start += len(images)
            except Exception as error:
                errors.append(error)
                raise

        with warnings.catch_warnings():
            # Keras doesn't know their number beforehand.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            try:
                results = evaluate_at_settings(
                    self.model,
                    self.layers,
                    weights,
                    lambda logs, values: steps.append(values),
                    self._lasting(batches()),
                    verbose=0,
                )
            except Exception:
                # TensorFlow wraps an error of the data in one of its own.
                if errors:
                    raise errors[0] from None
                raise
        found = {}
        for metric in results[0].keys() & set.intersection(*map(set, steps[0])):
            found[metric] = [
                np.concatenate([ops.convert_to_numpy(s[i][metric][0]) for s in steps])
                for i in range(len(weights))
            ]
        if not found:
            raise ValueError(
                f"Model '{self.model.name}' has no loss or metric that is an average "
                "over images, or runs on several replicas, which don't tell the values "
                "of single images. Compile it with a loss and metrics=['accuracy'], "
                "outside of a strategy."
            )
        return found, labels.digest()

    def _lasting(self, batches):
        """Batches in a form that leaves nothing in memory after they were evaluated.

        TensorFlow never forgets a data set that is made of a generator, and Keras keeps
        two batches with one that it makes. So all passes share one here.
        """
        if keras.backend.backend() != "tensorflow":
            return batches
        import tensorflow as tf

        first = next(batches)
        self._current = itertools.chain([first], batches)
        specs = keras.tree.map_structure(
            lambda t: tf.TensorSpec((None, *t.shape[1:]), t.dtype), first
        )
        name = str(specs)
        if name not in self._data_sets:
            self._data_sets[name] = tf.data.Dataset.from_generator(
                lambda: self._current, output_signature=specs
            )
        return self._data_sets[name]


@contextlib.contextmanager
def _recalibrated(model, layers, images, prior):
    """A model with recalibrated moving statistics, and as it was afterwards."""
    before = model.get_weights()
    try:
        with example_weights_kept(layers):
            set_example_weight(model, 0)
            recalibrate(model, images, prior=prior, verbose=0)
        yield
    finally:
        model.set_weights(before)


def batches_of(x, y, batch_size):
    return ((x, y) for x, y, _ in iterate(x, y, batch_size=batch_size)[0])


def digest(arrays):
    """Tells arrays from all others, in the settings of a record."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(ops.convert_to_numpy(array).tobytes())
    return digest.hexdigest()[:16]

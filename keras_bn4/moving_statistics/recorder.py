"""Runs a model and records what its batch normalization receives, batch by batch."""

import contextlib
import threading

import keras
import numpy as np
from keras import ops, tree

from keras_bn4.common.batches import iterate
from keras_bn4.common.models import check_built, layers_of


class Recorder(keras.Model):
    """A model around a model that returns what `summarize` makes of layers' inputs.

    A model, so that Keras compiles it, on any backend, as it compiles `predict`. Only
    batch normalization trains, if `training` is set; dropout and everything else run
    as at inference. What training writes must be undone by `preserved`.

    Args:
        model: A built `keras.Model`.
        layers: List of layers of the model, each of them batch normalization.
        summarize: Function of a layer, its inputs, float32 at least, and its mask,
            that returns a nest of tensors.
        training: Whether the layers normalize as in training.
    """

    def __init__(self, model, layers, summarize, training):
        super().__init__(name=f"recorder_of_{model.name}", dtype="float32")
        self.autocast = False
        self.model = model
        # XLA would compile every size of batch.
        jit_compile = keras.backend.backend() == "jax"
        self.compile(jit_compile=jit_compile, run_eagerly=model.run_eagerly)
        self.built = True
        self._recorded = tuple(layers)
        self._summarize = summarize
        self._normalizes_as_training = training
        # Under tf.distribute each replica traces in a thread of its own.
        self._trace = threading.local()

    def record(self, x):
        """Summaries of one batch: for each layer a list, one entry a place it has."""
        with contextlib.ExitStack() as stack:
            for i, layer in enumerate(self._recorded):
                stack.enter_context(self._recording(layer, i))
            outputs = self.predict_on_batch(x)
        summaries = [[] for _ in self._recorded]
        for key in sorted(outputs, key=lambda key: [int(i) for i in key.split("_")]):
            # Replicas, if any, have all seen the same batch.
            entry = tree.map_structure(lambda t: np.asarray(t)[0], outputs[key])
            summaries[int(key.split("_")[0])].append(entry)
        return summaries

    def call(self, x):
        self._trace.recorded = {}
        self.model(x, training=False)
        return self._trace.recorded

    @contextlib.contextmanager
    def _recording(self, layer, i):
        call, before = layer.call, vars(layer).get("call")

        def recording_call(inputs, training=None, mask=None):
            inputs = ops.convert_to_tensor(inputs)
            dtype = keras.backend.result_type(inputs.dtype, "float32")
            summary = self._summarize(layer, ops.cast(inputs, dtype), mask)
            recorded = self._trace.recorded
            place = sum(key.startswith(f"{i}_") for key in recorded)
            recorded[f"{i}_{place}"] = tree.map_structure(lambda t: t[None], summary)
            return call(inputs, training=self._normalizes_as_training, mask=mask)

        object.__setattr__(layer, "call", recording_call)
        try:
            yield
        finally:
            if before is None:
                object.__delattr__(layer, "call")
            else:
                object.__setattr__(layer, "call", before)


@contextlib.contextmanager
def preserved(layers):
    """Puts the weights of layers back, and `renorm` aside meanwhile.

    Renormalization would let the moving statistics into what training computes.
    """
    weights = [[ops.convert_to_numpy(v) for v in layer.weights] for layer in layers]
    renorm = [layer.renorm for layer in layers]
    try:
        for layer in layers:
            layer.renorm = False
        yield
    finally:
        for layer, values, flag in zip(layers, weights, renorm):
            layer.renorm = flag
            for variable, value in zip(layer.weights, values):
                if not np.array_equal(
                    ops.convert_to_numpy(variable), value, equal_nan=True
                ):
                    variable.assign(value)


def training_layers(model):
    """The batch normalization layers of a model that training would update.

    Raises:
        ValueError: if there are none.
    """
    check_built(model)
    found = layers_of(model, keras.layers.BatchNormalization)
    found = [layer for layer in found if layer.built]
    layers = [layer for layer in found if layer.trainable]
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no batch normalization layer that trains; "
            f"{len(found)} have trainable=False. Frozen layers keep their statistics: "
            "set `trainable = True` on those that should not."
        )
    return layers


def input_batches(data, batch_size, steps, verbose):
    """Yields the inputs of batches that are not empty, and shows progress.

    Raises:
        ValueError: if the data have no example, or fewer batches than `steps`.
    """
    batches, count = iterate(data, batch_size=batch_size, steps=steps)
    progress = keras.utils.Progbar(count, verbose=int(bool(verbose)))
    seen = 0
    for x, _, _ in batches:
        if len(tree.flatten(x)[0]):
            yield x
        seen += 1
        progress.add(1)
    if steps is not None and seen < steps:
        raise ValueError(
            f"The data ended after {seen} of steps={steps} batches. Nothing was "
            "changed. Give more data, or fewer steps."
        )

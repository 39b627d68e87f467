"""Runs a model and records what its batch normalization layers receive."""

import contextlib
import threading

import keras
import numpy as np
from keras import ops, tree

from keras_bn4.common.arguments import check_verbose
from keras_bn4.common.batches import check_examples, iterate
from keras_bn4.common.errors import reason_of
from keras_bn4.common.models import BatchNormalization, check_built, layers_of
from keras_bn4.common.tables import listed, progress_bar


class Recorder(keras.Model):
    """Wraps a model and returns what `summarize` makes of the inputs of its layers.

    It is a `keras.Model` itself, so that Keras compiles it on any backend as it
    compiles `predict`. With `training` set, the recorded layers run as in training;
    dropout and everything else run as at inference. Layers that run as in training
    update their moving statistics, which `preserved` must undo.

    Args:
        model: A built `keras.Model`.
        layers: List of batch normalization layers of the model.
        summarize: Function of a layer, its inputs (in float32 or wider) and its mask,
            that returns a nest of tensors.
        training: Whether the recorded layers run as in training.
    """

    def __init__(self, model, layers, summarize, training):
        super().__init__(name=f"recorder_of_{model.name}", dtype="float32")
        self.autocast = False
        self.model = model
        # On other backends XLA would compile anew for every batch size.
        jit_compile = keras.backend.backend() == "jax"
        self.compile(jit_compile=jit_compile, run_eagerly=model.run_eagerly)
        self.built = True
        self._recorded = tuple(layers)
        self._summarize = summarize
        self._normalizes_as_training = training
        # Under tf.distribute every replica traces the model in a thread of its own.
        self._trace = threading.local()

    def record(self, x):
        """Returns summaries of one batch: a list for each layer, one entry per call."""
        with contextlib.ExitStack() as stack:
            for i, layer in enumerate(self._recorded):
                stack.enter_context(self._recording(layer, i))
            with self._explained(x):
                outputs = self.predict_on_batch(x)
        summaries = [[] for _ in self._recorded]
        for key in sorted(outputs, key=lambda key: [int(i) for i in key.split("_")]):
            # All replicas, if there are several, have seen the same batch.
            entry = tree.map_structure(lambda t: np.asarray(t)[0], outputs[key])
            summaries[int(key.split("_")[0])].append(entry)
        return summaries

    def call(self, x):
        self._trace.recorded = {}
        self.model(x, training=False)
        return self._trace.recorded

    @contextlib.contextmanager
    def _explained(self, x):
        """Says in one sentence where a batch doesn't fit the model."""
        try:
            yield
        except (TypeError, ValueError) as error:
            shapes = [tuple(leaf.shape) for leaf in tree.flatten(x)]
            raise ValueError(
                f"Model '{self.model.name}' can't be called on a batch of these data, "
                f"of shape {listed(map(str, shapes))}: {reason_of(error)}. The model "
                "is unchanged. Give the inputs as the model takes them; where they are "
                "arrays, without labels."
            ) from error

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

        # Past Keras' own `__setattr__`, which tracks the attributes of a layer.
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
    """Switches `renorm` of layers off in a block, then restores it and their weights.

    Batch renormalization would let the moving statistics influence what the layers
    compute in training.
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
    """Lists the batch normalization layers of a model that training would update.

    Raises:
        ValueError: if the model is not built or has no such layer.
    """
    check_built(model)
    found = layers_of(model, BatchNormalization)
    found = [layer for layer in found if layer.built]
    layers = [layer for layer in found if layer.trainable]
    if not found:
        raise ValueError(
            f"Model '{model.name}' has no batch normalization layer, so that it has no "
            "moving statistics."
        )
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no batch normalization layer that training "
            f"would update; {len(found)} have trainable=False. Such layers keep their "
            "moving statistics and are left out. Set `trainable = True` on those that "
            "should be included."
        )
    return layers


def input_batches(data, batch_size, steps, verbose):
    """Yields the inputs of all batches that are not empty, and shows progress.

    Raises:
        ValueError: if `iterate` does not take the arguments, or the data have fewer
            batches than `steps`.
    """
    check_verbose(verbose)
    batches, count = iterate(data, batch_size=batch_size, steps=steps)
    progress = progress_bar(count, verbose=verbose)
    seen = 0
    for x, _, _ in batches:
        check_examples(data=x)
        if len(tree.flatten(x)[0]):
            yield x
        seen += 1
        progress.add(1)
    if steps is not None and seen < steps:
        raise ValueError(
            f"The data ended after {seen} of steps={steps} batches. The model is "
            "unchanged. Pass more data, or fewer `steps`."
        )

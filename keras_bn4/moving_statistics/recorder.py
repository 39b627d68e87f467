"""A model that records what its batch normalization layers receive."""

import contextlib
import threading

import keras
import numpy as np
from keras import ops, tree

from keras_bn4.common.arguments import check_verbose
from keras_bn4.common.batches import check_examples, iterate
from keras_bn4.common.errors import is_of_data, reason_of
from keras_bn4.common.models import (
    BatchNormalization,
    check_built,
    layers_of,
    name_of,
)
from keras_bn4.common.tables import listed, progress_bar

# Held while recording, because only one recorder at a time can replace `call`.
one_at_a_time = threading.RLock()


class Recorder(keras.Model):
    """Wraps a model and returns what `summarize` makes of the inputs of its layers.

    It is a `keras.Model` itself, so that Keras compiles it on any backend as it
    compiles `predict`. With `training` set, the recorded layers run as in training, but
    without batch renormalization, which would let the moving statistics influence their
    outputs; dropout and everything else run as at inference. What layers assign to
    variables is discarded after the batch: the model never changes, and other threads
    can use it in the meantime.

    Args:
        model: A built `keras.Model`.
        layers: List of batch normalization layers of the model.
        summarize: Function of this recorder, a layer, its inputs (in float32 or wider)
            and its mask, that returns a nest of tensors. If it assigns to the moving
            statistics, the layer runs with these.
        training: Whether the recorded layers run as in training.
    """

    def __init__(self, model, layers, summarize, training):
        super().__init__(name=f"recorder_of_{model.name}", dtype="float32")
        self.autocast = False
        self.model = model
        # For `summarize`. A number would be a constant that is traced for every value.
        self.prior = keras.Variable(0.0, trainable=False, dtype="float32", name="prior")
        # On other backends XLA would compile again for every batch size.
        jit_compile = keras.backend.backend() == "jax" and not model.run_eagerly
        self.compile(jit_compile=jit_compile, run_eagerly=model.run_eagerly)
        self.built = True
        self._recorded = tuple(layers)
        self._summarize = summarize
        self._normalizes_as_training = training
        # What this thread records. Under tf.distribute every replica traces the model
        # in a thread of its own, and other threads use the model as usual.
        self._thread = threading.local()

    def record(self, x):
        """Returns summaries of one batch: a list for each layer, one entry per call.

        The caller holds `one_at_a_time`.
        """
        with contextlib.ExitStack() as stack:
            for i, layer in enumerate(self._recorded):
                stack.enter_context(self._recording(layer, i))
            try:
                outputs = self.predict_on_batch(x)
            except Exception as error:
                if not is_of_data(error):
                    raise
                shapes = [tuple(leaf.shape) for leaf in tree.flatten(x)]
                raise ValueError(
                    f"Model '{self.model.name}' cannot be called on a batch of these "
                    f"data, of shape {listed(map(str, shapes))}: {reason_of(error)}. "
                    "The model is unchanged. Pass the inputs alone, without labels, as "
                    "the model accepts them."
                ) from error
        summaries = [[] for _ in self._recorded]
        for key in sorted(outputs, key=lambda key: [int(i) for i in key.split("_")]):
            # All replicas have seen the same batch.
            entry = tree.map_structure(lambda t: np.asarray(t)[0], outputs[key])
            summaries[int(key.split("_")[0])].append(entry)
        return summaries

    def call(self, x):
        self._thread.recorded = {}
        # On JAX the scope does not see the values of an outer one.
        values = [(variable, variable.value) for variable in self.variables]
        try:
            with keras.StatelessScope(state_mapping=values):
                self.model(x, training=False)
            return self._thread.recorded
        finally:
            del self._thread.recorded

    @contextlib.contextmanager
    def _recording(self, layer, i):
        call, before, renorm = layer.call, vars(layer).get("call"), layer.renorm

        def recording_call(*args, **kwargs):
            recorded = getattr(self._thread, "recorded", None)
            if recorded is None:
                return call(*args, **kwargs)
            return record(recorded, *args, **kwargs)

        def record(recorded, inputs, training=None, mask=None):
            inputs = ops.convert_to_tensor(inputs)
            dtype = keras.backend.result_type(inputs.dtype, "float32")
            statistics = layer.moving_mean, layer.moving_variance
            old = [variable.value for variable in statistics]
            summary = self._summarize(self, layer, ops.cast(inputs, dtype), mask)
            place = sum(key.startswith(f"{i}_") for key in recorded)
            recorded[f"{i}_{place}"] = tree.map_structure(lambda t: t[None], summary)
            outputs = call(inputs, training=self._normalizes_as_training, mask=mask)
            # Where the layer is called again, it starts with the same statistics.
            for variable, value in zip(statistics, old):
                variable.assign(value)
            return outputs

        # Past Keras' own `__setattr__`, which tracks the attributes of a layer.
        object.__setattr__(layer, "call", recording_call)
        layer.renorm = False
        try:
            yield
        finally:
            layer.renorm = renorm
            if before is None:
                object.__delattr__(layer, "call")
            else:
                object.__setattr__(layer, "call", before)


KEPT = "_keras_bn4_recorders"


def kept_recorder(model, layers, summarize, training):
    """The `Recorder` of a model, traced once for many calls.

    It is kept with the model, so that it is deleted with it, one for each `summarize`.
    It is made again where its trace is out of date: for other layers or settings of
    them, and after `compile`, like Keras' own `predict`.
    """
    # The example weight is not a constant of the trace.
    settings = [
        (id(x), type(x), str({**x.get_config(), "example_weight": 0})) for x in layers
    ]
    key = settings, model.run_eagerly, model.predict_function
    kept = vars(model).get(KEPT, {})
    if summarize not in kept or kept[summarize][0] != key:
        recorder = Recorder(model, layers, summarize, training)
        # Past Keras' own `__setattr__`, which would make it a layer of the model.
        object.__setattr__(model, KEPT, {**kept, summarize: (key, recorder)})
    return vars(model)[KEPT][summarize][1]


def training_layers(model):
    """Lists the batch normalization layers of a model that training would update.

    Raises:
        ValueError: if the model is not built or has no such layer.
    """
    check_built(model)
    found = _normalizers(model)
    layers = [layer for layer in found if layer.trainable]
    if not found:
        raise ValueError(
            f"Model '{model.name}' has no batch normalization layer, so it has no "
            "moving statistics."
        )
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no batch normalization layer that training "
            f"would update; {len(found)} have trainable=False and keep their moving "
            "statistics. Set `trainable = True` on those that should be included."
        )
    return layers


def input_batches(data, batch_size, steps, verbose):
    """Yields the inputs of all batches that are not empty, and shows progress."""
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
            "unchanged. Pass more data or fewer `steps`."
        )


def check_statistics(model, unused=()):
    """Raises `ValueError` if moving statistics are not finite or a variance negative.

    Those of the layers `unused` are not checked.
    """
    wrong = []
    for layer in _normalizers(model):
        mean, variance = statistics_of(layer)
        is_finite = np.isfinite([mean, variance]).all()
        if layer not in unused and not (is_finite and (variance >= 0).all()):
            wrong.append(f"'{name_of(layer)}'")
    if wrong:
        raise ValueError(
            f"{len(wrong)} batch normalization layers of model '{model.name}' have a "
            "moving mean or variance that is NaN or infinite, or a variance below 0: "
            f"{listed(wrong)}. The model is unchanged. Recompute these statistics: "
            "`keras_bn4.recalibrate(model, data)`, without a `prior`, after setting "
            "`trainable = True` on layers that are frozen."
        )


def statistics_of(layer):
    """The moving mean and variance of a layer, as arrays in float64."""
    variables = layer.moving_mean, layer.moving_variance
    return [ops.convert_to_numpy(v).astype("float64") for v in variables]


def _normalizers(model):
    return [layer for layer in layers_of(model, BatchNormalization) if layer.built]

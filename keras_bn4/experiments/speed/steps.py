"""The steps of a layer, on any backend, that the speed experiment measures.

Run as a program, `python -m keras_bn4.experiments.speed.steps "ghosts of 16"`, this
module trains a ResNet-20 for some steps and prints by how many megabytes the peak
memory of the process grew.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_bn4.common.models import BatchNormalization
from keras_bn4.conversion import convert
from keras_bn4.demo import networks


def make(layer, shape, *, training, backward, known, xla, dtype):
    """Makes a step of a layer on random data.

    Args:
        layer: A Keras layer.
        shape: Shape tuple of its inputs, with the batch size.
        training: Boolean, the `training` argument of the layer's call.
        backward: Whether to also compute the gradients of inputs and weights.
        known: Whether TensorFlow traces the step for this batch size, or for any.
        xla: Whether TensorFlow compiles the step by XLA.
        dtype: Name of the dtype policy.

    Returns:
        Function without arguments that runs the step and waits for it, on TensorFlow
        and PyTorch on a CPU alone.
    """
    rng = np.random.default_rng(0)
    values = [rng.normal(1, 2, shape).astype("float32") for _ in range(2)]
    dtype = keras.dtype_policies.get(dtype).compute_dtype
    layer.build((None, *shape[1:]))
    arguments = {}
    if isinstance(layer, BatchNormalization):
        arguments["training"] = training
    makers = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    maker = makers[keras.backend.backend()]
    tensors = [keras.ops.cast(keras.ops.convert_to_tensor(v), dtype) for v in values]
    return maker(layer, arguments, tensors, backward, known, xla)


def _tensorflow(layer, arguments, tensors, backward, known, xla):
    import tensorflow as tf

    variables = [variable.value for variable in layer.trainable_variables]
    signature = [
        tf.TensorSpec(t.shape if known else (None, *t.shape[1:]), t.dtype)
        for t in tensors
    ]

    @tf.function(input_signature=signature, jit_compile=xla)
    def step(x, upstream):
        if not backward:
            return layer(x, **arguments)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, **arguments)
        return outputs, tape.gradient(outputs, [x, *variables], upstream)

    return lambda: step(*tensors)


def _jax(layer, arguments, tensors, backward, known, xla):
    import jax

    trainable = [v.value for v in layer.trainable_variables]
    state = [v.value for v in layer.non_trainable_variables]

    def forward(trainable, x):
        return layer.stateless_call(trainable, state, x, **arguments)

    def step(trainable, x, upstream):
        if not backward:
            return forward(trainable, x)
        outputs, pullback, moved = jax.vjp(forward, trainable, x, has_aux=True)
        return outputs, moved, pullback(upstream)

    step = jax.jit(step)
    return lambda: jax.block_until_ready(step(trainable, *tensors))


def _torch(layer, arguments, tensors, backward, known, xla):
    import torch

    x, upstream = tensors
    parameters = [v.value for v in layer.trainable_variables]

    def step():
        if not backward:
            with torch.no_grad():
                return layer(x, **arguments)
        inputs = x.detach().requires_grad_()
        outputs = layer(inputs, **arguments)
        return torch.autograd.grad(outputs, [inputs, *parameters], upstream)

    return step


def peak_memory(name):
    """Trains, and returns by how many megabytes the peak memory of the process grows.

    Args:
        name: String, the normalization: `"Keras"`, `"whole batch"` or `"ghosts of 16"`
            with any ghost batch size.
    """
    import resource

    def peak():
        # If possible not `ru_maxrss`, which starts at the peak of the parent process.
        status = pathlib.Path("/proc/self/status")
        if status.exists():
            return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size / (2**20 if sys.platform == "darwin" else 2**10)

    model = networks.resnet((32, 32, 3), 10, 3, normalizes_shortcuts=True)
    if name != "Keras":
        size = None if name == "whole batch" else int(name.split()[-1])
        model = convert(model, ghost_batch_size=size)
    model.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    x, y = rng.random((384, 32, 32, 3), "float32"), rng.integers(0, 10, 384)
    before = peak()
    model.fit(x, y, batch_size=128, verbose=0)
    return peak() - before


if __name__ == "__main__":
    print(peak_memory(sys.argv[1]))

"""Steps of a layer on random data, on any backend."""

import keras
import numpy as np


def step_of(layer, shape, training):
    """Makes a step of a layer.

    Args:
        layer: A Keras layer.
        shape: Shape tuple of its inputs, with the batch size.
        training: Boolean. In training the step also computes the gradients of inputs
            and weights.

    Returns:
        Function without arguments that runs the step and waits for it, on TensorFlow
        and PyTorch on a CPU alone.
    """
    layer.build((None, *shape[1:]))
    rng = np.random.default_rng(0)
    tensors = [
        keras.ops.convert_to_tensor(rng.normal(1, 2, shape).astype("float32"))
        for _ in range(2)
    ]
    makers = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    return makers[keras.backend.backend()](layer, tensors, training)


def _tensorflow(layer, tensors, training):
    import tensorflow as tf

    variables = [variable.value for variable in layer.trainable_variables]
    signature = [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors]

    @tf.function(input_signature=signature)
    def step(x, upstream):
        if not training:
            return layer(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
        return outputs, tape.gradient(outputs, [x, *variables], upstream)

    return lambda: step(*tensors)


def _jax(layer, tensors, training):
    import jax

    trainable = [v.value for v in layer.trainable_variables]
    state = [v.value for v in layer.non_trainable_variables]

    def forward(trainable, x):
        return layer.stateless_call(trainable, state, x, training=training)

    def step(trainable, x, upstream):
        if not training:
            return forward(trainable, x)
        outputs, pullback, moved = jax.vjp(forward, trainable, x, has_aux=True)
        return outputs, moved, pullback(upstream)

    step = jax.jit(step)
    return lambda: jax.block_until_ready(step(trainable, *tensors))


def _torch(layer, tensors, training):
    import torch

    x, upstream = tensors
    parameters = [v.value for v in layer.trainable_variables]

    def step():
        if not training:
            with torch.no_grad():
                return layer(x)
        inputs = x.detach().requires_grad_()
        outputs = layer(inputs, training=True)
        return torch.autograd.grad(outputs, [inputs, *parameters], upstream)

    return step

"""From inputs and moments to outputs: the training and inference kernels."""

import keras
from keras import ops

from keras_bn4.backend import with_gradient
from keras_bn4.statistics import sum_positions


def normalize(x, moments, gamma, beta, axis, epsilon):
    """Standardizes, scales and shifts: `γ (x - μ) / √(σ² + ε) + β` (Eq. 1).

    The mean is subtracted before anything is multiplied: with a mean of a thousand
    standard deviations `x * scale + shift` rounds away what is to be normalized.

    Args:
        x: Float tensor of shape `(n, ...)` with `C` channels along `axis`.
        moments: `Moments` of shape `(n, C)` or `(1, C)`. Where their count is 0,
            all is masked and the output is `β`.
        gamma: Tensor of shape `(C,)`, or `None` for 1.
        beta: Tensor of shape `(C,)`, or `None` for 0.
        axis: Integer from 1, the channels.
        epsilon: Float, added to the variance.

    Returns:
        Tensor of the shape and dtype of `x`.
    """

    def along_channels(tensor, leading):
        sizes = [1] * len(x.shape)
        sizes[0], sizes[axis] = leading, x.shape[axis]
        return ops.reshape(tensor, sizes)

    scale = ops.rsqrt(moments.variance + epsilon)
    if gamma is not None:
        scale = scale * gamma
    if moments.count is not None:
        scale = ops.where(moments.count > 0, scale, 0)

    @with_gradient
    def standardize(x, mean, scale, *beta):
        mean_along, scale_along = along_channels(mean, -1), along_channels(scale, -1)
        outputs = (x - mean_along) * scale_along
        if beta:
            outputs = outputs + along_channels(beta[0], 1)

        def gradient(upstream):
            total = sum_positions(lambda g: g, (upstream,), axis)
            product = sum_positions(
                lambda g, x: g * (x - mean_along), (upstream, x), axis
            )
            total, product = (
                ops.reshape(t, (-1, x.shape[axis])) for t in (total, product)
            )
            to_beta = [ops.sum(total, 0)] * len(beta)
            if mean.shape[0] == 1:
                total, product = (
                    ops.sum(t, 0, keepdims=True) for t in (total, product)
                )
            return upstream * scale_along, -total * scale, product, *to_beta

        return outputs, gradient

    return standardize(x, moments.mean, scale, *([] if beta is None else [beta]))


def when_positive(example_weight, mixed, plain):
    """`mixed()` if the example weight is above zero, else `plain()`.

    The choice is made when the function runs, not when it is traced, so that a
    compiled `predict` follows a change of the weight. A branch and not a `where`:
    at zero inference must cost, and fold, what it does in Keras.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if example_weight.device.type == "meta":  # Keras infers shapes.
            return mixed()
        # A branch on data would break the compiled graph; the mixture is exact at 0.
        if torch.compiler.is_compiling() or example_weight > 0:
            return mixed()
        return plain()
    if backend == "jax":
        import jax

        # Outside a trace `lax.cond` would compile both branches at every call.
        if not isinstance(example_weight, jax.core.Tracer):
            return mixed() if float(example_weight) > 0 else plain()
    return ops.cond(example_weight > 0, mixed, plain)

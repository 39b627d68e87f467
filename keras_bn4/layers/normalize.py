"""Normalization of inputs by their moments, in training and at inference."""

from keras import ops

from keras_bn4.layers.backend import (
    custom_gradient,
    multiply_add,
    reshape,
    sum_positions,
)


def normalize(x, moments, gamma, beta, axis, epsilon):
    """Standardizes, scales and shifts: `γ (x - μ) / √(σ² + ε) + β` (Eq. 1).

    The mean is subtracted before anything is multiplied: with a mean of a thousand
    standard deviations `x * scale + shift` rounds away what is to be normalized.

    Args:
        x: Float tensor of shape `(n, ...)` with `C` channels along `axis`.
        moments: `Moments` of shape `(n, C)` or `(1, C)`. Where their count is 0, all
            elements are masked and the output is `β`.
        gamma: Tensor of shape `(C,)`, or `None` for 1.
        beta: Tensor of shape `(C,)`, or `None` for 0.
        axis: Integer from 1, the axis of the channels.
        epsilon: Float, added to the variance.

    Returns:
        Tensor of the shape and dtype of `x`.
    """

    @custom_gradient
    def standardize(x, mean, scale, *beta):
        mean_along, scale_along = _along(mean, x, axis), _along(scale, x, axis)
        # The difference is 0. It is there for the gradient to the mean, which is
        # computed from small tensors this way.
        shift = (ops.stop_gradient(mean) - mean) * scale
        if beta:
            shift = shift + beta[0][None]
        outputs = (x - ops.stop_gradient(mean_along)) * scale_along
        outputs = outputs + _along(shift, x, axis)

        def gradient(upstream):
            total = _sums(lambda g: g, (upstream,), axis, mean)
            product = _sums(
                lambda g, x: g * (x - mean_along), (upstream, x), axis, mean
            )
            to_beta = [ops.sum(total, 0)] * len(beta)
            return upstream * scale_along, -total * scale, product, *to_beta

        return outputs, gradient

    scale = _scale(moments, gamma, epsilon)
    return standardize(x, moments.mean, scale, *([] if beta is None else [beta]))


def scale_and_shift(x, moments, gamma, beta, axis, epsilon):
    """The same as `normalize` by a multiplication and an addition: for inference.

    This is the form of Keras' own inference and as exact: at a mean of `m` standard
    deviations its error is `m` times that of rounding `x`.
    """
    scale = _scale(moments, gamma, epsilon)
    shift = moments.mean * scale
    shift = -shift if beta is None else beta[None] - shift
    return multiply_add(x, _along(scale, x, axis), _along(shift, x, axis))


def weigh_numbers(x, moving, example_weight, gamma, beta, axis, epsilon):
    """Inference (Eq. 3) of examples without positions, element by element.

    The variance of a single number is 0, which leaves `x - μ = (1 - α) (x - m)` and
    `σ² = (1 - α) v + α (1 - α) (x - m)²`. So `(x - μ) / √(σ² + ε)` is
    `√((1 - α) / α)`, the bound of Eq. 2 for `α = 1 / B`, times `d / √(d² + w)` with
    `d = x - m` and `w = v / α + ε / (α (1 - α))`.

    Args:
        x: Float tensor of shape `(n, C)`.
        moving: `Moments` of shape `(1, C)`, without a count.
        example_weight: Scalar tensor `α`.
        gamma, beta, axis, epsilon: As those of `normalize`.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    # In float32 the limits at 0 and 1 are reached before.
    weight = ops.maximum(example_weight, 1e-20)
    rest = ops.maximum(1 - example_weight, 1e-20)
    difference = x - moving.mean
    widened_variance = (moving.variance + epsilon / rest) / weight
    squares = multiply_add(difference, difference, widened_variance)
    normalized = difference * ops.rsqrt(squares)
    bound = ops.sqrt(rest / weight)
    scale = bound if gamma is None else bound * gamma[None]
    if beta is None:
        return normalized * scale
    return multiply_add(normalized, scale, beta[None])


def _scale(moments, gamma, epsilon):
    scale = ops.rsqrt(moments.variance + epsilon)
    if gamma is not None:
        scale = scale * gamma
    if moments.count is not None:
        scale = ops.where(moments.count > 0, scale, 0)
    return scale


def _sums(term, tensors, axis, like):
    """Sums over positions, and over examples where `like` is `(1, C)`, not `(n, C)`."""
    sums = sum_positions(term, tensors, axis)
    sums = ops.reshape(sums, (-1, tensors[0].shape[axis]))
    return ops.sum(sums, 0, keepdims=True) if like.shape[0] == 1 else sums


def _along(tensor, x, axis):
    """A tensor of shape `(n, C)` in the axes of `x`."""
    sizes = [1] * len(x.shape)
    sizes[0], sizes[axis] = -1, x.shape[axis]
    return reshape(tensor, sizes)

"""Mixtures of statistics: at inference (Eq. 3), and moving ones (Sec. 3.2)."""

from keras import ops

from keras_bn4.layers.moments import Moments


def mix(example, moving, example_weight):
    """Moments of the mixture of an example and the moving statistics (Eq. 3).

    Mixing `E[x]` and `E[x²]` with weight `α` is, without their cancellation,
    `v = α vₓ + (1 - α) v_m + α (1 - α) (μₓ - m)²`. For an example that is masked
    in full, with a count of 0, the result is the moving statistics. Where `α` is the
    share of one set in two, the result holds the moments of both sets together (law of
    total variance).
    Without counts this is plain arithmetic, which NumPy arrays take as well.

    Args:
        example: `Moments` of shape `(n, C)`.
        moving: `Moments` of shape `(1, C)`.
        example_weight: Scalar tensor `α`.

    Returns:
        `Moments` of shape `(n, C)`.
    """
    alpha = example_weight
    if example.count is not None:
        alpha = ops.where(example.count > 0, alpha, 0)
    rest = 1 - alpha
    mean = alpha * example.mean + rest * moving.mean
    difference = example.mean - moving.mean
    spread = alpha * rest * difference * difference
    variance = alpha * example.variance + rest * moving.variance + spread
    return Moments(mean, variance)


def move(moving, batch, momentum, second_moment):
    """The moving statistics after one more batch.

    Args:
        moving: `Moments` of shape `(C,)`.
        batch: `Moments` of shape `(C,)`; entries with a count of 0 leave the moving
            statistics as they are.
        momentum: Float `ρ`.
        second_moment: Boolean. `True` moves `E[x²]` and stores its excess over the
            squared moving mean, as the authors do, which adds the spread of batch
            means `ρ (1 - ρ) (μ - m)²`; `False` moves the variance, as Keras does.

    Returns:
        `Moments` of shape `(C,)`.
    """
    rest = 1 - momentum
    mean = momentum * moving.mean + rest * batch.mean
    variance = momentum * moving.variance + rest * batch.variance
    if second_moment:
        difference = batch.mean - moving.mean
        variance = variance + momentum * rest * difference * difference
    if batch.count is not None:
        mean = ops.where(batch.count > 0, mean, moving.mean)
        variance = ops.where(batch.count > 0, variance, moving.variance)
    return Moments(mean, variance)

"""Inference at an example weight above 0 (Sec. 3.1, Eq. 3)."""

from keras import ops

from keras_bn4.layers.backend import optimization_barrier
from keras_bn4.layers.kernels import tensorflow_selected
from keras_bn4.layers.mixing import mix
from keras_bn4.layers.moments import Moments, example_moments, hide_masked
from keras_bn4.layers.normalize import scale_and_shift, weigh_numbers
from keras_bn4.layers.pooling import group_moments


def weigh_examples(
    x, mask, moving, example_weight, is_positive, groups, gamma, beta, axis, epsilon
):
    """Normalizes by the moving statistics mixed with the example's own moments.

    Args:
        x: Tensor of shape `(n, ...)` with `C` channels along `axis`, float32 at least.
        mask: `None`, or a Keras mask.
        moving: `Moments` of shape `(1, C)`, pooled over groups of channels.
        example_weight: Scalar tensor.
        is_positive: Boolean scalar tensor, whether the example weight is above 0, or
            `None` where it is.
        groups: Integer that divides `C`, the number of channel groups.
        gamma, beta, axis, epsilon: As those of `normalize.normalize`.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    affine = {"gamma": gamma, "beta": beta, "axis": axis, "epsilon": epsilon}
    if len(x.shape) == 2 and mask is None and groups == x.shape[axis]:
        moving = Moments(*optimization_barrier(*moving[:2]))
        return weigh_numbers(x, moving, example_weight, **affine)
    # A masked NaN must not reach the gradients of what counts by its moments.
    x, mask = hide_masked(x, mask, axis)
    if tensorflow_selected.supports(x, mask, axis):
        variance = moving.variance
        examples = tensorflow_selected.selected_moments(x, variance, example_weight)
    else:
        examples = example_moments(x, axis, mask, training=False)
    mean, variance = optimization_barrier(examples.mean, examples.variance)
    examples = group_moments(Moments(mean, variance, examples.count), groups)
    mixture = mix(examples, moving, example_weight)
    if is_positive is not None:
        pairs = zip(mixture[:2], moving[:2])
        mixture = Moments(*(ops.where(is_positive, *pair) for pair in pairs))
    return scale_and_shift(x, mixture, **affine)

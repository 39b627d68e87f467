"""Moments of single examples, the only statistics that read the large tensor.

In the letters of the paper there are `n` examples and `C` channels; the *positions* of
an example are all axes but the first one and that of the channels. Everything starts
from the moments of single examples, of shape `(n, C)`. Those of ghosts, channel groups
and the batch are pooled from them in `pooling`.

Variances are biased and always centred, because `E[x²] - E[x]²` loses every digit in
float32 once the mean is a few hundred standard deviations away from zero.
"""

import collections
import math

from keras import ops

from keras_bn4.layers.arguments import check_mask
from keras_bn4.layers.backend import (
    custom_gradient,
    positions_of,
    reshape,
    squared_difference,
    sum_positions,
)

Moments = collections.namedtuple(
    "Moments", ["mean", "variance", "count"], defaults=[None]
)
Moments.__doc__ = """Mean, biased variance, and the number of elements behind them.

`count` can be broadcast to the shape of `mean`, or is `None` where it is the same for
all entries.
"""


def example_moments(x, axis, mask=None, training=True):
    """Moments of every example and channel over the example's own positions.

    Args:
        x: Float tensor of shape `(n, ...)` with `C` channels along `axis`.
        axis: Integer from 1, the axis of the channels.
        mask: `None`, or a boolean tensor of the shape of `x`, `False` where an
            element must not count (see `element_mask`).
        training: Whether the gradient is a custom one, which is faster. TensorFlow
            can't load a function that was saved for inference and has a custom gradient
            in one of its branches.

    Returns:
        `Moments` of shape `(n, C)`; where the count is 0, so are mean and variance.
    """
    channels = (-1, x.shape[axis])
    if mask is None:
        if len(x.shape) == 2:
            return Moments(x, ops.zeros_like(x))
        masks, count = (), None
        # A list, because `torch.compile` can't follow a generator.
        size = math.prod([ops.shape(x)[i] for i in positions_of(x, axis)])
        if ops.is_tensor(size):
            # There may be no positions, which is known when the function runs.
            size = ops.cast(size, x.dtype)
            count = ops.broadcast_to(size, (ops.shape(x)[0], x.shape[axis]))
            size = ops.maximum(size, 1)
        elif isinstance(size, int) and size == 0:
            count = ops.zeros((ops.shape(x)[0], x.shape[axis]), x.dtype)
            size = 1
    else:
        masks = (mask,)
        count = sum_positions(lambda mask: ops.cast(mask, x.dtype), (mask,), axis)
        size = ops.maximum(count, 1)

    def counting(tensor, mask=None):
        # `where` and not a product: a masked NaN must not survive as 0 * NaN.
        return tensor if mask is None else ops.where(mask, tensor, 0)

    def moments(x):
        mean = sum_positions(counting, (x, *masks), axis) / size
        # Deviations from the mean sum to 0, so no gradient has to flow through the mean
        # in them. The last term of the variance is 0 as well; it keeps the derivatives
        # of higher order right.
        fixed = ops.stop_gradient(mean)

        def square(x, *mask):
            return counting(squared_difference(x, fixed), *mask)

        squares = sum_positions(square, (x, *masks), axis)

        def gradient(to_mean, to_variance):
            by_deviation = 2 * to_variance / size
            return counting((x - mean) * by_deviation + to_mean / size, *masks)

        return (mean, squares / size - ops.square(mean - fixed)), gradient

    if training:
        found = custom_gradient(moments)(x)
    else:
        # Without terms that are 0, for which integer quantization finds no scale.
        mean = sum_positions(counting, (x, *masks), axis) / size
        squares = sum_positions(
            lambda x, *mask: counting(squared_difference(x, mean), *mask),
            (x, *masks),
            axis,
        )
        found = mean, squares / size
    mean, variance = (reshape(t, channels) for t in found)
    return Moments(
        mean, variance, count if mask is None else ops.reshape(count, channels)
    )


def with_count(examples, x):
    """The moments of `example_moments(x, ...)`, with their count where it is `None`.

    The count is then the number of positions of an example. Whoever pools over several
    batches needs it.
    """
    if examples.count is not None:
        return examples
    n, channels = ops.shape(examples.mean)
    elements = math.prod(ops.shape(x)[1:])
    positions = ops.cast(elements // channels, examples.mean.dtype)
    return examples._replace(count=ops.broadcast_to(positions, (n, channels)))


def hide_masked(x, mask, axis):
    """Prepares inputs and a Keras mask for training.

    A masked NaN must not reach the gradients of γ and β either, by way of outputs that
    nobody uses, so that masked elements that are not finite become 0.

    Args:
        x: Float tensor of shape `(n, ...)`.
        mask: `None`, or a Keras mask (see `element_mask`).
        axis: Integer from 1, the axis of the channels.

    Returns:
        A pair of the inputs and `None`, or a boolean tensor of the shape of `x`.
    """
    if mask is None:
        return x, None
    mask = element_mask(mask, x, axis)
    return ops.where(ops.logical_or(mask, ops.isfinite(x)), x, 0), mask


def element_mask(mask, x, axis):
    """A Keras mask as a boolean tensor of the shape of `x`.

    A mask has one axis less than `x`: it covers the examples and positions. Where
    the channels are not last, a mask that only fits the leading axes, as
    `keras.layers.Masking` makes it, is read as covering those.
    """
    check_mask(mask, x, axis)
    others = [size for i, size in enumerate(x.shape) if i != axis]
    fits = all(
        have in (1, None) or want is None or have == want
        for have, want in zip(mask.shape, others)
    )
    mask = ops.expand_dims(ops.cast(mask, "bool"), axis if fits else -1)
    return ops.logical_and(mask, ops.ones_like(x, dtype="bool"))

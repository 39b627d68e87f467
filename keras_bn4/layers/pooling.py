"""Pooling of moments: of examples over ghosts and the batch, of channels over groups.

Any cut of the batch into ghosts, even or uneven, moves small tensors only, of shape
`(n, C)` for `n` examples and `C` channels.
"""

import math

from keras import ops

from keras_bn4.layers import ghosts
from keras_bn4.layers.moments import Moments


def pool(moments, axis):
    """Moments of the union of all entries along `axis`, which is kept with size 1.

    Returns:
        `Moments` by the laws of total mean and variance,
        `v = E[vᵢ] + E[(mᵢ - m)²]`; 0 where all counts are 0.
    """
    mean, variance, count = moments
    if count is None:

        def average(tensor):
            return _average(tensor, [axis])

    else:
        total = ops.sum(count, axis, keepdims=True)
        share = count / ops.maximum(total, 1)
        count = total

        def average(tensor):
            return ops.sum(share * tensor, axis, keepdims=True)

    pooled = average(mean)
    # The second average corrects the rounding of the first one. At a mean of ten
    # thousand standard deviations it would show in the outputs, and would depend on how
    # the batch is cut.
    pooled = pooled + average(mean - pooled)
    spread = ops.square(mean - pooled)
    return Moments(pooled, average(variance + spread), count)


def batch_moments(examples):
    """Pools all examples of a batch.

    Args:
        examples: `Moments` of shape `(n, C)`.

    Returns:
        `Moments` of shape `(C,)`. `count` is `None` only where the batch is known
        not to be empty.
    """
    mean, variance, count = pool(examples, 0)
    if count is None and not isinstance(examples.mean.shape[0], int):
        n = ops.cast(ops.shape(examples.mean)[0], mean.dtype)
        count = ops.broadcast_to(n, ops.shape(mean))
    if examples.mean.shape[0] == 0:
        count = ops.zeros_like(mean)
    return Moments(*(None if t is None else t[0] for t in (mean, variance, count)))


def ghost_moments(examples, ghost_batch_size):
    """Pools examples over ghosts, which `ghosts` cuts (Eq. 4).

    Args:
        examples: `Moments` of shape `(n, C)`.
        ghost_batch_size: Integer, or `None` for the whole batch.

    Returns:
        `Moments` of shape `(n, C)`, every example carrying those of its ghost, or
        of shape `(1, C)` where there is only one ghost.
    """
    cut = ghosts.cut(ops.shape(examples.mean)[0], ghost_batch_size)
    if isinstance(cut.ghosts, int) and cut.ghosts == 1:
        return pool(examples, 0)
    if isinstance(cut.longer, int) and cut.longer == 0:
        return _of_equal_ghosts(examples, cut.ghosts, cut.size)
    end = cut.end_of_longer
    parts = (
        Moments(*(None if t is None else t[rows] for t in examples))
        for rows in (slice(None, end), slice(end, None))
    )
    longer, others = (
        _of_equal_ghosts(part, *run) for part, run in zip(parts, cut.runs)
    )
    return Moments(
        *(
            None if first is None else ops.concatenate([first, rest])
            for first, rest in zip(longer, others)
        )
    )


def group_moments(moments, groups):
    """Pools `C` channels within `groups` runs of `C / groups` (Sec. 3.4).

    Args:
        moments: `Moments` of shape `(..., C)`.
        groups: Integer that divides `C`.

    Returns:
        `Moments` of the same shape, every channel carrying those of its group.
    """
    channels = moments.mean.shape[-1]
    if groups == channels:
        return moments
    shape = ops.shape(moments.mean)
    return _pool_and_spread(
        moments, (*shape[:-1], groups, channels // groups), -1, shape
    )


def _average(tensor, axes):
    """The mean along `axes`, which are kept with size 1; 0 where they are empty."""
    sizes = [tensor.shape[axis] for axis in axes]
    if all(sizes):
        return ops.mean(tensor, axes, keepdims=True)
    size = math.prod([ops.shape(tensor)[axis] for axis in axes])
    size = ops.maximum(ops.cast(size, tensor.dtype), 1)
    return ops.sum(tensor, axes, keepdims=True) / size


def _of_equal_ghosts(examples, number, size):
    shape = ops.shape(examples.mean)
    return _pool_and_spread(examples, (number, size, shape[-1]), 1, shape)


def _pool_and_spread(moments, view, axis, shape):
    """Pools along one axis of a view, and gives every entry its pool's moments."""

    def spread(pooled):
        if pooled is None:
            return None
        if isinstance(view[axis], int):
            # XLA can't find the shape of the gradient of `broadcast_to` in a branch
            # that is not taken.
            full = ops.take(pooled, ops.zeros(view[axis], "int32"), axis)
        else:
            full = ops.broadcast_to(pooled, view)
        return ops.reshape(full, shape)

    viewed = (None if t is None else ops.reshape(t, view) for t in moments)
    return Moments(*map(spread, pool(Moments(*viewed), axis)))

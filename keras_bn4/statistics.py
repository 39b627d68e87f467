"""Moments of activations: of examples, of ghosts, of channel groups.

The letters of the paper: `n` examples, `C` channels, and the *positions* of an
example, which are all axes but the first and the channels'. Everything starts
from the moments of single examples, shape `(n, C)`, and is pooled from there:
the large tensor is read only here, and any cut of the batch into ghosts, even or
not, moves small tensors only.

Variances are biased and always centred, because `E[x²] - E[x]²` loses every digit
in float32 once the mean is a few hundred standard deviations away from zero.
"""

import collections
import math

from keras import ops

from keras_bn4.backend import in_xla, squared_difference, with_gradient

# Runs that are summed in one pass; more is slower again.
MOST_RUNS = 8

Moments = collections.namedtuple(
    "Moments", ["mean", "variance", "count"], defaults=[None]
)
Moments.__doc__ = """Mean, biased variance, and how many elements they are of.

`count` has the shape of `mean`, or is `None` where all entries weigh the same.
"""


def of_examples(x, axis, mask=None, training=True):
    """Moments of every example and channel over the example's own positions.

    Args:
        x: Float tensor of shape `(n, ...)` with `C` channels along `axis`.
        axis: Integer from 1, the channels.
        mask: `None`, or a boolean tensor of the shape of `x`, `False` where an
            element must not count (see `element_mask`).
        training: Whether to write the gradient out. A function saved for inference
            can't be loaded with such a gradient in one of its branches.

    Returns:
        `Moments` of shape `(n, C)`; mean and variance are 0 where nothing counts.
    """
    channels = (-1, x.shape[axis])
    if mask is None:
        if len(x.shape) == 2:
            return Moments(x, ops.zeros_like(x))
        masks, count = (), None
        # A list: `torch.compile` can't go into a generator.
        size = math.prod([ops.shape(x)[i] for i in positions_of(x, axis)])
        if isinstance(size, int):
            size = max(size, 1)
        else:
            size = ops.maximum(ops.cast(size, x.dtype), 1)
    else:
        masks = (mask,)
        count = sum_positions(lambda mask: ops.cast(mask, x.dtype), (mask,), axis)
        size = ops.maximum(count, 1)

    def counting(tensor, mask=None):
        # `where` and not a product: a masked NaN must not survive as 0 * NaN.
        return tensor if mask is None else ops.where(mask, tensor, 0)

    def moments(x):
        mean = sum_positions(counting, (x, *masks), axis) / size
        # Deviations from the mean sum to 0, which a gradient through it would compute.
        # The last term, 0 as well, keeps the derivatives of higher order right.
        fixed = ops.stop_gradient(mean)

        def square(x, *mask):
            return counting(squared_difference(x, fixed), *mask)

        squares = sum_positions(square, (x, *masks), axis)

        def gradient(to_mean, to_variance):
            by_deviation = 2 * to_variance / size
            return counting((x - mean) * by_deviation + to_mean / size, *masks)

        return (mean, squares / size - ops.square(mean - fixed)), gradient

    found = with_gradient(moments)(x) if training else moments(x)[0]
    mean, variance = (ops.reshape(t, channels) for t in found)
    return Moments(
        mean, variance, count if mask is None else ops.reshape(count, channels)
    )


def positions_of(x, axis):
    """The axes of the positions: all but the first and the channels'."""
    return [i for i in range(1, len(x.shape)) if i != axis]


def sum_positions(term, tensors, axis):
    """Sums a term over the positions of every example, which keep size 1.

    XLA on a CPU writes a term down before it sums it along any axis but the last. So
    there the term is summed over runs of the first axis of positions, which it does
    in one pass, and only what is left of it is written down.

    Args:
        term: Function of tensors, element by element.
        tensors: Tensors of shape `(n, ...)`, its arguments.
        axis: Integer from 1, the channels.
    """
    positions = positions_of(tensors[0], axis)
    runs = 1
    if positions and positions[0] < axis and in_xla():
        size = tensors[0].shape[1] or 1
        runs = max(i for i in range(1, MOST_RUNS + 1) if size % i == 0)
    if runs == 1:
        return ops.sum(term(*tensors), positions, keepdims=True)
    length = size // runs
    parts = (
        term(*(tensor[:, i * length : (i + 1) * length] for tensor in tensors))
        for i in range(runs)
    )
    return ops.sum(sum(parts), positions, keepdims=True)


def with_count(examples, x):
    """The moments of `of_examples(x, ...)` with their count also where it is `None`.

    That is then the number of positions. For those that pool over several batches.
    """
    if examples.count is not None:
        return examples
    n, channels = ops.shape(examples.mean)
    elements = math.prod(ops.shape(x)[1:])
    positions = ops.cast(elements // channels, examples.mean.dtype)
    return examples._replace(count=ops.broadcast_to(positions, (n, channels)))


def element_mask(mask, x, axis):
    """A Keras mask as a boolean tensor of the shape of `x`.

    A mask has one axis less than `x`: it covers the examples and positions. Where
    the channels are not last, a mask that only fits the leading axes, as
    `keras.layers.Masking` makes it, is read as covering those.
    """
    if len(mask.shape) != len(x.shape) - 1:
        raise ValueError(
            "The mask must have one dimension less than the inputs, all of them "
            "but the channels'. "
            f"Received: mask.shape={tuple(mask.shape)}, "
            f"inputs.shape={tuple(x.shape)}, axis={axis}."
        )
    others = [size for i, size in enumerate(x.shape) if i != axis]
    fits = all(
        have in (1, None) or want is None or have == want
        for have, want in zip(mask.shape, others)
    )
    mask = ops.expand_dims(ops.cast(mask, "bool"), axis if fits else -1)
    return ops.logical_and(mask, ops.ones_like(x, dtype="bool"))


def pool(moments, axis):
    """Moments of the union of all entries along `axis`, which is kept with size 1.

    Returns:
        `Moments` by the laws of total mean and variance,
        `v = E[vᵢ] + E[(mᵢ - m)²]`; 0 where no entry counts.
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
    # Less what the first sum has rounded: at a mean of ten thousand standard
    # deviations that would depend on the cut of the batch, and show in the outputs.
    pooled = pooled + average(mean - pooled)
    spread = ops.square(mean - pooled)
    return Moments(pooled, average(variance + spread), count)


def of_batch(examples):
    """Pools all examples.

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


def equal_ghosts(n, ghost_batch_size):
    """How many ghosts make up a batch, if they are all of the same size.

    Args:
        n: Integer, the examples of the batch, or `None` if that is not known.
        ghost_batch_size: Positive integer, or `None` for the whole batch.

    Returns:
        Integer, or `None` if it isn't known or there are two sizes or none.
    """
    if not n:
        return None
    k = 1 if ghost_batch_size is None else max(1, n // ghost_batch_size)
    return k if n % k == 0 else None


def of_ghosts(examples, ghost_batch_size):
    """Pools examples over ghosts, contiguous runs of examples (Eq. 4).

    A batch of `n` makes `k = max(1, n // ghost_batch_size)` ghosts, cut as
    `numpy.array_split` does: the first `n mod k` have one example more.

    Args:
        examples: `Moments` of shape `(n, C)`.
        ghost_batch_size: Integer, or `None` for the whole batch.

    Returns:
        `Moments` of shape `(n, C)`, every example carrying those of its ghost, or
        of shape `(1, C)` where there is only one ghost.
    """
    n = ops.shape(examples.mean)[0]
    if ghost_batch_size is None:
        return pool(examples, 0)
    if isinstance(n, int):
        k = max(1, n // ghost_batch_size)
        if k == 1:
            return pool(examples, 0)
        if n % k == 0:
            return _of_equal_ghosts(examples, k, n // k)
    else:
        k = ops.maximum(1, n // ghost_batch_size)
    size, longer = n // k, n % k
    cut = longer * (size + 1)
    first = Moments(*(None if t is None else t[:cut] for t in examples))
    rest = Moments(*(None if t is None else t[cut:] for t in examples))
    return Moments(
        *(
            None if head is None else ops.concatenate([head, tail])
            for head, tail in zip(
                _of_equal_ghosts(first, longer, size + 1),
                _of_equal_ghosts(rest, k - longer, size),
            )
        )
    )


def of_groups(moments, groups):
    """Pools `C` channels within `groups` runs of `C / groups` (Sec. 3.4).

    Args:
        moments: `Moments` of shape `(..., C)`.
        groups: Integer that divides `C`.

    Returns:
        `Moments` of the same shape, every channel carrying those of its group.
    """
    shape = ops.shape(moments.mean)
    channels = shape[-1]
    if groups == channels:
        return moments
    return _pool_and_spread(
        moments, (*shape[:-1], groups, channels // groups), -1, shape
    )


def mix(example, moving, example_weight):
    """Moments of the mixture of an example and the moving statistics (Eq. 3).

    Mixing `E[x]` and `E[x²]` with weight `α` is, without their cancellation,
    `v = α vₓ + (1 - α) v_m + α (1 - α) (μₓ - m)²`. An example of which nothing
    counts leaves the moving statistics alone. Where `α` is the share of one set in
    two, these are the moments of both sets (law of total variance). Without counts it
    is plain arithmetic, also for NumPy arrays.

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
        batch: `Moments` of shape `(C,)`; entries of which nothing counts leave the
            moving statistics as they are.
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
        spread = ops.square(batch.mean - moving.mean)
        variance = variance + momentum * rest * spread
    if batch.count is not None:
        mean = ops.where(batch.count > 0, mean, moving.mean)
        variance = ops.where(batch.count > 0, variance, moving.variance)
    return Moments(mean, variance)


def _average(tensor, axes):
    """The mean along `axes`, which are kept with size 1; 0 where they are empty."""
    sizes = [tensor.shape[axis] for axis in axes]
    if all(sizes):
        return ops.mean(tensor, axes, keepdims=True)
    size = math.prod([ops.shape(tensor)[axis] for axis in axes])
    size = ops.maximum(ops.cast(size, tensor.dtype), 1)
    return ops.sum(tensor, axes, keepdims=True) / size


def _of_equal_ghosts(examples, ghosts, size):
    shape = ops.shape(examples.mean)
    return _pool_and_spread(examples, (ghosts, size, shape[-1]), 1, shape)


def _pool_and_spread(moments, view, axis, shape):
    """Pools along one axis of a view, and gives every entry its pool's moments."""

    def spread(pooled):
        if pooled is None:
            return None
        if isinstance(view[axis], int):
            # XLA can't shape the gradient of `broadcast_to` in a branch not taken.
            full = ops.take(pooled, ops.zeros(view[axis], "int32"), axis)
        else:
            full = ops.broadcast_to(pooled, view)
        return ops.reshape(full, shape)

    viewed = (None if t is None else ops.reshape(t, view) for t in moments)
    return Moments(*map(spread, pool(Moments(*viewed), axis)))

"""Training by separate operations, for any backend, ghosts and groups."""

from keras import ops

from keras_bn4.layers.backend import widened
from keras_bn4.layers.ghosts import number_of_equal_ghosts
from keras_bn4.layers.moments import example_moments, hide_masked
from keras_bn4.layers.normalize import normalize
from keras_bn4.layers.pooling import batch_moments, ghost_moments, group_moments


def supports(x, mask, groups, axis, epsilon, synchronized):
    """Whether `normalize_batch` takes these inputs: always."""
    return True


def normalize_batch(x, mask, gamma, beta, ghost_batch_size, groups, axis, epsilon):
    """Normalizes every ghost and channel group by its own moments (Eq. 1 and 4).

    Args:
        x: Float tensor of shape `(n, ...)` with `C` channels along `axis`.
        mask: `None`, or a Keras mask, `False` where an element must not count.
        gamma: Tensor of shape `(C,)`, or `None` for 1.
        beta: Tensor of shape `(C,)`, or `None` for 0.
        ghost_batch_size: Positive integer, or `None` for the whole batch.
        groups: Integer that divides `C`, the number of channel groups.
        axis: Integer from 1, the axis of the channels.
        epsilon: Float, added to the variance.

    Returns:
        A pair of the outputs, of the shape of `x` and at least float32, and `Moments`
        of shape `(C,)` of the whole batch.
    """
    x, mask = hide_masked(widened(x), mask, axis)
    ghosts = _number_of_leading_ghosts(x, ghost_batch_size)
    if not ghosts:
        examples = example_moments(x, axis, mask)
        moments = group_moments(ghost_moments(examples, ghost_batch_size), groups)
        outputs = normalize(x, moments, gamma, beta, axis, epsilon)
        return outputs, batch_moments(examples)
    # Ghosts take the place of examples, and their examples are among the positions.
    shape = ops.shape(x)
    split = (ghosts, x.shape[0] // ghosts, *shape[1:])
    x = ops.reshape(x, split)
    mask = None if mask is None else ops.reshape(mask, split)
    moments = example_moments(x, axis + 1, mask)
    by_group = group_moments(moments, groups)
    outputs = normalize(x, by_group, gamma, beta, axis + 1, epsilon)
    return ops.reshape(outputs, shape), batch_moments(moments)


def _number_of_leading_ghosts(x, ghost_batch_size):
    """The number of ghosts of equal size, or `None` where it doesn't help."""
    ghosts = number_of_equal_ghosts(x.shape[0], ghost_batch_size)
    # Where inputs are vectors, XLA sums their single axis faster without a reshape
    # (on a CPU).
    return None if ghosts == 1 and len(x.shape) == 2 else ghosts

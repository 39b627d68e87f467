"""Training on a batch that `tf.distribute` has cut into a part for each replica.

All replicas call these functions alike, in a replica context. What they send to each
other are moments of ghosts and never activations. All replicas know the shape of what
they send beforehand, so that uneven and empty parts of the batch need no special case.
Every collective operation is a sum: where a row belongs to one replica, the others add
zeros to it, which changes no bit. A layer sends in a step, counted in numbers, for `C`
channels, `R` replicas and `k` ghosts:

| | forward | backward |
|---|---|---|
| `pooled_moments`, whole batch | `C + 1` and `2 C` | `2 C` |
| `pooled_moments`, ghosts | `C + 1 + R` and `(k + R - 1) (2 C + 2)` | `2 k C` |
| `average` | `2 C + 1`, with `renorm` `5 C + 1` | |
| `total`, only with `renorm` | `1` | |
"""

import keras

from keras_bn4.layers import ghosts
from keras_bn4.layers.backend import widened
from keras_bn4.layers.moments import Moments, example_moments, hide_masked
from keras_bn4.layers.normalize import normalize
from keras_bn4.layers.pooling import group_moments, pool


def context():
    """The replica context, or `None` where there is one replica or no strategy.

    On other backends it is always `None`: JAX computes on the global batch by itself.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if not tf.distribute.has_strategy():
        return None
    here = tf.distribute.get_replica_context()
    return here if here is not None and here.num_replicas_in_sync > 1 else None


def supports(x, mask, groups, axis, epsilon, synchronized):
    """Whether `normalize_batch` takes these inputs."""
    return synchronized and context() is not None


def normalize_batch(x, mask, gamma, beta, ghost_batch_size, groups, axis, epsilon):
    """As in `general`, with ghosts of the batch of all replicas, in replica order."""
    x, mask = hide_masked(widened(x), mask, axis)
    examples = example_moments(x, axis, mask)
    moments, batch = pooled_moments(examples, ghost_batch_size)
    moments = group_moments(moments, groups)
    return normalize(x, moments, gamma, beta, axis, epsilon), batch


def average(moved, count):
    """The mean over replicas of the moving statistics that each has computed by itself.

    It takes one reduction. All replicas get the same bits, whatever they held before.

    Args:
        moved: Finite tensors of shape `(C,)`.
        count: Scalar tensor, of how many elements those of this replica are.

    Returns:
        Tensors of shape `(C,)`, weighted by the counts; as given if all are 0.
    """
    import tensorflow as tf

    count = tf.cast(tf.reshape(count, [1]), moved[0].dtype)
    total, *sums = _sum([count, *(count * tensor for tensor in moved)], 0)
    means = (tensor / tf.maximum(total, 1) for tensor in sums)
    return [tf.where(total > 0, mean, own) for mean, own in zip(means, moved)]


def total(count):
    """The sum of a scalar over replicas, as a float tensor."""
    import tensorflow as tf

    own = tf.cast(count, "float32")
    return context().all_reduce(tf.distribute.ReduceOp.SUM, own)


def pooled_moments(examples, ghost_batch_size):
    """Pools the examples of all replicas, in replica order, over ghosts (Eq. 4).

    This is `pooling.ghost_moments` and `pooling.batch_moments` as if one device had the
    whole batch. It takes two reductions in the forward pass and one in the backward
    pass. The first reduction finds the mean of the batch, from which all other means
    are measured: sums of `x` and of `x²` would lose a variance that is small beside the
    mean.

    Args:
        examples: `Moments` of shape `(n, C)`, the examples of this replica, of which
            there may be none.
        ghost_batch_size: Integer, or `None` for the whole batch.

    Returns:
        A pair of `Moments`: those of shape `(n, C)` that give every example of this
        replica its ghost's, or of shape `(1, C)` for the whole batch; and those of
        shape `(C,)` of the whole batch, through which no gradient flows.
    """
    import tensorflow as tf

    count = examples.count
    weights = (tf.ones_like(examples.mean) if count is None else count)[:, :1]

    @tf.custom_gradient
    def pooled(mean, variance):
        sizes, reference, total = _survey(mean, weights, ghost_batch_size)
        deviation = mean - reference
        if ghost_batch_size is None:
            found = _of_batch(deviation, variance, weights, total)
            ghost, k = tf.zeros_like(weights[:, 0], tf.int32), 1
        else:
            ghost, k = _ghosts_of_examples(sizes, ghost_batch_size)
            found = _of_segments(deviation, variance, weights, ghost, k)
        batch = pool(found, 0)

        def spread(tensor):
            return tensor if ghost_batch_size is None else tf.gather(tensor, ghost)

        def gradient(*upstream):
            # The gradients to mean and variance; the other outputs have none.
            rows = tf.concat(upstream[:2], -1)
            if ghost_batch_size is not None:
                rows = tf.math.unsorted_segment_sum(rows, ghost, k)
            from_mean, from_variance = map(spread, _sum(tf.split(rows, 2, -1), -1))
            share = weights / tf.maximum(spread(found.count), 1)
            from_spread = 2 * from_variance * (deviation - spread(found.mean))
            return share * (from_mean + from_spread), share * from_variance

        outputs = (
            spread(reference + found.mean),
            spread(found.variance),
            spread(found.count),
            reference + batch.mean[0],
            batch.variance[0],
            batch.count[0],
        )
        return outputs, gradient

    outputs = pooled(examples.mean, examples.variance)
    by_example, batch = (
        Moments(mean, variance, tf.broadcast_to(count, tf.shape(mean)))
        for mean, variance, count in (outputs[:3], outputs[3:])
    )
    if examples.count is None:
        # Without a mask a ghost that an example belongs to is not empty.
        by_example = by_example._replace(count=None)
    return by_example, Moments(*map(tf.stop_gradient, batch))


def _sum(tensors, axis):
    """Sums several tensors over replicas by one reduction."""
    import tensorflow as tf

    joined = tf.concat(tensors, axis)
    summed = context().all_reduce(tf.distribute.ReduceOp.SUM, joined)
    return tf.split(summed, [tensor.shape[axis] for tensor in tensors], axis)


def _survey(mean, weights, ghost_batch_size):
    """Sizes `(R,)` of the parts; mean `(C,)` and count `(1,)` of the whole batch."""
    import tensorflow as tf

    here = context()
    own = [tf.reduce_sum(weights * mean, 0), tf.reduce_sum(weights, 0)]
    if ghost_batch_size is not None:
        size = tf.cast(tf.shape(mean)[0], mean.dtype)
        own_place = here.replica_id_in_sync_group
        own.append(tf.one_hot(own_place, here.num_replicas_in_sync, size, 0 * size))
    sums, total, *sizes = _sum(own, 0)
    reference = sums / tf.maximum(total, 1)
    # A NaN in one ghost must not reach the other ghosts through the reference.
    reference = tf.where(tf.math.is_finite(reference), reference, 0)
    return tf.cast(sizes[0], tf.int32) if sizes else None, reference, total


def _of_batch(deviation, variance, weights, total):
    """Moments `(1, C)` of all examples, their mean measured from the reference."""
    import tensorflow as tf

    squares = variance + tf.square(deviation)
    own = [tf.reduce_sum(weights * x, 0) for x in (deviation, squares)]
    mean, square = (x / tf.maximum(total, 1) for x in _sum(own, 0))
    variance = tf.maximum(square - tf.square(mean), 0)
    return Moments(mean[None], variance[None], total[None])


def _ghosts_of_examples(sizes, ghost_batch_size):
    """The ghost of each example of this replica, and how many ghosts there are."""
    import tensorflow as tf

    own = context().replica_id_in_sync_group
    example = tf.reduce_sum(sizes[:own]) + tf.range(sizes[own])
    cut = ghosts.cut(tf.reduce_sum(sizes), ghost_batch_size)
    return cut.ghost_of(example), cut.ghosts


def _of_segments(deviation, variance, weights, ghost, k):
    """Moments `(k, C)` of all ghosts, from the segment that each replica has of each.

    The examples are in order, and so are the segments: from one segment to the next
    either the ghost `g` or the replica `r` grows, so that no two have the same `g + r`.
    This is the row of the segment in what is sent.
    """
    import tensorflow as tf

    here = context()
    own, rows = here.replica_id_in_sync_group, k + here.num_replicas_in_sync - 1
    examples = (weights * deviation, weights * variance, weights)
    segments = _pool(*examples, ghost + own, rows)
    segment_ghost = tf.cast(tf.range(rows) - own, deviation.dtype)[:, None]
    segment_ghost = tf.where(segments[2] > 0, segment_ghost, 0)
    *segments, segment_ghost = _sum([*segments, segment_ghost], 1)
    sums, squares, count = _pool(*segments, tf.cast(segment_ghost[:, 0], tf.int32), k)
    return Moments(*(x / tf.maximum(count, 1) for x in (sums, squares)), count)


def _pool(sums, squares, count, segment, number):
    """Pools sums, sums of squared deviations, and counts, by the segment of a row."""
    # Means would be rounded more than once where sums are exact. So even a mean halfway
    # between two float32 numbers is rounded as on one device.
    import tensorflow as tf

    def total(tensor):
        return tf.math.unsorted_segment_sum(tensor, segment, number)

    pooled_sums, pooled_count = total(sums), total(count)
    pooled_mean = tf.gather(pooled_sums / tf.maximum(pooled_count, 1), segment)
    spread = count * tf.square(sums / tf.maximum(count, 1) - pooled_mean)
    return pooled_sums, total(squares + spread), pooled_count

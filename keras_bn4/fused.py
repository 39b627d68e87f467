"""Training by TensorFlow's fused batch normalization, ghost by ghost.

The kernel reads its input twice forward and twice backward, where operations one by one
read and write it a dozen times, and takes half precision as it is. It serves whole
ghosts with the channels last; what it doesn't serve goes the general way, through
`statistics` and `normalization`.
"""

import math

import keras

from keras_bn4.statistics import Moments, of_batch

# Elements of a ghost below which starting a kernel for each costs more than it saves.
LEAST_ELEMENTS = 2**15


def serves(x, axis, ghost_batch_size):
    """Whether `normalize_ghosts` can take such an input, and is worth it.

    Args:
        x: Tensor of shape `(n, ...)`.
        axis: Integer from 1, the channels.
        ghost_batch_size: Positive integer, or `None` for the whole batch.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    if axis != len(x.shape) - 1 or None in x.shape[1:] or 0 in x.shape:
        return False
    if x.dtype not in (tf.float32, tf.float16, tf.bfloat16):
        return False
    # XLA fuses by itself, and drops rows of slices whose length it doesn't know.
    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return False
    if ghost_batch_size is None or _ghosts(x.shape[0], ghost_batch_size) == 1:
        return True
    return ghost_batch_size * math.prod(x.shape[1:]) >= LEAST_ELEMENTS


def normalize_ghosts(x, gamma, beta, ghost_batch_size, epsilon):
    """Normalizes every ghost by its own moments (Eq. 1 and 4).

    Args:
        x: Tensor of shape `(n, ..., C)`, which `serves` has approved.
        gamma: float32 tensor of shape `(C,)`, or `None` for 1.
        beta: float32 tensor of shape `(C,)`, or `None` for 0.
        ghost_batch_size: Positive integer, or `None` for the whole batch.
        epsilon: Float, added to the variance.

    Returns:
        A pair of the outputs, of the shape and dtype of `x`, and float32 `Moments` of
        shape `(C,)` of the whole batch, through which no gradient flows.
    """
    import tensorflow as tf

    n, channels = x.shape[0], x.shape[-1]
    positions = math.prod(x.shape[1:-1])
    gamma = tf.ones([channels]) if gamma is None else gamma
    beta = tf.zeros([channels]) if beta is None else beta
    flat = tf.reshape(x, [-1 if n is None else n, 1, positions, channels])
    if ghost_batch_size is None or _ghosts(n, ghost_batch_size) == 1:
        result = _forward(flat, gamma, beta, epsilon)
        outputs = result.y
        sizes = tf.shape(flat)[:1]
        means, variances = result.batch_mean[None], result.batch_variance[None]
    elif n is None:
        outputs, means, variances, sizes = _dynamic(
            flat, gamma, beta, ghost_batch_size, epsilon
        )
    else:
        k = _ghosts(n, ghost_batch_size)
        sizes = [n // k + (i < n % k) for i in range(k)]
        outputs, means, variances = _static(flat, gamma, beta, sizes, epsilon)
    count = tf.cast(tf.convert_to_tensor(sizes) * positions, tf.float32)[:, None]
    # The kernel divides by the count less one.
    variances = variances * (count - 1) / tf.maximum(count, 1)
    count = tf.broadcast_to(count, tf.shape(means))
    batch = of_batch(Moments(means, variances, count))
    outputs = tf.reshape(outputs, tf.shape(x) if n is None else x.shape)
    return outputs, Moments(*map(tf.stop_gradient, batch))


def _ghosts(n, ghost_batch_size):
    return None if n is None else max(1, n // ghost_batch_size)


def _forward(x, gamma, beta, epsilon):
    import tensorflow as tf

    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
        is_training=True,
    )


def _backward(upstream, x, gamma, reserved, epsilon):
    import tensorflow as tf

    one, two, three = reserved
    return tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=upstream,
        x=x,
        scale=gamma,
        reserve_space_1=one,
        reserve_space_2=two,
        reserve_space_3=three,
        epsilon=epsilon,
        is_training=True,
    )


def _static(x, gamma, beta, sizes, epsilon):
    import tensorflow as tf

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        parts = tf.split(x, sizes)
        results = [_forward(part, gamma, beta, epsilon) for part in parts]

        def gradient(upstream, *_):
            results_back = [
                _backward(dy, part, gamma, result[3:], epsilon)
                for dy, part, result in zip(tf.split(upstream, sizes), parts, results)
            ]
            return (
                tf.concat([result.x_backprop for result in results_back], 0),
                tf.add_n([result.scale_backprop for result in results_back]),
                tf.add_n([result.offset_backprop for result in results_back]),
            )

        outputs = (
            tf.concat([result.y for result in results], 0),
            tf.stack([result.batch_mean for result in results]),
            tf.stack([result.batch_variance for result in results]),
        )
        return outputs, gradient

    return normalize(x, gamma, beta)


def _dynamic(x, gamma, beta, ghost_batch_size, epsilon):
    """The same in a loop, as many times as the batch has ghosts when it runs."""
    import tensorflow as tf

    n = tf.shape(x)[0]
    k = tf.maximum(1, n // ghost_batch_size)
    sizes = n // k + tf.cast(tf.range(k) < n % k, tf.int32)
    ends = tf.cumsum(sizes)
    channels = x.shape[-1:]

    def rows(tensor, i):
        return tensor[ends[i] - sizes[i] : ends[i]]

    def array(dtype, shape=None):
        return tf.TensorArray(dtype, k, element_shape=shape, infer_shape=False)

    def loop(body, *variables):
        return tf.while_loop(lambda i, *_: i < k, body, (0, *variables))[1:]

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        def forward(i, outputs, *statistics):
            result = _forward(rows(x, i), gamma, beta, epsilon)
            pairs = zip(statistics, result[1:])
            written = (array.write(i, value) for array, value in pairs)
            return i + 1, outputs.write(i, result.y), *written

        outputs, *statistics, three = loop(
            forward,
            array(x.dtype, [None, *x.shape[1:]]),
            *(array(tf.float32, channels) for _ in range(4)),
            array(tf.float32),
        )
        means, variances, one, two = (array.stack() for array in statistics)

        def gradient(upstream, *_):
            def backward(i, inputs, scale, offset):
                reserved = one[i], two[i], three.read(i)
                result = _backward(
                    rows(upstream, i), rows(x, i), gamma, reserved, epsilon
                )
                return (
                    i + 1,
                    inputs.write(i, result.x_backprop),
                    scale + result.scale_backprop,
                    offset + result.offset_backprop,
                )

            inputs, scale, offset = loop(
                backward,
                array(x.dtype, [None, *x.shape[1:]]),
                tf.zeros(channels),
                tf.zeros(channels),
            )
            return tf.ensure_shape(inputs.concat(), x.shape), scale, offset

        outputs = tf.ensure_shape(outputs.concat(), x.shape)
        return (outputs, means, variances, sizes), gradient

    return normalize(x, gamma, beta)

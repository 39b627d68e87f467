"""Training by TensorFlow's fused batch normalization kernel, for all ghosts of a batch.

The kernel reads its input twice in the forward pass and twice in the backward pass,
where separate operations read and write it a dozen times. It takes half precision as it
is. It has no notion of ghosts, so that it is started for one after the other, which
costs one copy of the outputs. `tensorflow_small` has ghosts for which starting the
kernel would take longer than its work.
"""

import math

import keras

from keras_bn4.layers import ghosts
from keras_bn4.layers.backend import in_xla
from keras_bn4.layers.kernels.tensorflow_small import normalize_ghosts
from keras_bn4.layers.moments import Moments
from keras_bn4.layers.pooling import batch_moments

# The number of elements from which a ghost is worth a start of the kernel. It has to be
# twice that in a loop, or where it is the whole batch.
LEAST_ELEMENTS = 2**16
# What a whole batch of unknown size is taken to hold.
USUAL_BATCH_SIZE = 64
# The smallest epsilon that cuDNN takes, according to `tf.nn.fused_batch_norm`.
LEAST_EPSILON = 1.001e-5


def supports(x, mask, groups, axis, epsilon, synchronized):
    """Whether `normalize_batch` takes these inputs."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if mask is not None or axis != len(x.shape) - 1 or groups != x.shape[axis]:
        return False
    if None in x.shape[1:] or 0 in x.shape:
        return False
    if epsilon < LEAST_EPSILON and tf.config.list_physical_devices("GPU"):
        return False
    # XLA fuses operations by itself, and silently drops rows from slices whose length
    # it doesn't know.
    return x.dtype in (tf.float32, tf.float16, tf.bfloat16) and not in_xla()


def normalize_batch(x, mask, gamma, beta, ghost_batch_size, groups, axis, epsilon):
    """As in `general`, of inputs that `supports` has approved.

    The outputs have the dtype of `x`, and the moments are float32.
    """
    import tensorflow as tf

    n, channels = x.shape[0], x.shape[-1]
    positions = math.prod(x.shape[1:-1])
    gamma = tf.ones([channels]) if gamma is None else gamma
    beta = tf.zeros([channels]) if beta is None else beta
    is_known = n is not None
    n = n if is_known else tf.shape(x)[0]

    cut = ghosts.cut(n, ghost_batch_size)
    if isinstance(cut.ghosts, int) and cut.ghosts == 1:
        normalize, count = _at_once, n * positions
        size = n if is_known else USUAL_BATCH_SIZE
    else:
        normalize = _one_by_one if is_known else _in_a_loop
        count = cut.size_of(tf.range(cut.ghosts))[:, None] * positions
        size = ghost_batch_size
    is_whole = normalize is _at_once
    least = LEAST_ELEMENTS if normalize is _one_by_one else 2 * LEAST_ELEMENTS
    if size * positions * channels < least:
        normalize = normalize_ghosts
    count = tf.cast(count, tf.float32)
    # Four axes are what the kernel takes.
    flat = x if len(x.shape) == 4 else tf.reshape(x, [-1, 1, positions, channels])
    outputs, means, variances = normalize(flat, gamma, beta, cut, count, epsilon)
    if is_whole:
        means, variances = tf.reshape(means, [-1]), tf.reshape(variances, [-1])
        batch = Moments(means, variances, None if is_known else count)
    else:
        batch = batch_moments(Moments(means, variances, count))
    if len(x.shape) != 4:
        outputs = tf.reshape(outputs, [-1, *x.shape[1:]])
    outputs.set_shape(x.shape)
    return outputs, batch


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


def _biased(variances, count):
    """The kernel's variances, which are sums of squares by the count less one."""
    import tensorflow as tf

    return variances * ((count - 1) / tf.maximum(count, 1))


def _at_once(x, gamma, beta, cut, count, epsilon):
    """Starts the kernel for the whole batch."""
    result = _forward(x, gamma, beta, epsilon)
    return result.y, result.batch_mean, _biased(result.batch_variance, count)


def _one_by_one(x, gamma, beta, cut, count, epsilon):
    """Starts the kernel once for each ghost of a batch of known size."""
    import tensorflow as tf

    sizes = [cut.size_of(i) for i in range(cut.ghosts)]

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
            _biased(tf.stack([result.batch_variance for result in results]), count),
        )
        return outputs, gradient

    return normalize(x, gamma, beta)


def _in_a_loop(x, gamma, beta, cut, count, epsilon):
    """Starts the kernel once for each ghost of a batch of unknown size."""
    import tensorflow as tf

    k = cut.ghosts
    channels = x.shape[-1:]

    def array(dtype, shape=None):
        return tf.TensorArray(dtype, k, element_shape=shape, infer_shape=False)

    def join(array):
        # A single ghost is not copied.
        return tf.cond(k > 1, array.concat, lambda: array.read(0))

    def loop(body, *variables):
        return tf.while_loop(lambda i, *_: i < k, body, (0, *variables))[1:]

    @tf.custom_gradient
    def normalize(x, gamma, beta):
        def forward(i, outputs, *statistics):
            result = _forward(x[cut.rows(i)], gamma, beta, epsilon)
            three = tf.reshape(result[5], [-1])
            pairs = zip(statistics, (*result[1:5], three, tf.size(three)))
            written = (array.write(i, value) for array, value in pairs)
            return i + 1, outputs.write(i, result.y), *written

        outputs, *statistics, three, lengths = loop(
            forward,
            array(x.dtype, [None, *x.shape[1:]]),
            *(array(tf.float32, channels) for _ in range(4)),
            array(tf.float32, [None]),
            array(tf.int32, []),
        )
        means, variances, one, two = (array.stack() for array in statistics)
        three, lengths = three.concat(), lengths.stack()
        starts = tf.cumsum(lengths, exclusive=True)

        def gradient(upstream, *_):
            def backward(i, inputs, scale, offset):
                end = starts[i] + lengths[i]
                reserved = one[i], two[i], three[starts[i] : end]
                rows = cut.rows(i)
                result = _backward(upstream[rows], x[rows], gamma, reserved, epsilon)
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
            return join(inputs), scale, offset

        return (join(outputs), means, _biased(variances, count)), gradient

    return normalize(x, gamma, beta)

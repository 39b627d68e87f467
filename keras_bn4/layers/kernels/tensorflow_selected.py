"""Moments of examples at inference, by a kernel that TensorFlow selects on a CPU.

Outside XLA the moments that everything else computes read the input three times and
write it once: the mean, the squared deviations from it, and their mean. TensorFlow's
Euclidean norm squares while it adds up, so that mean and norm together read the input
twice and write nothing. Three difficulties had to be solved.

* LiteRT and XLA lack the norm, and a function that is traced may be exported at any
  time. So the graph calls the usual computation, and holds the one by the norm beside
  it, which nothing calls. TensorFlow's optimizer of graphs (its "implementation
  selector", made for recurrent layers) puts it in place when a function is about to run
  on a CPU. A SavedModel holds both, and is optimized in the same way once it is loaded;
  LiteRT and XLA see the usual one alone.
* Its gradient is not a number where all elements are 0. The optimizer replaces only
  calls of which no gradient is taken, so that its gradient never is.
* `E[x²] - E[x]²` loses digits where the mean is large. So the variances are centred,
  as they usually are, unless what is lost is too little to matter.
"""

import math
import weakref

import keras

from keras_bn4.layers.backend import in_xla
from keras_bn4.layers.moments import Moments, example_moments

# Of fewer positions the moments cost little either way.
LEAST_POSITIONS = 16
LEAST_LENGTH = 64
# How many variances of the mixture the share of an example's squared mean in it may be.
# The variance of the mixture is then wrong by at most 2e-6 of itself.
MOST_SQUARED_MEANS = 4


def supports(x, mask, axis):
    """Whether `selected_moments` takes these inputs.

    Args:
        x: Tensor of shape `(n, ...)`.
        mask: `None`, or a mask.
        axis: Integer from 1, the channels.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.executing_eagerly() or in_xla() or x.dtype != tf.float32:
        return False
    positions = x.shape[1:-1]
    if mask is not None or axis != len(x.shape) - 1 or None in positions:
        return False
    return math.prod(positions) >= LEAST_POSITIONS


def selected_moments(x, moving_variance, example_weight):
    """The same as `example_moments(x, axis, training=False)`, to within rounding.

    Args:
        x: Tensor of shape `(n, ..., C)`, which `supports` has approved.
        moving_variance: Tensor of shape `(1, C)`, into which their variances are mixed.
        example_weight: Scalar tensor, their weight in the mixture, above 0.

    Returns:
        `Moments` of shape `(n, C)`.
    """
    import tensorflow as tf

    graph = tf.compat.v1.get_default_graph()
    usual, by_norm = _implementations(graph, tuple(x.shape[1:]))
    mean, variance = usual(x, moving_variance, example_weight)
    for tensor in (mean, variance):
        tensor.set_shape((x.shape[0], x.shape[-1]))
    by_norm.get_concrete_function().add_to_graph(graph)
    return Moments(mean, variance)


# By function that is traced and shape, so that layers of one shape share them, and a
# function that is gone leaves nothing behind.
_functions: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _implementations(graph, shape):
    """Both computations for examples of a shape, as functions of TensorFlow."""
    # Out of branches and loops. Outermost is the graph of the whole process.
    while hasattr(getattr(graph, "outer_graph", None), "outer_graph"):
        graph = graph.outer_graph
    by_shape = _functions.setdefault(graph, {})
    if shape not in by_shape:
        by_shape[shape] = _trace(shape)
    return by_shape[shape]


def _trace(shape):
    import tensorflow as tf

    from keras_bn4 import __version__

    # The optimizer takes all functions of one name for the same computation, also those
    # of another layer, or of a model that has been loaded from a file.
    sizes = "x".join(map(str, shape))
    name = f"keras_bn4_{__version__}_moments_{sizes}"
    channels = shape[-1]
    signature = [
        tf.TensorSpec((None, *shape)),
        tf.TensorSpec((1, channels)),
        tf.TensorSpec(()),
    ]

    def implementation(function, device):
        return tf.function(
            function,
            signature,
            autograph=False,
            experimental_attributes={
                "api_implements": name,
                "api_preferred_device": device,
            },
        )

    return implementation(_usual, "GPU"), implementation(_by_norm, "CPU")


def _usual(x, moving_variance, example_weight):
    return example_moments(x, len(x.shape) - 1, training=False)[:2]


def _by_norm(x, moving_variance, example_weight):
    import tensorflow as tf

    channels, positions = x.shape[-1], math.prod(x.shape[1:-1])
    length = _length_of_part(positions)
    parts = tf.reshape(x, (-1, positions // length, length, channels))
    mean = tf.reduce_mean(tf.reduce_mean(parts, 2), 1)
    norms = tf.math.reduce_euclidean_norm(parts, 2)
    square, squared_mean = tf.reduce_mean(tf.square(norms), 1) / length, tf.square(mean)
    # The least variance of the mixture, less the example's share, by that share.
    slack = moving_variance * ((1 - example_weight) / example_weight)
    # This is `mean² <= MOST_SQUARED_MEANS * (variance + slack)` in few operations. Not
    # a number is never less than anything, and so is left to the usual computation.
    is_precise = tf.reduce_all(
        (1 + 1 / MOST_SQUARED_MEANS) * squared_mean - square <= slack
    )

    def centred():
        return example_moments(x, len(x.shape) - 1, training=False).variance

    variance = tf.cond(is_precise, lambda: square - squared_mean, centred)
    return mean, variance


def _length_of_part(positions):
    """The length of the parts into which positions are cut for sums."""
    # A sum of sums is more precise than a long sum, and costs no more while the parts
    # are long enough.
    least = max(math.isqrt(positions), min(positions, LEAST_LENGTH))
    return next(i for i in range(least, positions + 1) if positions % i == 0)

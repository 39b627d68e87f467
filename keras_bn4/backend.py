"""What depends on the backend: who compiles, and who differentiates."""

import keras
from keras import ops


def in_xla():
    """Whether TensorFlow traces what XLA will compile."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def with_gradient(function):
    """A function whose gradient is written out, where that is worth it.

    TensorFlow's own gradient keeps and rereads every intermediate tensor. JAX and
    PyTorch gain little, and `jax.jvp` refuses a gradient by hand.

    Args:
        function: Function of tensors that returns its outputs and `gradient`, a
            function of the gradients to these outputs that returns those to the
            arguments.

    Returns:
        The function, with its outputs alone.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        differentiable = tf.custom_gradient(function)

        def in_this_graph(*tensors):
            # A branch's own copies: closing over those of the graph around it, the
            # gradient could be taken in no other graph.
            if not tf.executing_eagerly():
                tensors = map(tf.identity, tensors)
            return differentiable(*tensors)

        return in_this_graph
    return lambda *tensors: function(*tensors)[0]


def squared_difference(x, y):
    """`(x - y)²`, which operations one by one would need two passes for."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.math.squared_difference(x, y)
    return ops.square(x - y)


def dear(*tensors):
    """The same tensors; a branch that makes them is dear to XLA.

    XLA takes both ways of a branch whose operations it thinks cheap, sums among them,
    and then selects. What has passed here it doesn't compute in vain.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.optimization_barrier(tensors)
    if not in_xla():
        return tensors
    from tensorflow.compiler.tf2xla.python import xla

    @with_gradient
    def barrier(*tensors):
        return xla.optimization_barrier(*tensors), lambda *upstream: upstream

    return barrier(*tensors)

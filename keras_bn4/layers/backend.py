"""Differences between TensorFlow, JAX and PyTorch: compilers, gradients, branches."""

import keras
from keras import ops

# Into how many parts a sum is cut for XLA; more of them are slower again.
MOST_PARTS = 8


def in_xla():
    """Whether TensorFlow is tracing a function that XLA will compile."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # Private, because TensorFlow has no public function for this; Keras uses the same
    # one.
    from tensorflow.python.ops import control_flow_util

    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def custom_gradient(function):
    """On TensorFlow, gives a function the gradient that it computes itself.

    TensorFlow's own gradient keeps every intermediate tensor and reads it again. JAX
    and PyTorch differentiate the function by themselves: they gain little from a custom
    gradient, and `jax.jvp` refuses one.

    Args:
        function: Function of tensors that returns a pair: its outputs, and a function
            from the gradients to these outputs to those to the arguments.

    Returns:
        The function that returns the outputs alone.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        differentiable = tf.custom_gradient(function)

        def in_this_graph(*tensors):
            # In a branch or a loop the function must use copies of the tensors. If it
            # used those of the surrounding graph, a gradient tape in another graph
            # could not differentiate it.
            if not tf.executing_eagerly():
                tensors = map(tf.identity, tensors)
            return differentiable(*tensors)

        return in_this_graph
    return lambda *tensors: function(*tensors)[0]


def is_ragged(inputs):
    """Whether the inputs of a layer are a ragged tensor of TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(inputs, tf.RaggedTensor)


def call_padded(function, ragged):
    """Calls a function with a ragged tensor as a dense one with a mask.

    Args:
        function: Function of a tensor and its mask, which returns one of that shape.
        ragged: Tensor whose second axis is ragged.

    Returns:
        What the function returns, as a ragged tensor.
    """
    import tensorflow as tf

    if ragged.ragged_rank != 1:
        raise ValueError(
            "Ragged inputs can have one ragged axis, the second one. Received: "
            f"ragged_rank={ragged.ragged_rank}. Pad the other axes "
            "(`inputs.to_tensor()`), and give a mask."
        )
    lengths = ragged.row_lengths()
    outputs = function(ragged.to_tensor(), tf.sequence_mask(lengths))
    return tf.RaggedTensor.from_tensor(outputs, lengths)


def as_dtype(x, dtype):
    """A tensor or variable in a dtype; `None` stays `None`.

    `keras.ops.cast` takes longer on PyTorch than an operation on a small tensor, also
    where it changes nothing.
    """
    if x is None or keras.backend.standardize_dtype(x.dtype) != dtype:
        return None if x is None else ops.cast(x, dtype)
    return x.value if isinstance(x, keras.Variable) else x


def wide_dtype(dtype):
    """The name of a dtype of floats, `"float32"` for one of half precision."""
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def widened(x):
    """Half precision as float32, and any other float as it is."""
    return as_dtype(x, wide_dtype(x.dtype))


def positions_of(x, axis):
    """The axes of the positions: all but the first and the channels'."""
    return [i for i in range(1, len(x.shape)) if i != axis]


def sum_positions(term, tensors, axis):
    """Sums a term over the positions of every example; their axes keep size 1.

    On a CPU, XLA stores all values of a term before it sums them along any axis but the
    last. So the first axis of positions is cut into equal parts, whose terms XLA adds
    up in one pass, and only their sum is stored.

    Args:
        term: Function of tensors, element by element.
        tensors: Tensors of shape `(n, ...)`, the arguments of the term.
        axis: Integer from 1, the axis of the channels.
    """
    positions = positions_of(tensors[0], axis)
    parts = 1
    if positions and positions[0] < axis and in_xla():
        size = tensors[0].shape[1] or 1
        parts = max(i for i in range(1, MOST_PARTS + 1) if size % i == 0)
    if parts == 1:
        return ops.sum(term(*tensors), positions, keepdims=True)
    length = size // parts
    terms = (
        term(*(tensor[:, i * length : (i + 1) * length] for tensor in tensors))
        for i in range(parts)
    )
    return ops.sum(sum(terms), positions, keepdims=True)


def squared_difference(x, y):
    """`(x - y)²`, in one pass over the tensors where the backend can."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.math.squared_difference(x, y)
    if keras.backend.backend() == "torch":
        # In place, because the difference is a new tensor.
        return (x - y).square_()
    return ops.square(x - y)


def multiply_add(x, factor, summand):
    """`x * factor + summand`, in one pass over the tensors where the backend can."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.addcmul(summand, x, factor)
    return x * factor + summand


def reshape(tensor, shape):
    """`keras.ops.reshape`, on PyTorch without its search for symbolic tensors.

    There the search takes longer than the reshape of a small tensor.
    """
    if keras.backend.backend() == "torch":
        return tensor.reshape(shape)
    return ops.reshape(tensor, shape)


def optimization_barrier(*tensors):
    """Keeps XLA from computing tensors in a branch that is not taken.

    XLA replaces a branch by a selection between both results, and so computes both,
    where it estimates that the operations in it cost little. It estimates so for sums.
    A branch with an optimization barrier in it stays a branch.

    Returns:
        The same tensors.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.optimization_barrier(tensors)
    if not in_xla():
        return tensors
    # Private, because TensorFlow offers this operation of XLA nowhere else.
    from tensorflow.compiler.tf2xla.python import xla

    @custom_gradient
    def barrier(*tensors):
        return xla.optimization_barrier(*tensors), lambda *upstream: upstream

    return barrier(*tensors)


def when_positive(example_weight, mixed, plain):
    """Returns `mixed()` if the example weight is above zero, and otherwise `plain()`.

    The branch is chosen when a compiled function runs, not when it is traced, so that a
    compiled `predict` follows a change of the example weight. It is a branch and not a
    `where`, because inference at weight 0 must cost no more than in Keras, and must
    fold into the convolution before it.

    Args:
        example_weight: `ExampleWeightVariable`.
        mixed: Function without arguments. PyTorch's tracers take no branch, so that for
            them it gets a Boolean scalar tensor, by which it chooses on small tensors.
        plain: Function without arguments.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        if example_weight.number is None or _torch_traces():
            return mixed(ops.convert_to_tensor(example_weight) > 0)
        return mixed() if example_weight.number > 0 else plain()
    weight = ops.convert_to_tensor(example_weight)
    if backend == "jax":
        import jax

        # Outside of a trace `lax.cond` would compile both branches at every call.
        if not isinstance(weight, jax.core.Tracer):
            return mixed() if float(weight) > 0 else plain()
    return ops.cond(weight > 0, mixed, plain)


def _torch_traces():
    """Whether PyTorch records what is computed, for which a number is a constant."""
    import torch
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return torch.compiler.is_compiling() or get_proxy_mode() is not None

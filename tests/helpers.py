"""What several test files share: small layers and batches, and steps on any backend.

The package computes in float32 and the specification, `reference`, in float64, in the
layout `(n, S, C)` of `reference.rows`.
"""

import contextlib
import itertools
import os
import pathlib
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import reference
from reference import rows

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="JAX's own")
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's own")

EPSILON, MOMENTUM = 1e-3, 0.9
TOLERANCE = {"rtol": 5e-5, "atol": 5e-5}

# The ways to execute a step. PyTorch has no compiled form that is on by default.
COMPILED = {"tensorflow": ["graph", "xla"], "jax": ["graph"], "torch": []}[BACKEND]
# Operation by operation JAX compiles hundreds of functions.
USUAL = "graph" if BACKEND == "jax" else "eager"
# The ways to train without a mask on TensorFlow: by separate operations, and by the
# fused kernel, started once for each ghost, or by few operations on small ghosts.
KERNELS = ["general", "one by one", "separately"]

LAYERS = [GhostBatchNormalization, BatchGroupNormalization]
SHAPES = [  # of an example, and the channels' axis
    ((6,), -1),
    ((3, 6), -1),
    ((6, 3), 1),
    ((2, 3, 6), -1),
    ((6, 2, 3), 1),
    ((2, 6, 3), 2),
    ((2, 1, 2, 6), -1),
    ((6, 2, 1, 2), 1),
    ((2, 6, 2, 1), -3),
]

TESTS = pathlib.Path(__file__).parent
# Real data and trained networks, which tests use where they are.
SHARED = TESTS.parents[1] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"there is no {SHARED}")
# The longest takes half a minute on two free cores.
SECONDS_OF_A_PROCESS = 300


# Parameters of tests.


def slow_by_xla(hows):
    """Ways to execute a step as values of a parameter; XLA compiles for seconds."""
    return [
        pytest.param(how, marks=pytest.mark.slow) if how == "xla" else how
        for how in hows
    ]


def with_kernels(*parametrizations, slow=None):
    """Parametrizes a test that trains without a mask by the kernels of every case.

    What never meets the fused kernel is run once. `parametrizations` are pairs as
    `pytest.mark.parametrize` takes them; cases with all values of `slow` are slow.
    """
    names = [name for names, _ in parametrizations for name in names.split(", ")]
    cases = []
    for product in itertools.product(*(values for _, values in parametrizations)):
        case = []
        for (own_names, _), value in zip(parametrizations, product):
            case += value if ", " in own_names else [value]
        by_name = dict(zip(names, case))
        is_slow = by_name.get("how") == "xla" or (
            slow is not None and all(by_name[name] == slow[name] for name in slow)
        )
        marks = [pytest.mark.slow] if is_slow else []
        kernels = KERNELS if _can_meet_the_kernel(**by_name) else ["as it comes"]
        cases += [
            pytest.param(
                *case, kernel, marks=marks, id="-".join(map(str, [*case, kernel]))
            )
            for kernel in kernels
        ]

    def decorate(test):
        parametrize = pytest.mark.parametrize
        test = parametrize([*names, "kernel"], cases, indirect=["kernel"])(test)
        return pytest.mark.usefixtures("kernel")(test)

    return decorate


def _can_meet_the_kernel(
    groups=None, axis=-1, how="eager", training=True, masked=False, **others
):
    return (
        BACKEND == "tensorflow"
        and groups in (None, -1)
        and axis == -1
        and how != "xla"
        and training
        and not masked
    )


# Tensors and arrays.


def tensor(x):
    """A float32 tensor of the backend; `None` stays `None`."""
    return None if x is None else keras.ops.convert_to_tensor(np.asarray(x, "float32"))


def array(x):
    return keras.ops.convert_to_numpy(x)


def close(actual, expected, **tolerance):
    np.testing.assert_allclose(actual, expected, **{**TOLERANCE, **tolerance})


# Layers and batches.


def layer_of(groups=None, **arguments):
    """A `BatchGroupNormalization` where `groups` is given, or the other layer."""
    arguments = {"epsilon": EPSILON, "momentum": MOMENTUM, **arguments}
    if groups is None:
        return GhostBatchNormalization(**arguments)
    return BatchGroupNormalization(groups=groups, **arguments)


def randomize(layer, shape, rng):
    """Builds a layer, and gives it weights that are none of the initial ones."""
    if not layer.built:
        layer.build((None, *shape))
    channels = shape[layer.axis if layer.axis < 0 else layer.axis - 1]
    gamma, variance = rng.uniform(0.5, 1.5, (2, channels))
    beta, mean = rng.normal(0, 1, (2, channels))
    layer.set_weights([gamma, beta, mean, variance])
    return layer


def layer_and_keras_layer(rng, shape, **arguments):
    """A `GhostBatchNormalization` and Keras' layer, with the same weights."""
    pair = (
        GhostBatchNormalization(**arguments),
        keras.layers.BatchNormalization(**arguments),
    )
    for layer in pair:
        layer.build((None, *shape))
    values = [rng.uniform(0.5, 1.5, weight.shape) for weight in pair[1].weights]
    for layer in pair:
        layer.set_weights(values)
    return pair


def model_to_save(rng, groups=2):
    """A model whose example weight isn't that of its constructor, and a batch."""
    layer = layer_of(groups, ghost_batch_size=3, example_weight=0.1, name="norm")
    model = keras.Sequential([keras.Input((3, 6)), layer])
    randomize(layer, (3, 6), rng)
    layer.example_weight = 0.3
    return model, example_batch(rng, 5, (3, 6))[0]


def weights(layer):
    """Weights by name, for the reference."""
    return {
        name: array(getattr(layer, name)).astype("float64")
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def example_batch(rng, n, shape):
    """Inputs, and the gradient to the outputs that a test sends back."""
    x = rng.normal(2, 2, (n, *shape)).astype("float32")
    return x, rng.normal(0, 1, x.shape).astype("float32")


# Steps.


def run(layer, x, upstream, mask=None, training=True, how=USUAL):
    """Executes one step `how`, which is `"eager"` or one of `COMPILED`.

    Returns the outputs, the gradient of `sum(upstream * outputs)` to `x`, and a list of
    those to the trainable weights.
    """
    return step_of(layer, x, upstream, mask, training, how)(x, upstream, mask)


def step_of(layer, x, upstream, mask=None, training=True, how=USUAL):
    """The step of `run` as a function of `x`, `upstream` and `mask`.

    It takes batches of any size, as a compiled function does not know the number of
    examples. The arrays that are given here tell all other sizes.
    """
    make = {
        "tensorflow": _step_on_tensorflow,
        "jax": _step_on_jax,
        "torch": _step_on_torch,
    }[BACKEND]
    arrays = [a for a in (x, upstream, mask) if a is not None]
    step = make(layer, arrays, training, how)

    def step_of_arrays(x, upstream, mask=None):
        arrays = [a for a in (x, upstream, mask) if a is not None]
        outputs, to_x, to_weights = step(*arrays)
        return array(outputs), array(to_x), [array(g) for g in to_weights]

    return step_of_arrays


def _step_on_tensorflow(layer, arrays, training, how):
    import tensorflow as tf

    variables = [v.value for v in layer.trainable_weights]

    def step(x, upstream, mask=None):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=training, mask=mask)
            loss = tf.reduce_sum(outputs * upstream)
        to_x, *to_weights = tape.gradient(loss, [x, *variables])
        return outputs, to_x, to_weights

    if how != "eager":
        signature = [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in arrays]
        step = tf.function(step, signature, jit_compile=how == "xla")
    return lambda *arrays: step(*map(tf.constant, arrays))


def _step_on_jax(layer, arrays, training, how):
    import jax

    def loss(trainable, x, state, upstream, mask=None):
        outputs, state = layer.stateless_call(
            trainable, state, x, training=training, mask=mask
        )
        return (outputs * upstream).sum(), (outputs, state)

    differentiate = jax.grad(loss, argnums=(0, 1), has_aux=True)
    if how != "eager":
        differentiate = jax.jit(differentiate)

    def step(*arrays):
        x, *others = map(jax.numpy.asarray, arrays)
        trainable = [v.value for v in layer.trainable_variables]
        state = [v.value for v in layer.non_trainable_variables]
        (to_weights, to_x), (outputs, state) = differentiate(
            trainable, x, state, *others
        )
        for variable, value in zip(layer.non_trainable_variables, state):
            variable.assign(value)
        return outputs, to_x, to_weights

    return step


def _step_on_torch(layer, arrays, training, how):
    import torch

    def step(x, upstream, mask=None):
        x = torch.tensor(x, requires_grad=True)
        mask = None if mask is None else torch.tensor(mask)
        outputs = layer(x, training=training, mask=mask)
        variables = [v.value for v in layer.trainable_weights]
        to_x, *to_weights = torch.autograd.grad(
            (outputs * torch.tensor(upstream)).sum(), [x, *variables]
        )
        return outputs.detach(), to_x, to_weights

    return step


def gradients_of(function, *arrays):
    """Gradients of a function of tensors that returns a scalar, as arrays."""
    tensors = [tensor(a) for a in arrays]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return [array(g) for g in tape.gradient(value, tensors)]
    if BACKEND == "jax":
        import jax

        return [array(g) for g in jax.grad(function, range(len(tensors)))(*tensors)]
    import torch

    for each in tensors:
        each.requires_grad_()
    return [array(g) for g in torch.autograd.grad(function(*tensors), tensors)]


# Comparisons with the specification and with Keras.


def reference_moments(values, mask, ghost_batch_size, groups=-1):
    """Mean and variance `(n, C)` of what every example is normalized with."""
    mean, variance = np.zeros(values.shape[::2]), np.zeros(values.shape[::2])
    sets = reference.normalized_together(values, mask, ghost_batch_size, groups)
    for together, counting in sets:
        for i, _, c in together:
            mean[i, c], variance[i, c] = reference.moments(values, counting)
    return mean, variance


def check_training(layer, x, upstream, how=USUAL, **grouping):
    """Compares a training step with the specification: all it returns and leaves."""
    before, axis = weights(layer), layer.axis
    outputs, to_x, (to_gamma, to_beta) = run(layer, x, upstream, how=how)
    assert outputs.shape == x.shape
    values, g = rows(x, axis), rows(upstream, axis)
    gamma, beta = before["gamma"], before["beta"]
    expected = reference.train(values, gamma, beta, EPSILON, **grouping)
    close(rows(outputs, axis), expected)
    gradients = reference.train_gradients(values, g, gamma, EPSILON, **grouping)
    # Where the variance is 0 a gradient of 0 is left of terms of 1 / √ε.
    close(rows(to_x, axis), gradients[0], atol=2e-4)
    close(to_gamma, gradients[1], atol=2e-4)
    close(to_beta, gradients[2], atol=2e-4)
    check_moved(layer, before, values)


def check_moved(layer, before, values, mask=None):
    """Compares the moving statistics after one batch with the specification."""
    own = layer.ghost_batch_size is not None or hasattr(layer, "groups")
    mean, variance = reference.move(
        before["moving_mean"],
        before["moving_variance"],
        values,
        layer.momentum,
        layer.variance_tracking if own else "variance",
        mask,
    )
    close(array(layer.moving_mean), mean)
    close(array(layer.moving_variance), variance)


def check_inference(layer, x, groups=-1, outputs=None):
    """Compares the outputs of inference with the specification."""
    if outputs is None:
        outputs = array(layer(x, training=False))
    assert outputs.shape == x.shape
    expected = reference.infer(
        rows(x, layer.axis),
        epsilon=layer.epsilon,
        example_weight=layer.example_weight,
        groups=groups,
        **weights(layer),
    )
    close(rows(outputs, layer.axis), expected)


def check_weights_unchanged(layer, before):
    """Compares all weights with those that `weights` has returned before, exactly."""
    for name, value in weights(layer).items():
        np.testing.assert_array_equal(value, before[name])


def check_same_training(layer, keras_layer, x, upstream):
    """Compares a training step with that of a layer of Keras."""
    outputs, to_x, to_weights = run(layer, x, upstream)
    keras_outputs, keras_to_x, keras_to_weights = run(keras_layer, x, upstream)
    close(outputs, keras_outputs)
    close(to_x, keras_to_x)
    for gradient, keras_gradient in zip(to_weights, keras_to_weights):
        close(gradient, keras_gradient)
    for weight, keras_weight in zip(layer.get_weights(), keras_layer.get_weights()):
        close(weight, keras_weight)


@contextlib.contextmanager
def untraced():
    """Where TensorFlow runs functions eagerly: tracing many networks takes longer."""
    if BACKEND != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        with warnings.catch_warnings():
            # Those of data sets are traced all the same.
            warnings.filterwarnings("ignore", "Even though the `tf.config")
            yield
    finally:
        tf.config.run_functions_eagerly(False)


# Processes.


def start_process(script, *arguments, **environment):
    """Starts a script of `tests/processes`, which can import what the tests can."""
    folder = TESTS / "processes"
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, str(folder / script), *map(str, arguments)],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish_processes(*processes):
    """Waits for processes, all of which must succeed, and leaves none of them behind.

    There is a time limit: what waits for a replica that doesn't come waits forever.
    """
    try:
        for process in processes:
            try:
                output, _ = process.communicate(timeout=SECONDS_OF_A_PROCESS)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
            assert process.returncode == 0, (process.returncode, output[-4000:])
    finally:
        for process in processes:
            with process:
                process.kill()


def slow_but(quick, names):
    """Parameters `names`, of which all but `quick` are not in the quick run."""
    return [
        name if name in quick else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


def keras_hub_backbone():
    """A small model of KerasHub, whose blocks create their normalization themselves."""
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(8, 8, 3),
    )
    return keras.Sequential([keras.Input((8, 8, 3)), backbone])

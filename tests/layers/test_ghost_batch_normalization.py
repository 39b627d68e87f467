"""The layers against the specification, and against Keras' own layers."""

import copy
import pickle
import warnings

import keras
import numpy as np
import pytest
import reference
from reference import rows

from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    set_example_weight,
)
from keras_bn4.layers import tensorflow_fused as fused

BACKEND = keras.backend.backend()
EPSILON, MOMENTUM = 1e-3, 0.9
TOLERANCE = {"rtol": 5e-5, "atol": 5e-5}
# PyTorch has no compiled form that is on by default.
# Operation by operation JAX compiles hundreds of functions.
USUAL = "graph" if BACKEND == "jax" else "eager"
COMPILED = {"tensorflow": ["graph", "xla"], "jax": ["graph"], "torch": []}[BACKEND]
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own")

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


@pytest.fixture(
    autouse=True,
    params=["general", "one by one", "side by side"]
    if BACKEND == "tensorflow"
    else ["general"],
)
def kernel(request, monkeypatch):
    """Every way to train."""
    if request.param == "general":
        monkeypatch.setattr(fused, "serves", lambda *_: False)
    else:
        least = 0 if request.param == "one by one" else float("inf")
        monkeypatch.setattr(fused, "LEAST_ELEMENTS", least)


def array(x):
    return keras.ops.convert_to_numpy(x)


def close(actual, expected, **tolerance):
    np.testing.assert_allclose(actual, expected, **{**TOLERANCE, **tolerance})


def layer_of(groups=None, **arguments):
    """The ghost layer, or the group layer where `groups` is given."""
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


def weights(layer):
    """Weights by name, for the reference."""
    return {
        name: array(getattr(layer, name)).astype("float64")
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def example_batch(rng, n, shape):
    x = rng.normal(2, 2, (n, *shape)).astype("float32")
    return x, rng.normal(0, 1, x.shape).astype("float32")


def run(layer, x, upstream, mask=None, training=True, how=USUAL):
    """Outputs and the gradients of `sum(upstream * outputs)`, to x and the weights.

    Compiled functions don't know the number of examples.
    """
    runner = {"tensorflow": run_tensorflow, "jax": run_jax, "torch": run_torch}[BACKEND]
    outputs, to_x, to_weights = runner(layer, x, upstream, mask, training, how)
    return array(outputs), array(to_x), [array(g) for g in to_weights]


def run_tensorflow(layer, x, upstream, mask, training, how):
    import tensorflow as tf

    variables = [v.value for v in layer.trainable_weights]

    def step(x, upstream, mask=None):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=training, mask=mask)
            loss = tf.reduce_sum(outputs * upstream)
        return outputs, tape.gradient(loss, [x, *variables])

    tensors = [tf.constant(t) for t in (x, upstream, mask) if t is not None]
    if how != "eager":
        step = tf.function(
            step,
            input_signature=[
                tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors
            ],
            jit_compile=how == "xla",
        )
    outputs, (to_x, *to_weights) = step(*tensors)
    return outputs, to_x, to_weights


def run_jax(layer, x, upstream, mask, training, how):
    import jax

    def loss(trainable, x, state):
        outputs, state = layer.stateless_call(
            trainable, state, x, training=training, mask=mask
        )
        return (outputs * upstream).sum(), (outputs, state)

    step = jax.grad(loss, argnums=(0, 1), has_aux=True)
    if how != "eager":
        step = jax.jit(step)
    if mask is not None:
        mask = jax.numpy.asarray(mask)
    trainable = [v.value for v in layer.trainable_variables]
    state = [v.value for v in layer.non_trainable_variables]
    (to_weights, to_x), (outputs, state) = step(trainable, jax.numpy.asarray(x), state)
    for variable, value in zip(layer.non_trainable_variables, state):
        variable.assign(value)
    return outputs, to_x, to_weights


def run_torch(layer, x, upstream, mask, training, how):
    import torch

    x = torch.tensor(x, requires_grad=True)
    mask = None if mask is None else torch.tensor(mask)
    outputs = layer(x, training=training, mask=mask)
    variables = [v.value for v in layer.trainable_weights]
    to_x, *to_weights = torch.autograd.grad(
        (outputs * torch.tensor(upstream)).sum(), [x, *variables]
    )
    return outputs.detach(), to_x, to_weights


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


@pytest.mark.parametrize("groups", [None, 1, 2, -1])
@pytest.mark.parametrize(
    ("n", "ghost_batch_size"),
    [
        *[(12, size) for size in (1, 2, 3, 5, 16, None)],
        *[(7, size) for size in (1, 3, 5, None)],
        *[(1, size) for size in (1, 5, None)],
    ],
)
def test_training(rng, n, ghost_batch_size, groups):
    layer = randomize(layer_of(groups, ghost_batch_size=ghost_batch_size), (3, 6), rng)
    grouping = {"ghost_batch_size": ghost_batch_size, "groups": groups or -1}
    check_training(layer, *example_batch(rng, n, (3, 6)), **grouping)


@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_training_of_any_rank_and_axis(rng, shape, axis, groups):
    layer = randomize(layer_of(groups, ghost_batch_size=2, axis=axis), shape, rng)
    grouping = {"ghost_batch_size": 2, "groups": groups or -1}
    check_training(layer, *example_batch(rng, 5, shape), **grouping)


@pytest.mark.parametrize("how", COMPILED)
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize(("n", "ghost_batch_size"), [(7, 3), (12, 5), (7, 16), (6, 3)])
def test_compiled_training(rng, n, ghost_batch_size, groups, how):
    shape = (2, 2, 6)
    layer = randomize(layer_of(groups, ghost_batch_size=ghost_batch_size), shape, rng)
    grouping = {"ghost_batch_size": ghost_batch_size, "groups": groups or -1}
    check_training(layer, *example_batch(rng, n, shape), how, **grouping)


@pytest.mark.parametrize("how", COMPILED)
@pytest.mark.parametrize(("shape", "axis"), [((6,), -1), ((6, 2), 1), ((2, 6, 2), 2)])
def test_compiled_training_of_any_axis(rng, shape, axis, how):
    layer = randomize(layer_of(2, ghost_batch_size=2, axis=axis), shape, rng)
    grouping = {"ghost_batch_size": 2, "groups": 2}
    check_training(layer, *example_batch(rng, 5, shape), how, **grouping)


@on_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_size_need_be_known(rng, jit_compile):
    import tensorflow as tf

    layer = randomize(layer_of(2, ghost_batch_size=3), (None, None, 6), rng)
    before, (x, _) = weights(layer), example_batch(rng, 7, (2, 3, 6))
    signature = [tf.TensorSpec((None, None, None, 6))]
    train, infer = (
        tf.function(
            lambda x, training=training: layer(x, training=training),
            input_signature=signature,
            jit_compile=jit_compile,
        )
        for training in (True, False)
    )
    values = rows(x, -1)
    close(
        rows(train(x), -1),
        reference.train(values, before["gamma"], before["beta"], EPSILON, 3, 2),
    )
    check_moved(layer, before, values)
    for example_weight in (0.0, 0.1):
        layer.example_weight = example_weight
        check_inference(layer, x, 2, array(infer(x)))


@pytest.mark.parametrize(
    "how",
    [
        {"jit_compile": False},
        {"run_eagerly": True},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("groups", [None, 2])
def test_fit_and_predict(rng, groups, how):
    layer = layer_of(groups, ghost_batch_size=3, example_weight=0.1)
    model = keras.Sequential([keras.Input((2, 6)), layer])
    randomize(layer, (2, 6), rng)
    x, upstream = example_batch(rng, 19, (2, 6))
    model.compile(
        keras.optimizers.SGD(0.01),
        loss=lambda upstream, outputs: keras.ops.sum(upstream * outputs, (1, 2)),
        **how,
    )
    expected = weights(layer)
    for batch in (slice(0, 12), slice(12, 19)):
        values, g = rows(x[batch], -1), rows(upstream[batch], -1)
        expected["moving_mean"], expected["moving_variance"] = reference.move(
            expected["moving_mean"],
            expected["moving_variance"],
            values,
            MOMENTUM,
            "second_moment",
        )
        _, to_gamma, to_beta = reference.train_gradients(
            values, g, expected["gamma"], EPSILON, 3, groups or -1
        )
        expected["gamma"] = expected["gamma"] - 0.01 * to_gamma / len(values)
        expected["beta"] = expected["beta"] - 0.01 * to_beta / len(values)
    model.fit(x, upstream, batch_size=12, shuffle=False, verbose=0)
    for name, value in weights(layer).items():
        close(value, expected[name])
    outputs = model.predict(x[:7], batch_size=4, verbose=0)
    check_inference(layer, x[:7], groups or -1, outputs)


@pytest.mark.parametrize("n", [6, 7])
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("how", [USUAL, *COMPILED])
def test_gradients_of_gradients(rng, how, groups, n):
    """As a gradient penalty needs them, which a gradient by hand can get wrong."""
    layer = randomize(layer_of(groups, ghost_batch_size=3), (2, 6), rng)
    gamma, (x, upstream) = weights(layer)["gamma"], example_batch(rng, n, (2, 6))

    def penalty(x):
        to_x, _, _ = reference.train_gradients(
            x, upstream, gamma, EPSILON, 3, groups or -1
        )
        return np.sum(to_x**2)

    expected = reference.central_differences(penalty, x.astype("float64"))
    close(gradient_of_penalty(layer, x, upstream, how), expected, atol=2e-4)


def gradient_of_penalty(layer, x, upstream, how):
    """Of the squared gradient of `sum(upstream * outputs)`, to x."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def step(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    loss = tf.reduce_sum(layer(x, training=True) * upstream)
                penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
            return outer.gradient(penalty, x)

        if how != "eager":
            signature = [tf.TensorSpec((None, *x.shape[1:]))]
            step = tf.function(step, signature, jit_compile=how == "xla")
        return array(step(tf.constant(x)))
    if BACKEND == "jax":
        import jax

        trainable = [v.value for v in layer.trainable_variables]
        state = [v.value for v in layer.non_trainable_variables]

        def loss(x):
            outputs, _ = layer.stateless_call(trainable, state, x, training=True)
            return (outputs * upstream).sum()

        return array(jax.grad(lambda x: (jax.grad(loss)(x) ** 2).sum())(x))
    import torch

    x = torch.tensor(x, requires_grad=True)
    loss = (layer(x, training=True) * torch.tensor(upstream)).sum()
    (to_x,) = torch.autograd.grad(loss, x, create_graph=True)
    return array(torch.autograd.grad((to_x**2).sum(), x)[0])


@on_tensorflow
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("example_weight", [0.0, 0.3])
@pytest.mark.parametrize("groups", [None, 2])
def test_gradients_through_traced_and_saved_functions(
    rng, tmp_path, groups, example_weight, training, masked
):
    """With the tape in another graph than the layer."""
    import tensorflow as tf

    layer = layer_of(groups, ghost_batch_size=3, example_weight=example_weight)
    randomize(layer, (2, 6), rng)
    x = tf.constant(example_batch(rng, 7, (2, 6))[0])
    mask = tf.constant(rng.random((7, 2)) < 0.6) if masked else None

    def call(x):
        return layer(x, training=training, mask=mask)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(function(x) ** 3)
        return tape.gradient(loss, x)

    traced = tf.function(call, [tf.TensorSpec((None, 2, 6))])
    expected = gradient(call)
    close(gradient(traced), expected, atol=2e-4)
    branched = tf.function(
        lambda x: tf.cond(tf.size(x) > 0, lambda: call(x), lambda: x)
    )
    close(gradient(branched), expected, atol=2e-4)
    repeated = tf.function(
        lambda x: tf.while_loop(
            lambda i, _: i < 2, lambda i, y: (i + 1, call(y)), (0, x)
        )[1]
    )
    close(gradient(repeated), gradient(lambda x: call(call(x))), atol=2e-3)
    module = tf.Module()
    variables = [*layer.weights, layer._example_weight_variable]
    module.function, module.held = traced, [v.value for v in variables]
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)  # Holds the variables.
    close(gradient(loaded.function), expected, atol=2e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_wider_layer_does_not_round_half_precision(rng, dtype):
    """As where a float32 layer follows one of mixed precision."""
    x = keras.ops.cast(example_batch(rng, 6, (3, 6))[0], dtype)
    outputs = layer_of(ghost_batch_size=2, dtype="float32")(x, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    values = array(keras.ops.cast(x, "float32")).astype("float64")
    expected = reference.train(values, np.ones(6), np.zeros(6), EPSILON, 2)
    close(array(outputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's own")
def test_forward_mode(rng):
    import jax

    layer = randomize(layer_of(2, ghost_batch_size=3), (2, 6), rng)
    x, direction = example_batch(rng, 7, (2, 6))
    trainable = [v.value for v in layer.trainable_variables]
    state = [v.value for v in layer.non_trainable_variables]

    def outputs(x):
        return layer.stateless_call(trainable, state, x, training=True)[0]

    _, tangent = jax.jvp(outputs, (x,), (direction,))
    _, pullback = jax.vjp(outputs, x)
    close((tangent * x).sum(), (pullback(x)[0] * direction).sum(), rtol=1e-4)


@pytest.mark.parametrize("example_weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("groups", [None, 1, 2, -1])
def test_inference(rng, groups, example_weight):
    layer = layer_of(groups, ghost_batch_size=2, example_weight=example_weight)
    randomize(layer, (3, 6), rng)
    before = weights(layer)
    for n in (1, 7):
        check_inference(layer, example_batch(rng, n, (3, 6))[0], groups or -1)
    for name, value in weights(layer).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("example_weight", [0.0, 0.3])
@pytest.mark.parametrize("groups", [None, 3])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_inference_of_any_rank_and_axis(rng, shape, axis, groups, example_weight):
    layer = layer_of(groups, axis=axis, example_weight=example_weight)
    randomize(layer, shape, rng)
    check_inference(layer, example_batch(rng, 4, shape)[0], groups or -1)


@pytest.mark.parametrize(
    ("example_weight", "training"), [(0.0, False), (0.0, True), (0.3, True)]
)
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("how", ["eager", *COMPILED])
def test_a_frozen_layer_infers_and_passes_gradients(
    rng, how, groups, example_weight, training
):
    layer = layer_of(groups, ghost_batch_size=2, example_weight=example_weight)
    randomize(layer, (3, 4), rng)
    layer.trainable = False
    before, (x, upstream) = weights(layer), example_batch(rng, 3, (3, 4))
    outputs, to_x, to_weights = run(layer, x, upstream, training=training, how=how)
    assert to_weights == []
    check_inference(layer, x, groups or -1, outputs)

    def loss(values):
        inferred = reference.infer(
            values,
            **before,
            epsilon=EPSILON,
            example_weight=example_weight,
            groups=groups or -1,
        )
        return np.sum(inferred * upstream)

    close(to_x, reference.central_differences(loss, x.astype("float64")))
    for name, value in weights(layer).items():
        np.testing.assert_array_equal(value, before[name])


def masked_batch(rng, n, shape, axis):
    """A batch whose masked positions are NaN, and its mask.

    The first two examples and the last are masked as a whole.
    """
    x, upstream = example_batch(rng, n, shape)
    others = [size for i, size in enumerate(x.shape) if i != axis % x.ndim]
    mask = rng.random(others) < 0.6
    mask[:2], mask[-1] = False, False
    elements = np.broadcast_to(np.expand_dims(mask, axis), x.shape)
    return np.where(elements, x, np.nan).astype("float32"), upstream * elements, mask


@pytest.mark.parametrize("how", ["eager", *COMPILED])
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 6), -1), ((6, 4), 1), ((2, 3, 6), -1), ((6,), -1)]
)
def test_masked_training(rng, shape, axis, groups, how):
    layer = randomize(layer_of(groups, ghost_batch_size=2, axis=axis), shape, rng)
    before = weights(layer)
    # 6 examples: ghosts of 2, so that the first ghost is masked as a whole.
    x, upstream, mask = masked_batch(rng, 6, shape, axis)
    outputs, to_x, (to_gamma, to_beta) = run(layer, x, upstream, mask, how=how)
    # What is masked can't matter.
    values, g = rows(np.nan_to_num(x), axis), rows(upstream, axis)
    counting = reference.mask_rows(mask, x.shape, axis)
    grouping = {"ghost_batch_size": 2, "groups": groups or -1, "mask": counting}
    gamma, beta = before["gamma"], before["beta"]
    expected = reference.train(values, gamma, beta, EPSILON, **grouping)
    close(rows(outputs, axis)[counting], expected[counting])
    np.testing.assert_allclose(
        rows(outputs, axis)[:2], np.broadcast_to(beta, expected[:2].shape), rtol=1e-6
    )
    gradients = reference.train_gradients(values, g, gamma, EPSILON, **grouping)
    close(rows(to_x, axis), gradients[0], atol=2e-4)
    close(to_gamma, gradients[1], atol=2e-4)
    close(to_beta, gradients[2], atol=2e-4)
    check_moved(layer, before, values, counting)


@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("example_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((6, 4), 1)])
def test_masked_inference(rng, shape, axis, example_weight, groups):
    layer = layer_of(groups, axis=axis, example_weight=example_weight)
    randomize(layer, shape, rng)
    x, _, mask = masked_batch(rng, 7, shape, axis)
    # The example that is masked as a whole falls back to the moving statistics.
    x[-1] = 1.5
    outputs = array(layer(x, training=False, mask=keras.ops.convert_to_tensor(mask)))
    counting = reference.mask_rows(mask, x.shape, axis)
    expected = reference.infer(
        rows(np.nan_to_num(x), axis),
        **weights(layer),
        epsilon=EPSILON,
        example_weight=example_weight,
        groups=groups or -1,
        mask=counting,
    )
    close(rows(outputs, axis)[counting], expected[counting])
    close(rows(outputs, axis)[-1], expected[-1])


def test_finite_masked_positions_are_normalized_too(rng):
    layer = randomize(layer_of(ghost_batch_size=2), (4, 6), rng)
    before = weights(layer)
    x, upstream = example_batch(rng, 5, (4, 6))
    mask = rng.random((5, 4)) < 0.6
    counting = reference.mask_rows(mask, x.shape, -1)
    outputs, to_x, (to_gamma, _) = run(layer, x, upstream, mask)
    expected = reference.train(
        rows(x, -1), before["gamma"], before["beta"], EPSILON, 2, mask=counting
    )
    gradients = reference.train_gradients(
        rows(x, -1), rows(upstream, -1), before["gamma"], EPSILON, 2, mask=counting
    )
    close(outputs, expected)
    close(to_x, gradients[0], atol=2e-4)
    close(to_gamma, gradients[1], atol=2e-4)


@pytest.mark.parametrize("ghost_batch_size", [None, 2])
def test_a_fully_masked_batch_moves_nothing(rng, ghost_batch_size):
    layer = randomize(layer_of(ghost_batch_size=ghost_batch_size), (4, 6), rng)
    before = weights(layer)
    x, upstream = example_batch(rng, 5, (4, 6))
    outputs, to_x, (to_gamma, _) = run(layer, x, upstream, np.zeros((5, 4), bool))
    close(outputs, np.broadcast_to(before["beta"], x.shape))
    np.testing.assert_array_equal(to_x, 0)
    np.testing.assert_array_equal(to_gamma, 0)
    for name, value in weights(layer).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("groups", [None, 2])
def test_keras_masking(rng, groups):
    layer = layer_of(groups, ghost_batch_size=2, example_weight=0.3)
    model = keras.Sequential(
        [keras.Input((None, 6)), keras.layers.Masking(mask_value=9.0), layer]
    )
    randomize(layer, (None, 6), rng)
    before = weights(layer)
    x, _ = example_batch(rng, 5, (4, 6))
    mask = np.arange(4) < rng.integers(1, 5, (5, 1))
    x[~mask] = 9.0
    counting = reference.mask_rows(mask, x.shape, -1)
    outputs = model.predict(x, verbose=0)
    expected = reference.infer(
        x.astype("float64"),
        **before,
        epsilon=EPSILON,
        example_weight=0.3,
        groups=groups or -1,
        mask=counting,
    )
    close(outputs[mask], expected[mask])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=5, shuffle=False, verbose=0)
    check_moved(layer, before, rows(x, -1), counting)


@pytest.mark.parametrize("ghost_batch_size", [None, 3])
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("how", ["eager", *COMPILED])
def test_empty_batch(rng, how, groups, ghost_batch_size):
    layer = randomize(layer_of(groups, ghost_batch_size=ghost_batch_size), (3, 6), rng)
    before = weights(layer)
    x = np.zeros((0, 3, 6), "float32")
    outputs, _, gradients = run(layer, x, x, how=how)
    assert outputs.shape == x.shape
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)
    for layer.example_weight in (0.0, 0.1):
        outputs, _, _ = run(layer, x, x, training=False, how=how)
        assert outputs.shape == x.shape
    for name, value in weights(layer).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("groups", [None, 2])
def test_mixed_precision_does_not_overflow(rng, groups, policy):
    # 7e4 is infinite in float16.
    x = (7e4 * (1 + 0.1 * rng.normal(size=(5, 3, 6)))).astype("float32")
    layer = layer_of(groups, ghost_batch_size=2, example_weight=0.3, dtype=policy)
    model = keras.Sequential([keras.Input((3, 6)), layer])
    assert {v.dtype for v in layer.variables} == {"float32"}
    train = array(keras.ops.cast(model(x, training=True), "float32"))
    expected = reference.train(
        x.astype("float64"), np.ones(6), np.zeros(6), EPSILON, 2, groups or -1
    )
    close(train, expected, rtol=2e-2, atol=2e-2)
    infer = model(x, training=False)
    assert keras.backend.standardize_dtype(infer.dtype) == layer.compute_dtype
    assert np.isfinite(array(keras.ops.cast(infer, "float32"))).all()


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 by default.")
@pytest.mark.parametrize("example_weight", [0.0, 0.3])
def test_float64(rng, example_weight):
    layer = layer_of(
        2, ghost_batch_size=2, example_weight=example_weight, dtype="float64"
    )
    randomize(layer, (3, 6), rng)
    assert {v.dtype for v in layer.weights} == {"float64"}
    assert layer.example_weight == example_weight
    # On PyTorch Keras' layer too computes float64 in float32.
    tolerance = 1e-12 if BACKEND == "tensorflow" else 1e-6
    before, x = weights(layer), rng.normal(2, 2, (5, 3, 6))
    for training, expected in (
        (
            False,
            reference.infer(
                x, **before, epsilon=EPSILON, example_weight=example_weight, groups=2
            ),
        ),
        (True, reference.train(x, before["gamma"], before["beta"], EPSILON, 2, 2)),
    ):
        outputs = layer(keras.ops.convert_to_tensor(x), training=training)
        assert keras.backend.standardize_dtype(outputs.dtype) == "float64"
        close(array(outputs), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("how", ["eager", *COMPILED])
@pytest.mark.parametrize("groups", [None, 2])
def test_numbers_that_cancel(rng, groups, how):
    """Mean 1000, standard deviation 0.1: `E[x²] - E[x]²` has no digit left."""
    shape = (4, 4, 6)
    layer = layer_of(groups, ghost_batch_size=3)
    randomize(layer, shape, rng)
    layer.moving_mean.assign(np.full(6, 1e3))
    layer.moving_variance.assign(np.full(6, 1e-2))
    x = (1e3 + 0.1 * rng.normal(size=(7, *shape))).astype("float32")
    before, values = weights(layer), rows(x, -1)
    for layer.example_weight in (0.0, 0.1):
        outputs, _, _ = run(layer, x, x, training=False, how=how)
        expected = reference.infer(
            values,
            **before,
            epsilon=EPSILON,
            example_weight=layer.example_weight,
            groups=groups or -1,
        )
        close(rows(outputs, -1), expected, rtol=0, atol=2e-2)
    outputs, _, _ = run(layer, x, x, how=how)
    expected = reference.train(
        values, before["gamma"], before["beta"], EPSILON, 3, groups or -1
    )
    close(rows(outputs, -1), expected, rtol=0, atol=2e-2)
    mean, variance = reference.move(
        before["moving_mean"],
        before["moving_variance"],
        values,
        MOMENTUM,
        "second_moment",
    )
    close(array(layer.moving_mean), mean, rtol=1e-6)
    close(array(layer.moving_variance), variance, rtol=2e-2, atol=0)


# Relations to Keras' layers.


def pair(rng, shape, **arguments):
    """The ghost layer and Keras' layer, with the same weights."""
    ours = GhostBatchNormalization(**arguments)
    theirs = keras.layers.BatchNormalization(**arguments)
    ours.build((None, *shape))
    theirs.build((None, *shape))
    values = [rng.uniform(0.5, 1.5, w.shape) for w in theirs.weights]
    ours.set_weights(values)
    theirs.set_weights(values)
    return ours, theirs


def check_same_training(ours, theirs, x, upstream):
    outputs, to_x, to_weights = run(ours, x, upstream)
    expected, to_x_too, to_weights_too = run(theirs, x, upstream)
    close(outputs, expected)
    close(to_x, to_x_too)
    for gradient, gradient_too in zip(to_weights, to_weights_too):
        close(gradient, gradient_too)
    for weight, weight_too in zip(ours.get_weights(), theirs.get_weights()):
        close(weight, weight_too)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_the_whole_batch_is_keras_batch_normalization(rng, shape, axis):
    ours, theirs = pair(rng, shape, axis=axis, momentum=0.9)
    for _ in range(2):
        check_same_training(ours, theirs, *example_batch(rng, 7, shape))
    x, _ = example_batch(rng, 7, shape)
    theirs.set_weights(ours.get_weights())
    got, expected = (array(layer(x, training=False)) for layer in (ours, theirs))
    if BACKEND == "tensorflow":
        np.testing.assert_array_equal(got, expected)
    close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arguments", [{"scale": False}, {"center": False}])
def test_without_gamma_or_beta(rng, arguments):
    ours, theirs = pair(rng, (3, 6), **arguments)
    check_same_training(ours, theirs, *example_batch(rng, 7, (3, 6)))
    x, _ = example_batch(rng, 7, (3, 6))
    close(array(ours(x)), array(theirs(x)))
    ours.example_weight = 1.0
    norm = keras.layers.GroupNormalization(groups=-1, **arguments)
    norm.build((None, 3, 6))
    norm.set_weights(theirs.get_weights()[:1])
    close(array(ours(x)), array(norm(x)))


def test_a_ghost_of_the_whole_batch_is_batch_normalization(rng):
    theirs = keras.layers.BatchNormalization(momentum=0.9)
    ours = GhostBatchNormalization(
        ghost_batch_size=7, variance_tracking="variance", momentum=0.9
    )
    for layer in (ours, theirs):
        layer.build((None, 3, 6))
    check_same_training(ours, theirs, *example_batch(rng, 7, (3, 6)))


@pytest.mark.parametrize("groups", [1, 2, -1])
def test_one_example_a_ghost_is_group_normalization(rng, groups):
    theirs = keras.layers.GroupNormalization(groups)
    ours = BatchGroupNormalization(groups, ghost_batch_size=1, example_weight=1.0)
    theirs.build((None, 3, 6))
    randomize(ours, (3, 6), rng)
    theirs.set_weights(ours.get_weights()[:2])
    x, upstream = example_batch(rng, 5, (3, 6))
    expected, *gradients = run_without_training(theirs, x, upstream)
    outputs, to_x, to_weights = run(ours, x, upstream)
    close(outputs, expected)
    close(to_x, gradients[0], atol=2e-4)
    for gradient, gradient_too in zip(to_weights, gradients[1]):
        close(gradient, gradient_too, atol=2e-4)
    close(array(ours(x, training=False)), expected)


def run_without_training(layer, x, upstream):
    """`run` for a layer whose call knows neither `training` nor `mask`."""

    class Adapter(keras.layers.Layer):
        def call(self, inputs, training=None, mask=None):
            return layer(inputs)

    adapter = Adapter()
    adapter.inner = layer
    adapter.built = True
    return run(adapter, x, upstream)


@pytest.mark.parametrize("renorm_clipping", [None, {"rmax": 3, "rmin": 0.3, "dmax": 5}])
def test_renorm_is_that_of_keras(rng, renorm_clipping):
    ours, theirs = pair(
        rng, (3, 6), renorm=True, renorm_clipping=renorm_clipping, momentum=0.9
    )
    for _ in range(3):
        check_same_training(ours, theirs, *example_batch(rng, 7, (3, 6)))
    x, _ = example_batch(rng, 7, (3, 6))
    close(array(ours(x)), array(theirs(x)))


@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((6, 4), 1)])
def test_moments_of_renorm_are_centred_and_masked(rng, shape, axis):
    layer = GhostBatchNormalization(axis=axis, renorm=True, renorm_momentum=0.0)
    x = (1e3 + 0.1 * rng.normal(size=(7, *shape))).astype("float32")
    mask = rng.random((7, 4)) < 0.6
    layer(x, training=True, mask=keras.ops.convert_to_tensor(mask))
    moved = reference.move(
        np.zeros(6),
        np.zeros(6),
        rows(x, axis),
        0.0,
        "variance",
        reference.mask_rows(mask, x.shape, axis),
    )
    close(array(layer.renorm_mean), moved[0], rtol=1e-6)
    close(array(layer.renorm_stddev), np.sqrt(moved[1] + layer.epsilon), rtol=1e-3)


@pytest.mark.parametrize(
    ("layer_class", "arguments"),
    [
        (GhostBatchNormalization, {"ghost_batch_size": 2}),
        (BatchGroupNormalization, {"groups": 2}),
    ],
)
def test_renorm_with_own_statistics_is_an_error(layer_class, arguments):
    with pytest.raises(ValueError, match="renorm"):
        layer_class(renorm=True, **arguments)


# Properties of the paper.


@pytest.mark.parametrize("ghost_batch_size", [1, 2, 3, 5])
def test_every_ghost_has_mean_0_and_variance_1(rng, ghost_batch_size):
    layer = GhostBatchNormalization(ghost_batch_size=ghost_batch_size, epsilon=1e-12)
    x, _ = example_batch(rng, 12, (4, 6))
    outputs = array(layer(x, training=True)).astype("float64")
    for ghost in reference.ghosts(12, ghost_batch_size):
        close(outputs[ghost].mean((0, 1)), np.zeros(6))
        close(outputs[ghost].var((0, 1)), np.ones(6))


@pytest.mark.parametrize("batch_size", [2, 8])
def test_training_outputs_reach_the_bound_and_never_pass_it(rng, batch_size):
    """Eq. 2 and appendix A, at γ = 1 and β = 0."""
    layer = GhostBatchNormalization(ghost_batch_size=batch_size, epsilon=1e-12)
    bound = reference.output_bound(batch_size)
    for x in rng.standard_cauchy((20, batch_size, 3)).astype("float32"):
        assert np.abs(array(layer(x, training=True))).max() <= bound * (1 + 1e-5)
    x = np.where(np.arange(batch_size)[:, None] == 0, 0.0, [[1.0, 10.0, -1e3]])
    outputs = array(layer(x.astype("float32"), training=True))
    close(outputs[0], bound * np.array([-1, -1, 1]), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [2, 8])
def test_example_weight_gives_inference_the_same_bound(rng, batch_size):
    """Sec. 3.1: one number, at α = 1 / B."""
    layer = GhostBatchNormalization(example_weight=1 / batch_size)
    randomize(layer, (6,), rng)
    layer.gamma.assign(np.ones(6))
    layer.beta.assign(np.zeros(6))
    bound = reference.output_bound(batch_size)
    for scale in (1.0, 1e2, 1e6):
        x = (scale * rng.standard_cauchy((50, 6))).astype("float32")
        assert np.abs(array(layer(x))).max() <= bound * (1 + 1e-5)
    far = array(layer(np.float32([[1e6] * 6, [-1e6] * 6])))
    close(far, bound * np.array([[1.0] * 6, [-1.0] * 6]), rtol=1e-5)


@pytest.mark.parametrize("example_weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("groups", [None, 2])
def test_predictions_do_not_depend_on_batch_mates(rng, groups, example_weight):
    layer = layer_of(groups, ghost_batch_size=3, example_weight=example_weight)
    model = keras.Sequential([keras.Input((3, 6)), layer])
    randomize(layer, (3, 6), rng)
    x, _ = example_batch(rng, 7, (3, 6))
    together = model.predict(x, verbose=0)
    for i in range(len(x)):
        alone = model.predict(x[i : i + 1], verbose=0)
        close(together[i : i + 1], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "after_50", "after_300"),
    [
        ({"ghost_batch_size": 16}, 7.0, 2.2),
        ({"ghost_batch_size": 16, "variance_tracking": "variance"}, 1.0, 1.0),
        ({}, 1.0, 1.0),
    ],
)
def test_start_up_of_the_moving_variance(rng, arguments, after_50, after_300):
    layer = GhostBatchNormalization(momentum=0.99, **arguments)
    for step in range(1, 301):
        layer(rng.normal(5, 1, (64, 8)).astype("float32"), training=True)
        if step == 50:
            close(array(layer.moving_variance).mean(), after_50, atol=0.1)
    close(array(layer.moving_variance).mean(), after_300, atol=0.1)


def test_start_up_that_is_over_sooner(rng):
    """`momentum=0.9`, the advice for short runs."""
    layer = GhostBatchNormalization(ghost_batch_size=16, momentum=0.9)
    for _ in range(100):
        layer(rng.normal(5, 1, (64, 8)).astype("float32"), training=True)
    close(array(layer.moving_variance).mean(), 1.0, atol=0.1)


# The example weight.


class Counting(GhostBatchNormalization):
    """Counts how often its Python code runs, which compiled functions don't run."""

    traces = 0

    def call(self, inputs, training=None, mask=None):
        object.__setattr__(self, "traces", self.traces + 1)
        return super().call(inputs, training=training, mask=mask)


def counting_model(rng):
    # At momentum 1 `fit` leaves the moving statistics alone.
    layer = Counting(ghost_batch_size=2, momentum=1.0, epsilon=EPSILON)
    model = keras.Sequential([keras.Input((3, 6)), layer])
    randomize(layer, (3, 6), rng)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model, layer


@pytest.mark.parametrize("compiled", ["predict", "evaluate"])
def test_example_weight_takes_effect_without_a_retrace(rng, compiled):
    model, layer = counting_model(rng)
    x, _ = example_batch(rng, 4, (3, 6))
    y = np.zeros_like(x)
    traces = None
    for example_weight in (0.0, 0.3, 1.0, 0.0, 0.05):
        set_example_weight(model, example_weight)
        assert layer.example_weight == example_weight
        expected = reference.infer(
            x.astype("float64"),
            **weights(layer),
            epsilon=EPSILON,
            example_weight=example_weight,
        )
        if compiled == "predict":
            close(model.predict(x, verbose=0), expected)
        else:
            close(model.evaluate(x, y, verbose=0), np.mean(expected**2))
        if BACKEND != "torch":
            assert traces in (None, layer.traces)
            traces = layer.traces


def test_example_weight_takes_effect_in_the_validation_of_fit(rng):
    model, layer = counting_model(rng)
    x, _ = example_batch(rng, 4, (3, 6))
    example_weights, traces = (0.0, 0.3, 1.0), []

    def set_weight(epoch, logs=None):
        layer.example_weight = example_weights[epoch]
        traces.append(layer.traces)

    history = model.fit(
        x,
        np.zeros_like(x),
        validation_data=(x, np.zeros_like(x)),
        epochs=3,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=set_weight)],
        verbose=0,
    )
    for example_weight, loss in zip(example_weights, history.history["val_loss"]):
        expected = reference.infer(
            x.astype("float64"),
            **weights(layer),
            epsilon=EPSILON,
            example_weight=example_weight,
        )
        close(loss, np.mean(expected**2))
    assert layer.example_weight == 1.0
    if BACKEND != "torch":
        assert traces[1] == traces[2] == layer.traces


@pytest.mark.parametrize("shape", [(6,), (1, 1, 6)])
def test_a_constant_output_warns_once(shape):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = GhostBatchNormalization(example_weight=1.0)
        for example_weight in (1.0, 0.5, 1.0):
            layer.example_weight = example_weight
            layer(np.ones((2, *shape), "float32"))
    assert ["example_weight=1" in str(w.message) for w in caught] == [True]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: GhostBatchNormalization(example_weight=1.0), (2, 6)),
        (lambda: GhostBatchNormalization(example_weight=0.9), (6,)),
        (lambda: BatchGroupNormalization(2, example_weight=1.0), (6,)),
    ],
)
def test_other_outputs_do_not_warn(layer, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer()(np.ones((2, *shape), "float32"))


# Arguments.


@pytest.mark.parametrize(
    "layer_class", [GhostBatchNormalization, BatchGroupNormalization]
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("ghost_batch_size", v) for v in (0, -1, 2.5, "16", True)],
        *[("example_weight", v) for v in (-0.1, 1.1, float("nan"), "0.1", True, None)],
        ("variance_tracking", "x"),
    ],
)
def test_bad_arguments(layer_class, name, value):
    with pytest.raises(ValueError, match=name) as error:
        layer_class(**{name: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("groups", [0, -2, 1.5, "32", True, None])
def test_bad_groups(groups):
    with pytest.raises(ValueError, match="groups") as error:
        BatchGroupNormalization(groups)
    assert repr(groups) in str(error.value)


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.1", True])
def test_a_bad_example_weight_leaves_the_old_one(value, built):
    layer = GhostBatchNormalization(example_weight=0.25)
    if built:
        layer.build((None, 6))
    with pytest.raises(ValueError, match="example_weight") as error:
        layer.example_weight = value
    assert repr(value) in str(error.value)
    assert layer.example_weight == 0.25


@pytest.mark.parametrize(("groups", "channels"), [(4, 6), (12, 6)])
def test_groups_that_do_not_divide(groups, channels):
    with pytest.raises(ValueError, match=rf"{groups}.*{channels}|{channels}.*{groups}"):
        BatchGroupNormalization(groups).build((None, 3, channels))


@pytest.mark.parametrize("axis", [0, 3, -3, -4])
def test_an_axis_that_is_none(axis):
    with pytest.raises(ValueError, match=rf"axis={axis}\b"):
        GhostBatchNormalization(axis=axis).build((None, 4, 6))


@pytest.mark.parametrize("type_", [np.int64, int])
def test_numpy_numbers_are_numbers(type_):
    layer = BatchGroupNormalization(
        type_(2), ghost_batch_size=type_(4), example_weight=np.float64(0.1)
    )
    config = layer.get_config()
    assert [type(config[k]) for k in ("groups", "ghost_batch_size")] == [int, int]
    assert type(config["example_weight"]) is float


PARENT = {
    "axis": 1,
    "momentum": 0.7,
    "epsilon": 0.02,
    "center": False,
    "scale": True,
    "beta_initializer": "ones",
    "gamma_initializer": "zeros",
    "moving_mean_initializer": "ones",
    "moving_variance_initializer": "zeros",
    "beta_regularizer": keras.regularizers.L1(0.1),
    "gamma_regularizer": keras.regularizers.L2(0.2),
    "beta_constraint": keras.constraints.NonNeg(),
    "gamma_constraint": keras.constraints.MaxNorm(3),
    "renorm_momentum": 0.6,
    "synchronized": BACKEND == "tensorflow",
    "name": "a_name",
    "dtype": "mixed_bfloat16",
    "trainable": False,
}


def test_every_argument_of_the_parent_passes_through():
    for layer_class, own in (
        (GhostBatchNormalization, {"renorm": True, "renorm_clipping": {"rmax": 2.0}}),
        (BatchGroupNormalization, {"groups": 2}),
    ):
        arguments = {**PARENT, **own}
        config = layer_class(**arguments).get_config()
        arguments.pop("groups", None)
        expected = keras.layers.BatchNormalization(**arguments).get_config()
        assert {k: config[k] for k in expected} == expected


@pytest.mark.parametrize(
    "layer",
    [
        GhostBatchNormalization(),
        GhostBatchNormalization(
            ghost_batch_size=4, example_weight=0.1, variance_tracking="variance", axis=1
        ),
        BatchGroupNormalization(-1),
        BatchGroupNormalization(
            2,
            ghost_batch_size=3,
            example_weight=0.2,
            variance_tracking="variance",
            momentum=0.5,
        ),
    ],
)
def test_config_round_trip(layer):
    for _ in range(2):
        config = layer.get_config()
        again = type(layer).from_config(config)
        assert again.get_config() == config
        if not layer.built:
            layer.build((None, 4, 6))
    if isinstance(layer, BatchGroupNormalization):
        assert config["groups"] == layer.groups
    layer.example_weight = 0.375
    assert layer.get_config()["example_weight"] == 0.375
    serialized = keras.saving.serialize_keras_object(layer)
    assert serialized["registered_name"] == f"keras_bn4>{type(layer).__name__}"
    assert keras.saving.deserialize_keras_object(serialized).example_weight == 0.375


# Weights and files.


def saved_model(rng, groups=2):
    layer = layer_of(groups, ghost_batch_size=3, example_weight=0.1, name="norm")
    model = keras.Sequential([keras.Input((3, 6)), layer])
    randomize(layer, (3, 6), rng)
    layer.example_weight = 0.3
    return model, example_batch(rng, 5, (3, 6))[0]


def save_and_load(model, directory):
    model.save(directory / "model.keras")
    return keras.saving.load_model(directory / "model.keras")


@pytest.mark.parametrize("groups", [None, -1])
@pytest.mark.parametrize(
    ("again", "with_weights"),
    [
        (save_and_load, True),
        (lambda model, _: pickle.loads(pickle.dumps(model)), True),
        (lambda model, _: copy.deepcopy(model), True),
        (lambda model, _: keras.models.clone_model(model), False),
    ],
    ids=["keras", "pickle", "deepcopy", "clone"],
)
def test_copies_keep_the_example_weight(rng, tmp_path, again, with_weights, groups):
    model, x = saved_model(rng, groups)
    copied = again(model, tmp_path)
    if not with_weights:
        copied.set_weights(model.get_weights())
    assert copied.layers[-1].example_weight == 0.3
    assert copied.layers[-1].get_config() == model.layers[-1].get_config()
    close(array(copied(x)), array(model(x)), rtol=1e-6, atol=1e-6)
    # A copy is another layer, not another name for the same one.
    copied.layers[-1].example_weight = 0.0
    assert model.layers[-1].example_weight == 0.3


def test_weights_file(rng, tmp_path):
    model, x = saved_model(rng)
    model.save_weights(tmp_path / "model.weights.h5")
    other, _ = saved_model(np.random.default_rng(1))
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(array(other(x)), array(model(x)))


@pytest.mark.parametrize("renorm", [False, True])
def test_weights_are_those_of_keras(rng, renorm):
    ours, theirs = pair(rng, (3, 6), renorm=renorm)
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    fresh = keras.layers.BatchNormalization(renorm=renorm)
    fresh.build((None, 3, 6))
    fresh.set_weights(ours.get_weights())
    x, _ = example_batch(rng, 4, (3, 6))
    close(array(fresh(x)), array(ours(x)), rtol=1e-6, atol=1e-6)
    grouped = BatchGroupNormalization(2)
    grouped.build((None, 3, 6))
    assert [w.path.split("/")[-1] for w in grouped.weights] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]


@on_tensorflow
def test_checkpoints_fit_keras_layer_and_ours(rng, tmp_path):
    import tensorflow as tf

    ours, theirs = pair(rng, (3, 6))
    for saved, loaded in (
        (ours, keras.layers.BatchNormalization()),
        (theirs, GhostBatchNormalization(ghost_batch_size=2)),
    ):
        loaded.build((None, 3, 6))
        path = tf.train.Checkpoint(layer=saved).save(str(tmp_path / "checkpoint"))
        status = tf.train.Checkpoint(layer=loaded).restore(path)
        status.assert_existing_objects_matched()
        for weight, expected in zip(loaded.get_weights(), saved.get_weights()):
            np.testing.assert_array_equal(weight, expected)


@on_tensorflow
@pytest.mark.parametrize("example_weight", [0.0, 0.3])
@pytest.mark.parametrize("groups", [None, 2])
def test_export(rng, tmp_path, groups, example_weight):
    import tensorflow as tf

    model, x = saved_model(rng, groups)
    set_example_weight(model, example_weight)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    check_inference(model.layers[-1], x, groups or -1, array(loaded.serve(x)))


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's own")
def test_state_dict_is_that_of_keras(rng):
    ours, theirs = pair(rng, (3, 6))
    assert len(ours.state_dict()) == len(theirs.state_dict()) == 4
    state = zip(theirs.state_dict(), ours.state_dict().values())
    theirs.load_state_dict(dict(state))
    x, _ = example_batch(rng, 4, (3, 6))
    ours.example_weight = 0.0
    close(array(theirs(x)), array(ours(x)))

"""Training without a mask, of both layers, against the specification.

The tests of both layers are in files by subject and not by class, because most are the
same for both: the parameter `groups` says which layer it is, `None` stands for
`GhostBatchNormalization` and a number for `BatchGroupNormalization`. The cases that can
meet TensorFlow's fused kernel are repeated for all ways to train
(`helpers.with_kernels`).
"""

import keras
import numpy as np
import pytest
import reference
from helpers import (
    BACKEND,
    COMPILED,
    EPSILON,
    MOMENTUM,
    USUAL,
    array,
    check_inference,
    check_moved,
    check_training,
    check_weights_unchanged,
    close,
    example_batch,
    layer_of,
    on_jax,
    on_tensorflow,
    randomize,
    run,
    slow_by_xla,
    step_of,
    weights,
    with_kernels,
)
from reference import rows


@pytest.mark.parametrize("masked", [False, True])
def test_reference_gradients_are_those_of_the_reference(rng, masked):
    x, upstream = rng.normal(1, 2, (2, 5, 2, 4))
    gamma, beta = rng.normal(1, 0.5, (2, 4))
    mask = rng.random((5, 2, 4)) < 0.6 if masked else None
    options = {"ghost_batch_size": 2, "groups": 2, "mask": mask}

    def loss(x=x, gamma=gamma, beta=beta):
        return np.sum(upstream * reference.train(x, gamma, beta, 1e-3, **options))

    gradients = reference.train_gradients(x, upstream, gamma, 1e-3, **options)
    for name, value, gradient in zip(
        ("x", "gamma", "beta"), (x, gamma, beta), gradients
    ):
        expected = reference.central_differences(
            lambda v, name=name: loss(**{name: v}), value
        )
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


@with_kernels(
    ("n, ghost_batch_size", [(7, 3), (12, 5), (7, 16), (6, 3), (7, None)]),
    ("groups", [None, 2]),
    ("how", list(dict.fromkeys([USUAL, *COMPILED]))),
)
def test_training(rng, n, ghost_batch_size, groups, how):
    shape = (2, 2, 6)
    layer = randomize(layer_of(groups, ghost_batch_size=ghost_batch_size), shape, rng)
    grouping = {"ghost_batch_size": ghost_batch_size, "groups": groups or -1}
    check_training(layer, *example_batch(rng, n, shape), how, **grouping)


# These cases are the ones by which the quick tests meet XLA.
@pytest.mark.parametrize("how", list(dict.fromkeys([USUAL, *COMPILED])))
@pytest.mark.parametrize(("shape", "axis"), [((6,), -1), ((6, 2), 1), ((2, 6, 2), 2)])
def test_training_of_any_axis(rng, shape, axis, how):
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


# PyTorch's compiler hides warnings of its own, which pytest makes errors before. The
# second one is about Keras' functions of dtypes, which Keras' own layer calls as well.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("how", slow_by_xla(["graph", "eager", "xla"]))
@pytest.mark.parametrize("groups", [None, 2])
def test_fit_and_predict(rng, groups, how):
    layer = layer_of(groups, ghost_batch_size=3, example_weight=0.1)
    model = keras.Sequential([keras.Input((2, 6)), layer])
    randomize(layer, (2, 6), rng)
    x, upstream = example_batch(rng, 19, (2, 6))
    model.compile(
        keras.optimizers.SGD(0.01),
        loss=lambda upstream, outputs: keras.ops.sum(upstream * outputs, (1, 2)),
        **({"run_eagerly": True} if how == "eager" else {"jit_compile": how == "xla"}),
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


@with_kernels(
    # On JAX the usual way is the compiled one.
    ("how", list(dict.fromkeys([USUAL, *COMPILED]))),
    ("groups", [None, 2]),
    ("n", [6, 7]),
    slow={"how": "graph", "n": 6} if BACKEND == "tensorflow" else None,
)
def test_gradients_of_gradients(rng, how, groups, n):
    """As a gradient penalty needs them, which a custom gradient can get wrong."""
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


@on_jax
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


@with_kernels(
    ("how", ["eager", *COMPILED]),
    ("groups", [None, 2]),
    ("ghost_batch_size", [None, 3]),
    slow={"how": "graph", "ghost_batch_size": None},
)
def test_empty_batch(rng, how, groups, ghost_batch_size):
    layer = randomize(layer_of(groups, ghost_batch_size=ghost_batch_size), (3, 6), rng)
    before = weights(layer)
    x = np.zeros((0, 3, 6), "float32")
    outputs, _, gradients = run(layer, x, x, how=how)
    assert outputs.shape == x.shape
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)
    infer = step_of(layer, x, x, training=False, how=how)
    for layer.example_weight in (0.0, 0.1):
        outputs, _, _ = infer(x, x)
        assert outputs.shape == x.shape
    check_weights_unchanged(layer, before)


# Precision.


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_wider_layer_does_not_round_half_precision(rng, dtype):
    """As where a float32 layer follows one of mixed precision."""
    x = keras.ops.cast(example_batch(rng, 6, (3, 6))[0], dtype)
    outputs = layer_of(ghost_batch_size=2, dtype="float32")(x, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    values = array(keras.ops.cast(x, "float32")).astype("float64")
    expected = reference.train(values, np.ones(6), np.zeros(6), EPSILON, 2)
    close(array(outputs), expected, rtol=1e-5, atol=1e-5)


@with_kernels(("groups", [None, 2]), ("policy", ["mixed_float16", "mixed_bfloat16"]))
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


@with_kernels(("groups", [None, 2]), ("how", ["eager", *COMPILED]))
def test_numbers_that_cancel(rng, groups, how):
    """Mean 1000, standard deviation 0.1: `E[x²] - E[x]²` has no digit left."""
    shape = (4, 4, 6)
    layer = layer_of(groups, ghost_batch_size=3)
    randomize(layer, shape, rng)
    layer.moving_mean.assign(np.full(6, 1e3))
    layer.moving_variance.assign(np.full(6, 1e-2))
    x = (1e3 + 0.1 * rng.normal(size=(7, *shape))).astype("float32")
    before, values = weights(layer), rows(x, -1)
    infer = step_of(layer, x, x, training=False, how=how)
    for layer.example_weight in (0.0, 0.1):
        outputs, _, _ = infer(x, x)
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


@on_tensorflow
@pytest.mark.slow
@with_kernels(
    ("groups", [None, 2]),
    ("example_weight", [0.0, 0.3]),
    ("training", [False, True]),
    ("masked", [False, True]),
)
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

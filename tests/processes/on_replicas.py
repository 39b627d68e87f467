"""The layers on several replicas, each case in a process of its own.

    PYTHONPATH=.. python on_replicas.py CASE REPLICAS

TensorFlow can't change its devices once it has started, and two strategies in one
process can wait for each other forever.
"""

import collections
import contextlib
import functools
import itertools
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf
from helpers import layer_of

import keras_bn4
from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization
from keras_bn4.layers.kernels import tensorflow_fused

CHANNELS = 4


def mirrored(replicas):
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * replicas,
    )
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])


def per_replica(strategy, parts):
    return strategy.experimental_distribute_values_from_function(
        lambda replica: tf.constant(parts[replica.replica_id_in_sync_group])
    )


def values(strategy, distributed):
    return [v.numpy() for v in strategy.experimental_local_results(distributed)]


def relative(actual, expected):
    return np.abs(actual - expected).max() / (np.abs(expected).max() or 1)


def randomized(layer, shape, mean=0.0, seed=0):
    rng = np.random.default_rng(seed)
    layer.build((None, *shape))
    gamma, variance = rng.uniform(0.5, 1.5, (2, CHANNELS))
    beta, moving_mean = rng.normal(0, 1, (2, CHANNELS))
    layer.set_weights(
        [gamma, beta, moving_mean + mean, variance, *layer.get_weights()[4:]]
    )
    return layer


def train(layer, x, upstream, mask=None):
    """One step: outputs, and the gradients to inputs, gamma and beta."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True, mask=mask)
        loss = tf.reduce_sum(tf.cast(y, upstream.dtype) * upstream)
    return y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])


def of_unknown_size(x):
    """The same tensor, in a graph that doesn't know how many examples it has."""
    return tf.raw_ops.PlaceholderWithDefault(input=x, shape=[None, *x.shape[1:]])


def train_on_replicas(strategy, layer, parts, compiled=None):
    """The same, with `parts` a list per argument, joined to the global batch.

    `compiled` is None for eager, "static" or "dynamic" for a function that knows or
    doesn't know the size of the batch.
    """

    def on_replica(x, *rest):
        if compiled == "dynamic":
            x = of_unknown_size(x)
        return train(layer, x, *rest)

    def step(*arguments):
        return strategy.run(on_replica, args=arguments)

    if compiled is not None:
        step = tf.function(step)
    results = step(*(per_replica(strategy, part) for part in parts))
    y, dx, dgamma, dbeta = (values(strategy, result) for result in results)
    return np.concatenate(y), np.concatenate(dx), sum(dgamma), sum(dbeta)


def moving(layer, strategy):
    """The moving statistics as each replica holds them: `(replicas, 2, C)`."""
    both = [values(strategy, v.value) for v in moving_variables(layer)]
    return np.stack(both, 1)


def moving_variables(layer):
    return layer.moving_mean, layer.moving_variance


def cut(array, sizes):
    return np.split(array, np.cumsum(sizes)[:-1])


def of_layers(strategy, replicas):
    """What single layers compute, and what they send."""
    if replicas == 2:
        by_replica(strategy)
        check_renorm_goes_on(strategy)
    synchronized(strategy, replicas)
    collectives(strategy, replicas)


def synchronized(strategy, replicas):
    """Outputs, gradients and moving statistics are those of one device."""
    even = [12 // replicas] * replicas
    uneven = {2: [1, 0], 4: [3, 3, 3, 0]}[replicas]
    ragged = {2: [2, 7], 4: [0, 5, 1, 3]}[replicas]
    cases = [
        *(
            (sizes, {"ghost_batch_size": size})
            for sizes, size in itertools.product([even, uneven, ragged], [None, 2, 5])
        ),
        *((ragged, {"ghost_batch_size": size}) for size in (1, 100)),
        (even, {"ghost_batch_size": even[0]}),
        *((sizes, {"ghost_batch_size": 5, "groups": 2}) for sizes in (even, ragged)),
        *((sizes, {"groups": 2}) for sizes in (even, uneven)),
        (ragged, {"ghost_batch_size": 5, "axis": 1}),
        (ragged, {"renorm": True}),
    ]
    for sizes, arguments in cases:
        check_synchronized(strategy, sizes, arguments)
    for sizes, size in itertools.product([even, ragged], [None, 2, 5]):
        arguments = {"ghost_batch_size": size}
        check_synchronized(strategy, sizes, arguments, masked=True)
        # Not by the fused kernel, which at such a mean rounds by 1e-3 itself.
        large = {**arguments, "axis": 1}
        options = {"mean": 1e3, "std": 0.1, "compiled": "dynamic"}
        check_synchronized(strategy, sizes, large, **options)
    for size, compiled in itertools.product((None, 5), ("static", "dynamic")):
        arguments = {"ghost_batch_size": size}
        check_synchronized(strategy, ragged, arguments, compiled=compiled)
    half = {"ghost_batch_size": 2, "dtype": "mixed_float16"}
    check_synchronized(strategy, ragged, half, tolerance=2e-3)
    check_containment(strategy, even)


def batch_of(sizes, shape=(3, 2, CHANNELS), masked=False, mean=0.0, std=1.0):
    """Inputs and upstream gradients of all replicas, and a mask."""
    rng = np.random.default_rng(sum(sizes))
    x = rng.normal(mean, std, (sum(sizes), *shape)).astype("float32")
    upstream = rng.normal(0, 1, x.shape).astype("float32")
    mask = rng.uniform(0, 1, x.shape[:-1]) < 0.6
    mask[0] = False
    return [x, upstream, mask] if masked else [x, upstream]


def check_synchronized(
    strategy, sizes, arguments, *, compiled=None, tolerance=1e-5, mean=0.0, **options
):
    shape = (CHANNELS, 3, 2) if arguments.get("axis") == 1 else (3, 2, CHANNELS)
    batch = batch_of(sizes, shape, mean=mean, **options)
    single = randomized(layer_of(**arguments), shape, mean)
    if mean:
        # As in `fit`, where the size of a batch is not known. Where it is, equal ghosts
        # are summed in one go, which at such a mean rounds by 1e-3 itself.
        step = tf.function(lambda x, *rest: train(single, of_unknown_size(x), *rest))
    else:
        step = functools.partial(train, single)
    expected = [result.numpy() for result in step(*map(tf.constant, batch))]
    with strategy.scope():
        layer = randomized(layer_of(**arguments, synchronized=True), shape, mean)
    parts = [cut(array, sizes) for array in batch]
    actual = train_on_replicas(strategy, layer, parts, compiled)
    held = moving(layer, strategy)
    assert (held == held[0]).all(), held
    actual = [*actual, *held[0]]
    expected += [variable.numpy() for variable in moving_variables(single)]
    errors = [relative(a, e) for a, e in zip(actual, expected)]
    case = sizes, arguments, mean, options, compiled
    assert np.max(errors) < tolerance, (case, errors)


def check_containment(strategy, sizes):
    """What is not a number stays in its ghost, as on one device."""
    x = np.random.default_rng(0).normal(0, 1, (12, 2, CHANNELS)).astype("float32")
    x[0, 0, 1] = np.nan
    with strategy.scope():
        layer = randomized(layer_of(ghost_batch_size=5, synchronized=True), x.shape[1:])
    parts = [cut(array, sizes) for array in (x, np.ones_like(x))]
    y = train_on_replicas(strategy, layer, parts)[0]
    assert np.isnan(y[:6, :, 1]).all()
    assert np.isfinite(y[6:]).all()
    assert np.isfinite(y[..., [0, 2, 3]]).all()


def by_replica(strategy):
    """Moving statistics are the replicas' own, in the mean over their examples."""
    for least_elements, sizes, size, masked in itertools.product(
        [0, tensorflow_fused.LEAST_ELEMENTS],
        [[3, 2], [4, 0]],
        [None, 2],
        [False, True],
    ):
        tensorflow_fused.LEAST_ELEMENTS = least_elements
        # Either way with each pair of the others.
        odd = (least_elements > 0) ^ (0 in sizes) ^ (size is None) ^ masked
        compiled = "dynamic" if odd else None
        check_by_replica(strategy, sizes, masked, compiled, ghost_batch_size=size)
    half = {"ghost_batch_size": 2, "dtype": "mixed_float16"}
    check_by_replica(strategy, [4, 0], False, "dynamic", **half)
    check_by_replica(strategy, [4, 0], False, None, renorm=True)
    check_by_replica(strategy, [3, 2], True, None, renorm=True)


def check_renorm_goes_on(strategy):
    """The next step starts from the same deviation everywhere, that of the variance."""
    rng = np.random.default_rng(0)
    arguments = {"renorm": True, "momentum": 0.5}
    with strategy.scope():
        layer = randomized(layer_of(**arguments), (3, 2, CHANNELS))
    for sizes in ([3, 2], [4, 0]):
        before = moving(layer, strategy)[0, 1]
        x = rng.normal(0, 1, (sum(sizes), 3, 2, CHANNELS)).astype("float32")
        parts = [cut(array, sizes) for array in (x, np.ones_like(x))]
        train_on_replicas(strategy, layer, parts)
        held = moving(layer, strategy)[:, 1]
        stddev = np.stack(values(strategy, layer.moving_stddev.value))
        assert (stddev == stddev[0]).all(), stddev
        assert relative(stddev, np.sqrt(held + layer.epsilon)) < 1e-6
    # The second step is that of its one part that has examples.
    moved = 0.5 * np.sqrt(before + layer.epsilon)
    moved += 0.5 * np.sqrt(x.var((0, 1, 2)) + layer.epsilon)
    assert relative(stddev[0], moved) < 1e-5


def check_by_replica(strategy, sizes, masked, compiled, **arguments):
    parts = [cut(array, sizes) for array in batch_of(sizes, masked=masked)]
    counts = [mask.sum() for mask in parts[2]] if masked else sizes
    shape = (3, 2, CHANNELS)
    expected_y, expected_moving = [], []
    for part in zip(*parts):
        layer = randomized(layer_of(**arguments), shape)
        if len(part[0]):
            expected_y.append(train(layer, *map(tf.constant, part))[0].numpy())
        expected_moving.append([v.numpy() for v in moving_variables(layer)])
    expected_moving = np.average(expected_moving, 0, counts)
    with strategy.scope():
        layer = randomized(layer_of(**arguments), shape)
    y, *gradients = train_on_replicas(strategy, layer, parts, compiled)
    held = moving(layer, strategy)
    assert (held == held[0]).all(), held
    assert relative(held[0], expected_moving) < 1e-6, (sizes, arguments)
    assert relative(y, np.concatenate(expected_y)) < 1e-5
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def compiled_network(strategy, cls, **arguments):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((6, 6, 3)),
                keras.layers.Conv2D(CHANNELS, 3, use_bias=False),
                cls(**arguments),
                keras.layers.ReLU(),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(2),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def examples(n):
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (n, 6, 6, 3)).astype("float32")
    return x, rng.integers(0, 2, n)


def of_models(strategy, replicas):
    fit(strategy, replicas)
    convert(strategy, replicas)


def fit(strategy, replicas):
    """`fit` with a last batch that leaves replicas empty, `save`, `load`, sweeps."""
    x, y = examples(2 * replicas + 1)
    options = {"batch_size": 2 * replicas, "shuffle": False, "verbose": 0}
    model = compiled_network(strategy, keras.layers.BatchNormalization)
    model.fit(x, y, **options)
    assert any(np.isnan(w).any() for w in model.get_weights())
    for cls, arguments in (
        (GhostBatchNormalization, {"ghost_batch_size": 2, "dtype": "mixed_float16"}),
        (BatchGroupNormalization, {"groups": 2, "synchronized": True}),
        (GhostBatchNormalization, {"ghost_batch_size": 3, "synchronized": True}),
    ):
        model = compiled_network(strategy, cls, **arguments)
        model.fit(x, y, **options)
        held = moving(model.layers[1], strategy)
        assert (held == held[0]).all()
        assert all(np.isfinite(w).all() for w in model.get_weights())
    check_saving(strategy, model, x)
    check_sweep(strategy, model, x, y)


def check_saving(strategy, model, x):
    keras_bn4.set_example_weight(model, 0.3)
    before = model.predict(x, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.keras"
        with strategy.scope():
            model.save(path)
        outside = keras.models.load_model(path)
        outside.save(path)
        with strategy.scope():
            inside = keras.models.load_model(path)
    assert outside.layers[1].example_weight == 0.3
    assert relative(outside.predict(x, verbose=0), before) < 1e-6
    assert relative(inside.predict(x, verbose=0), before) < 1e-6
    inside.fit(x[:-1], np.zeros(len(x) - 1), verbose=0)


def check_sweep(strategy, model, x, y):
    options = {"example_weights": [0.1, 0.5], "batch_size": 4, "verbose": 0}
    # Keras' test function, which keeps that of the first sweep for the second.
    model.evaluate(x, y, batch_size=4, verbose=0)
    rows = keras_bn4.sweep_example_weight(model, x, y, **options).rows
    with strategy.scope():
        rows_in_scope = keras_bn4.sweep_example_weight(model, x, y, **options).rows
    for row, row_in_scope in zip(rows, rows_in_scope):
        keras_bn4.set_example_weight(model, row["example_weight"])
        predictions = tf.constant(model.predict(x, verbose=0))
        losses = keras.losses.sparse_categorical_crossentropy(
            y, predictions, from_logits=True
        )
        np.testing.assert_allclose(row["loss"], np.mean(losses), rtol=1e-5)
        assert row.pop("schedule") == row_in_scope.pop("schedule") == "uniform"
        for name, value in row.items():
            np.testing.assert_allclose(row_in_scope[name], value, rtol=1e-5, atol=1e-7)
    assert rows[0]["loss"] != rows[2]["loss"]


def convert(strategy, replicas):
    """Conversion, in and outside the scope, of a model that Keras' layer has split."""
    x, y = examples(8)
    options = {"batch_size": 4, "verbose": 0}
    for inside, in_place in itertools.product([False, True], repeat=2):
        model = compiled_network(strategy, keras.layers.BatchNormalization)
        model.fit(x, y, **options)
        held = moving(model.layers[1], strategy)
        assert (held[0] != held[1]).any()
        with strategy.scope() if inside else contextlib.nullcontext():
            converted = keras_bn4.convert(
                model,
                ghost_batch_size=2,
                in_place=in_place,
                synchronized=inside != in_place,
            )
        distributed = inside or in_place
        assert (converted.distribute_strategy is strategy) == distributed
        for _ in range(2):
            held_now = moving(converted.layers[1], strategy)
            assert len(held_now) == (replicas if distributed else 1)
            assert (held_now == held_now[0]).all()
            before = converted.predict(x, verbose=0)
            plain = keras_bn4.revert(converted)
            assert relative(plain.predict(x, verbose=0), before) < 1e-6
            converted.fit(x, y, **options)
        assert (moving(converted.layers[1], strategy)[0] != held[0]).any()


def collectives(strategy, replicas):
    """What a layer sends is what the table in `tensorflow_replicas.py` says."""
    c, n = CHANNELS, 3 * replicas
    x = np.random.default_rng(0).normal(0, 1, (n, 2, c)).astype("float32")
    parts = [np.split(array, replicas) for array in (x, np.ones_like(x))]
    for arguments in (
        {"ghost_batch_size": None},
        {"ghost_batch_size": 2},
        {"ghost_batch_size": 2, "synchronized": True},
        {"ghost_batch_size": 5, "synchronized": True},
        {"ghost_batch_size": None, "synchronized": True},
        {"groups": 2, "synchronized": True},
    ):
        with strategy.scope():
            layer = randomized(layer_of(**arguments), x.shape[1:])
        size = arguments.get("ghost_batch_size")
        if not arguments.get("synchronized"):
            forward, backward = [2 * c + 1], []
        elif size is None:
            forward, backward = [c + 1, 2 * c], [2 * c]
        else:
            k = max(1, n // size)
            forward = [c + 1 + replicas, (k + replicas - 1) * (2 * c + 2)]
            backward = [2 * k * c]

        @tf.function
        def step(*arguments, layer=layer):
            strategy.run(lambda *a: train(layer, *a), args=arguments)
            sent = collections.defaultdict(list)
            for operation in tf.compat.v1.get_default_graph().get_operations():
                if operation.type.startswith("Collective"):
                    assert operation.type == "CollectiveReduceV2", operation.type
                    sent[operation.device].append(tf.size(operation.inputs[0]))
            return dict(sent)

        sent = step(*(per_replica(strategy, part) for part in parts))
        assert len(sent) == replicas
        for sizes in sent.values():
            assert list(map(int, sizes)) == forward + backward, (arguments, sizes)


if __name__ == "__main__":
    case, replicas = sys.argv[1], int(sys.argv[2])
    globals()[case](mirrored(replicas), replicas)

"""What `test_replicas.py` runs, each case in a process of its own.

    python on_replicas.py CASE REPLICAS

TensorFlow can't change its devices once it has started, and two strategies in one
process can wait for each other forever.
"""

import itertools
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization, fused

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


def relative(actual, expected, scale=None):
    scale = np.abs(expected).max() if scale is None else scale
    return np.abs(actual - expected).max() / scale if expected.size else 0.0


def layer_of(groups=None, **arguments):
    arguments = {"momentum": 0.9, **arguments}
    if groups is None:
        return GhostBatchNormalization(**arguments)
    return BatchGroupNormalization(groups=groups, **arguments)


def randomized(layer, shape, mean=0.0, seed=0):
    rng = np.random.default_rng(seed)
    layer.build((None, *shape))
    gamma, variance = rng.uniform(0.5, 1.5, (2, CHANNELS))
    beta, moving_mean = rng.normal(0, 1, (2, CHANNELS))
    layer.set_weights([gamma, beta, moving_mean + mean, variance])
    return layer


def train(layer, x, upstream, mask=None):
    """One step: outputs, gradients to inputs, gamma and beta."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True, mask=mask)
        loss = tf.reduce_sum(tf.cast(y, upstream.dtype) * upstream)
    return y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])


def train_on_replicas(strategy, layer, parts, compiled=False):
    """The same, with `parts` a list per argument, joined to the global batch."""

    def step(*arguments):
        return strategy.run(lambda *a: train(layer, *a), args=arguments)

    if compiled:
        step = tf.function(step)
    results = step(*(per_replica(strategy, part) for part in parts))
    y, dx, dgamma, dbeta = (values(strategy, result) for result in results)
    return np.concatenate(y), np.concatenate(dx), sum(dgamma), sum(dbeta)


def moving(layer, strategy):
    """The moving statistics as each replica holds them: `(replicas, 2, C)`."""
    both = [
        values(strategy, variable.value)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    return np.stack(both, 1)


def cut(array, sizes):
    return np.split(array, np.cumsum(sizes)[:-1])


def check_synchronized(
    strategy, sizes, shape, mean, std, masked, compiled, **arguments
):
    rng = np.random.default_rng(sum(sizes))
    axis = arguments.get("axis", -1) % (len(shape) + 1)
    x = rng.normal(mean, std, (sum(sizes), *shape)).astype("float32")
    upstream = rng.normal(0, 1, x.shape).astype("float32")
    batch = [x, upstream]
    if masked:
        mask = rng.uniform(0, 1, np.delete(x.shape, axis)) < 0.6
        mask[0] = False
        batch.append(mask)
    single = randomized(layer_of(**arguments), shape, mean)
    expected = [r.numpy() for r in train(single, *map(tf.constant, batch))]
    with strategy.scope():
        layer = randomized(layer_of(**arguments, synchronized=True), shape, mean)
    parts = [cut(array, sizes) for array in batch]
    actual = train_on_replicas(strategy, layer, parts, compiled)
    errors = [relative(a, e) for a, e in zip(actual, expected)]
    held = moving(layer, strategy)
    assert (held == held[0]).all(), held
    for i, variable in enumerate((single.moving_mean, single.moving_variance)):
        errors.append(relative(held[0, i], variable.numpy()))
    return errors


def synchronized(replicas):
    strategy = mirrored(replicas)
    even = {1: [12], 2: [6, 6], 4: [3, 3, 3, 3]}[replicas]
    uneven = {1: [9], 2: [1, 0], 4: [3, 3, 3, 0]}[replicas]
    ragged = {1: [1], 2: [2, 7], 4: [0, 5, 1, 3]}[replicas]
    worst = 0
    for sizes, size, options in itertools.product(
        [even, uneven, ragged],
        [None, 1, 2, sum(even) // replicas, 5, 100],
        [{}, {"groups": 2}, {"masked": True}, {"axis": 1}, {"mean": 1e3}],
    ):
        if size in (1, 100) and options.get("groups") is None and sizes is even:
            continue
        o = {"mean": 0.0, "std": 1.0, "masked": False, "compiled": False, **options}
        shape = (CHANNELS, 3, 2) if "axis" in options else (3, 2, CHANNELS)
        if o["mean"]:
            o["std"] = 0.1
            # Not by the fused kernel.
            o["axis"], shape = 1, (CHANNELS, 3, 2)
        errors = check_synchronized(strategy, sizes, shape, ghost_batch_size=size, **o)
        print(sizes, size, options, ["%.1e" % e for e in errors])
        worst = max(worst, *errors)
    print("worst", worst)


if __name__ == "__main__":
    case, replicas = sys.argv[1:]
    globals()[case](int(replicas))

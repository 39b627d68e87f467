"""Training on several replicas: what the moving statistics are worth afterwards.

Question: does a network come out of `tf.distribute.MirroredStrategy` as it would from
one device, whatever the number of replicas, and does it survive an epoch's last, short
batch? The same four layers, side by side: Keras' and ours, by replica and synchronized.

Setting: scikit-learn's digits, two convolutions, SGD, 20 minibatches of 32 in a custom
training loop that divides the loss by the size of the whole minibatch, then a last one
of a single image, which leaves all replicas but one without any. Replicas are logical
CPU devices, and each number of them has a process of its own.

Columns, relative to the largest value: `replicas differ`, the largest difference of
moving statistics between one replica and another; `from one device`, of those of the
first replica to those of the same layer trained on one device; `save, load`, of the
predictions of the model to those of what is loaded outside the strategy from its file;
`last batch`, whether all weights are finite after it.

Expected: ours differ nowhere; synchronized, the number of replicas makes no difference
beyond rounding; by replica it makes that of smaller batches.

Seen: that. Keras' layer holds other moving statistics on every replica, so that a saved
model predicts otherwise than the one in memory, and is not a number after the last
batch. Its synchronized form is right, but for masks and for a large mean.

    python -m keras_bn4.experiments.distributed

Time: about a minute.
"""

import argparse
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_bn4.common import tables
from keras_bn4.datasets import load
from keras_bn4.experiments import networks
from keras_bn4.layers import GhostBatchNormalization

BATCH_SIZE = 32
STEPS = 20
LAYERS = {
    "Keras": (keras.layers.BatchNormalization, {}),
    "Keras, synchronized": (keras.layers.BatchNormalization, {"synchronized": True}),
    "ghosts of 8": (GhostBatchNormalization, {"ghost_batch_size": 8}),
    "ghosts of 8, synchronized": (
        GhostBatchNormalization,
        {"ghost_batch_size": 8, "synchronized": True},
    ),
}
# On CPUs, oneDNN's convolution gives an empty batch the wrong number of channels.
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}


def build(normalization, **arguments):
    """The network, always with the same initial weights.

    Args:
        normalization: Class of normalization layers.
        **arguments: Their arguments.
    """
    keras.utils.set_random_seed(0)
    make = functools.partial(normalization, momentum=0.9, **arguments)
    return networks.convolutional((8, 16), (2, 2), make)


def train(strategy, model, dataset):
    """Trains a model, made in the strategy's scope, for one pass over the data.

    The gradient is the one device's: replicas sum their losses, divided by the size of
    the whole minibatch, where Keras' `fit` averages the means of replicas.

    Args:
        strategy: A `tf.distribute.Strategy`.
        model: A `keras.Model` that gives logits.
        dataset: A `tf.data.Dataset` of whole minibatches `(x, y)`.
    """
    import tensorflow as tf

    with strategy.scope():
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(model.trainable_variables)

    def step_on_replica(x, y):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(
                y, model(x, training=True), from_logits=True
            )
            loss = tf.reduce_sum(losses) / BATCH_SIZE
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    @tf.function
    def step(x, y):
        strategy.run(step_on_replica, args=(x, y))

    for x, y in strategy.experimental_distribute_dataset(dataset):
        step(x, y)


def batches(steps):
    """A data set of so many minibatches, or of a single image for 0."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(load("digits", "train"))
    return data.repeat().take(steps * BATCH_SIZE or 1).batch(BATCH_SIZE)


def moving_statistics(strategy, model):
    """What every replica of this process holds: an array for each."""
    variables = [
        variable
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    held = [strategy.experimental_local_results(v.value) for v in variables]
    return [np.concatenate([v.numpy() for v in values]) for values in zip(*held)]


def difference(actual, expected):
    """The largest difference, relative to the largest value; NaN if either has one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def study(replicas):
    """Trains all layers on so many replicas: the work of one process.

    Returns:
        Dict by layer of dicts: `moving`, the moving statistics of every replica;
        `reloaded`, the difference of predictions; `finite`, a boolean.
    """
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * replicas,
    )
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    images, _ = load("digits", "test")
    results = {}
    for name, (normalization, arguments) in LAYERS.items():
        with strategy.scope():
            model = build(normalization, **arguments)
        train(strategy, model, batches(STEPS))
        moving = moving_statistics(strategy, model)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.keras"
            model.save(path)
            loaded = keras.models.load_model(path)
        before, after = (m.predict(images, verbose=0) for m in (model, loaded))
        train(strategy, model, batches(0))
        results[name] = {
            "moving": [held.tolist() for held in moving],
            "reloaded": difference(after, before),
            "finite": all(np.isfinite(w).all() for w in model.get_weights()),
        }
    return results


def run(replica_counts=(1, 2, 4), timeout=300):
    """Runs `study` for each number of replicas, in a process of its own.

    Args:
        replica_counts: Positive integers, 1 among them to compare with.
        timeout: Seconds that a process may take.

    Returns:
        List of dicts, one a row of the table.
    """
    command = [sys.executable, "-m", "keras_bn4.experiments.distributed"]
    studies = {}
    progress = keras.utils.Progbar(len(replica_counts), unit_name="process")
    for replicas in replica_counts:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            subprocess.run(
                [*command, "--replicas", str(replicas), "--output", str(path)],
                check=True,
                timeout=timeout,
                env={**os.environ, **ENVIRONMENT},
            )
            studies[replicas] = json.loads(path.read_text())
        progress.add(1)
    rows = []
    for name in LAYERS:
        single = studies[1][name]["moving"][0]
        for replicas, results in studies.items():
            moving = results[name]["moving"]
            rows.append(
                {
                    "layer": name,
                    "replicas": replicas,
                    "replicas_differ": max(difference(m, moving[0]) for m in moving),
                    "from_one_device": difference(moving[0], single),
                    "reloaded": results[name]["reloaded"],
                    "finite": results[name]["finite"],
                }
            )
    return rows


def table(rows):
    """The results as a Markdown table."""
    header = ["layer", "replicas", "replicas differ", "from one device"]
    header += ["save, load", "last batch"]
    lines = []
    for row in rows:
        line = [row["layer"], str(row["replicas"])]
        for name in ("replicas_differ", "from_one_device", "reloaded"):
            line.append(f"{row[name]:.1g}")
        lines.append([*line, "finite" if row["finite"] else "NaN"])
    return tables.markdown(header, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, help="only these; needs --output")
    parser.add_argument("--output", type=pathlib.Path, help="file for the results")
    arguments = parser.parse_args()
    if arguments.replicas is None:
        print(table(run()))
    else:
        arguments.output.write_text(json.dumps(study(arguments.replicas)))

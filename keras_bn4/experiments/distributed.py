"""Training on several replicas, and the moving statistics that result from it.

Question: Does training under `tf.distribute.MirroredStrategy` give the same network as
training on one device, whatever the number of replicas, and does the network survive
the short last batch of an epoch? Keras' layer and `GhostBatchNormalization` are
compared, each normalizing within its replica and synchronized between replicas.

Setting: A network of two convolutions learns scikit-learn's digits by SGD. A custom
training loop, which divides the loss by the size of the whole minibatch, trains on 20
minibatches of 32 images and then on one of a single image, which leaves all replicas
but one without any. Replicas are logical CPU devices, and a process of its own is
started for each number of them.

Columns: All differences are the largest ones, relative to the largest value. `replicas
differ` compares the moving statistics of the replicas with each other. `from one
device` compares those of the first replica with those of the same layer trained on one
device. `save, load` compares the predictions of the model with those of the same model
saved and loaded outside the strategy. `last batch` says whether all weights are finite
after the last batch.

Expected: The replicas of `GhostBatchNormalization` do not differ. If it is
synchronized, the number of replicas makes no difference beyond rounding; otherwise, it
has the effect of smaller batches.

Seen: This is what happens. Keras' layer has different moving statistics on every
replica, so a saved model predicts differently from the one in memory, and its weights
are NaN after the last batch. If it is synchronized, Keras' layer is right, except for
masks and for a large mean.

    python -m keras_bn4.experiments.distributed

Time: about a minute.
"""

import contextlib
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
from keras_bn4.common.models import BatchNormalization
from keras_bn4.common.tables import progress_bar
from keras_bn4.datasets import load
from keras_bn4.demo import networks
from keras_bn4.experiments import command
from keras_bn4.layers import GhostBatchNormalization

MODULE = "keras_bn4.experiments.distributed"
BATCH_SIZE = 32
STEPS = 20
LAYERS = {
    "Keras": (BatchNormalization, {}),
    "Keras, synchronized": (BatchNormalization, {"synchronized": True}),
    "ghosts of 8": (GhostBatchNormalization, {"ghost_batch_size": 8}),
    "ghosts of 8, synchronized": (
        GhostBatchNormalization,
        {"ghost_batch_size": 8, "synchronized": True},
    ),
}
# On CPUs, oneDNN's convolution gives an empty batch the wrong number of channels.
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}


def build(normalization, **arguments):
    """Builds the network with such layers, always with the same initial weights."""
    keras.utils.set_random_seed(0)
    make = functools.partial(normalization, momentum=0.9, **arguments)
    return networks.convolutional((8, 16), (2, 2), make)


def train(strategy, model, dataset):
    """Trains a model, made in the strategy's scope, for one pass over minibatches.

    The gradient is that of one device, because replicas sum their losses and divide the
    sum by the size of the whole minibatch. Keras' `fit` averages the means of replicas.
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
    """Makes a data set of `steps` minibatches, or of a single image if 0."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(load("digits", "train"))
    return data.repeat().take(steps * BATCH_SIZE or 1).batch(BATCH_SIZE)


def moving_statistics(strategy, model):
    """Lists the moving statistics of this process, an array for each replica."""
    variables = [
        variable
        for layer in model.layers
        if isinstance(layer, BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    held = [strategy.experimental_local_results(v.value) for v in variables]
    return [np.concatenate([v.numpy() for v in values]) for values in zip(*held)]


def difference(actual, expected):
    """The largest difference, relative to the largest value, or NaN if there is one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def study(replicas):
    """Trains with all `LAYERS` on a number of replicas, as the work of one process."""
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


def in_processes(module, processes, timeout):
    """Runs processes of a module at the same time, each of which writes a JSON file.

    Args:
        module: String, the name of the module.
        processes: List of pairs for each process: its options, a list of strings, and
            its additional environment variables, a dict.
        timeout: Seconds that each process may take.

    Returns:
        List of what the files hold.

    Raises:
        RuntimeError: if a process fails or takes longer.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        paths = [pathlib.Path(folder, f"{i}.json") for i in range(len(processes))]
        started = []
        for (options, variables), path in zip(processes, paths):
            line = [sys.executable, "-m", module, *options, "--output", str(path)]
            environment = {**os.environ, **ENVIRONMENT, **variables}
            started.append(subprocess.Popen(line, env=environment))
            stack.callback(started[-1].kill)
        for process in started:
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(
                    f"A process took longer than {timeout} s. Run the command again "
                    "when the machine is less busy."
                ) from error
            if status:
                raise RuntimeError(
                    f"A process failed with exit status {status}. Its error is printed "
                    "above."
                )
        return [json.loads(path.read_text()) for path in paths]


def run(replica_counts=(1, 2, 4), timeout=300):
    """Runs `study` for each number of replicas, in a process of its own.

    Args:
        replica_counts: Positive integers, 1 among them.
        timeout: Seconds that a process may take.

    Returns:
        List of dicts, one for each row of the table.
    """
    studies = {}
    progress = progress_bar(len(replica_counts), unit_name="process")
    for replicas in replica_counts:
        process = ["--replicas", str(replicas)], {}
        (studies[replicas],) = in_processes(MODULE, [process], timeout)
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
    header = ["layer", "replicas", "replicas differ", "from one device"]
    header += ["save, load", "last batch"]
    lines = []
    for row in rows:
        line = [row["layer"], str(row["replicas"])]
        for name in ("replicas_differ", "from_one_device", "reloaded"):
            line.append(f"{row[name]:.1g}")
        lines.append([*line, "finite" if row["finite"] else "NaN"])
    return tables.markdown(header, lines)


def main(arguments=None):
    """Runs the experiment, or the study of one process."""
    options = {
        "--replicas": {"type": int, "help": "run only this number; needs --output"},
        "--output": {"help": "file for the results of this number"},
    }
    return command.main(MODULE, __doc__.splitlines()[0], show, options, arguments)


def show(replicas, output):
    if replicas is None:
        print(table(run()))
    else:
        pathlib.Path(output).write_text(json.dumps(study(replicas)))


if __name__ == "__main__":
    sys.exit(main())

"""A search in a process of its own, for `test_tuner.py`.

    python on_tuner.py FOLDER TUNER KILLED_IN_TRIAL STRATEGY

Prints, as JSON, which trials it trained and what they found. In the trial with the
number `KILLED_IN_TRIAL` (none for -1) the process kills itself after an epoch.
"""

import json
import os
import signal
import sys

import keras
import keras_tuner
import numpy as np
from keras import layers

import keras_bn4

MAX_TRIALS = 6
TRAINED = []


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 6)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
    return (x[:32], y[:32]), (x[32:], y[32:])


def build(hp):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    x = layers.Dense(hp.Choice("units", [4, 8]), use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def tuner(folder, name, strategy=None):
    hypermodel = keras_bn4.HyperBatchNormalization(
        build, batch_size=16, decay=None, example_weights=(0.1, 0.4)
    )
    arguments = {"max_trials": MAX_TRIALS}
    if name == "Hyperband":
        arguments = {"max_epochs": 4, "factor": 2}
    return getattr(keras_tuner, name)(
        hypermodel,
        "val_loss",
        seed=3,
        directory=folder,
        project_name=name,
        distribution_strategy=strategy,
        **arguments,
    )


class Trace(keras.callbacks.Callback):
    """Notes which trials are trained, and kills the process in one of them."""

    killed_in = -1

    def on_train_begin(self, logs=None):
        TRAINED.append(self.params["epochs"])

    def on_epoch_end(self, epoch, logs=None):
        if len(TRAINED) == Trace.killed_in + 1:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder, name, killed_in, strategy):
    Trace.killed_in = int(killed_in)
    if strategy == "mirrored":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = None
    search = tuner(folder, name, strategy)
    train, validation = data()
    search.search(
        *train,
        validation_data=validation,
        epochs=2,
        verbose=0,
        callbacks=[Trace()],
    )
    found = keras_bn4.tuner.results(search)
    best = keras_bn4.tuner.best_model(search)
    loss = best.evaluate(*validation, batch_size=16, verbose=0)
    print(json.dumps({"trained": len(TRAINED), "rows": found.rows, "loss": loss}))


if __name__ == "__main__":
    main(*sys.argv[1:])

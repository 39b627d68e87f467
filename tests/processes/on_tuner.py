"""A search for the tests of the tuner, in their process or in one of its own.

    python on_tuner.py FOLDER TUNER KILLED_IN_TRIAL STRATEGY

Prints what `search` returns, as JSON. In the trial `KILLED_IN_TRIAL` (none for -1) the
process kills itself after an epoch.
"""

import functools
import gc
import json
import os
import signal
import sys

import keras
import keras_tuner
import numpy as np
from keras import layers

import keras_bn4

MAX_TRIALS = 4
TENSORFLOW = keras.backend.backend() == "tensorflow"


def data():
    """Pairs `(x, y)` to train on and to validate on, of two classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 6)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
    return (x[:32], y[:32]), (x[32:], y[32:])


def build(hp, traced):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    x = layers.Dense(hp.Choice("units", [4, 8]), use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    # TensorFlow needs longer to trace the functions of a model than to train it.
    model.compile("sgd", loss, run_eagerly=TENSORFLOW and not traced)
    return model


def tuner(folder, name, strategy):
    hypermodel = keras_bn4.HyperBatchNormalization(
        functools.partial(build, traced=strategy is not None),
        batch_size=16,
        decay=None,
        example_weights=(0.1, 0.4),
    )
    arguments = {"max_trials": MAX_TRIALS}
    if name == "Hyperband":
        arguments = {"max_epochs": 3, "factor": 3}
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
    """Counts the trials that are trained, and kills the process in one of them."""

    def __init__(self, killed_in_trial):
        super().__init__()
        self.killed_in_trial = killed_in_trial
        self.trained = 0

    def __deepcopy__(self, memo):
        # Keras Tuner copies callbacks for every trial, and this one counts trials.
        return self

    def on_train_begin(self, logs=None):
        self.trained += 1

    def on_epoch_end(self, epoch, logs=None):
        if self.trained == self.killed_in_trial + 1:
            os.kill(os.getpid(), signal.SIGKILL)


def search(folder, name, killed_in_trial=-1, strategy=None):
    """Searches, or resumes a search, with the tuner of a name.

    Returns how many trials were trained, all rows, and the loss of the best model.
    """
    trace = Trace(killed_in_trial)
    train, validation = data()
    searching = tuner(folder, name, strategy)
    searching.search(
        *train,
        validation_data=validation,
        epochs=2,
        verbose=0,
        callbacks=[trace],
    )
    found = keras_bn4.tuner.results(searching)
    best = keras_bn4.tuner.best_model(searching)
    loss = best.evaluate(*validation, batch_size=16, verbose=0)
    return {"trained": trace.trained, "rows": found.rows, "loss": loss}


def mirrored():
    """A strategy of two replicas on this machine's processor."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def main(folder, name, killed_in, strategy):
    # Keras Tuner collects garbage in every trial; what is imported never is any.
    gc.freeze()
    strategy = mirrored() if strategy == "mirrored" else None
    print(json.dumps(search(folder, name, int(killed_in), strategy=strategy)))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What `layers/test_jax_devices.py` runs: one training, on any number of devices.

    python on_jax_devices.py OUTPUT.npz [ADDRESSES PROCESS]

The devices are those that `XLA_FLAGS` makes, or of as many processes as there are
addresses; every process gives its own part of each batch.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization

BATCH_SIZE = 12


def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            GhostBatchNormalization(ghost_batch_size=5, momentum=0.9),
            keras.layers.ReLU(),
            BatchGroupNormalization(2, momentum=0.9, example_weight=0.1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def main(output, addresses="", process="0"):
    processes = len(addresses.split(",")) if addresses else 1
    if addresses:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize(addresses, processes, int(process))
    if jax.device_count() > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (5 * BATCH_SIZE, 6, 6, 3)).astype("float32")
    y = rng.integers(0, 2, len(x))
    own = np.split(np.arange(len(x)).reshape(-1, BATCH_SIZE), processes, axis=1)
    own = own[int(process)]
    model = build()
    losses = model.fit(
        ((x[indices], y[indices]) for indices in own),
        steps_per_epoch=len(own),
        verbose=0,
    ).history["loss"]
    predictions = []
    if processes == 1:
        predictions = model.predict(x, batch_size=BATCH_SIZE, verbose=0)
    np.savez(
        output,
        *map(np.asarray, model.get_weights()),
        devices=jax.device_count(),
        losses=losses,
        predictions=predictions,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

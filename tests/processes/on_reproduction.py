"""Works on some small trainings, with determinism, in the folder that is given.

on_reproduction.py FOLDER
"""

import sys

import keras

from keras_bn4.experiments.reproduction import runs, training
from keras_bn4.experiments.reproduction.settings import Settings

TINY = Settings(
    dataset="digits",
    train_images=100,
    validation_images=50,
    filters=(4, 8),
    epochs=6,
    batch_size=16,
    example_weights=(0.0, 0.5),
)
SOURCE = TINY.replace(classes="first half", train_images=50, validation_images=25)
TRAININGS = [
    TINY.replace(ghost_batch_size=4),
    SOURCE.replace(classes="second half", source=SOURCE),
]

if __name__ == "__main__":
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    # So that there is something to go on with whenever the process is killed.
    training.SECONDS_BETWEEN_FILES = 0
    training.STEPS = 4
    runs.work(TRAININGS, sys.argv[1], verbose=0)

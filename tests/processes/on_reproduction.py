"""Some small trainings, with determinism, in each of the folders that are given.

on_reproduction.py FOLDER ...
"""

import sys

import keras

from keras_bn4.experiments.reproduction import runs, training
from keras_bn4.experiments.reproduction.settings import Settings

TINY = Settings(
    dataset="digits",
    train_images=40,
    validation_images=20,
    filters=(4,),
    epochs=3,
    batch_size=16,
    example_weights=(0.0, 0.5),
)
SOURCE = TINY.replace(classes="first half", train_images=30, epochs=40)
TRANSFER = SOURCE.replace(classes="second half", epochs=3, source=SOURCE)

if __name__ == "__main__":
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    # So that there is something to go on with whenever the process is killed.
    training.SECONDS_BETWEEN_FILES = 0
    training.STEPS = 1
    for folder in sys.argv[1:]:
        runs.work([TRANSFER], folder, verbose=0)

"""Trained networks, the data to measure them on, and intervals of means over these."""

import hashlib
import pathlib

import keras
import numpy as np

from keras_bn4 import datasets
from keras_bn4.datasets.array_files import is_file, load_arrays


def load_network(path):
    """Loads a classifier of integer labels, and compiles it for loss and accuracy.

    Args:
        path: Path of a `.keras` file.
    """
    model = keras.models.load_model(path)
    model.compile(
        loss=model.loss or "sparse_categorical_crossentropy",
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model


def load_halves(dataset, *, split="test", data_dir=None, seed=0):
    """Loads a data set as two halves, cut at random and always in the same way.

    Args:
        dataset: A name as `keras_bn4.datasets.load` takes it, or the path of an `.npz`
            file with arrays x and y.
        split: String, the split to cut; of a file the whole is cut.
        data_dir: The folder of tensorflow-datasets.
        seed: Integer, the seed of the cut.

    Returns:
        Two pairs `(x, y)`: to choose on, and to report on.
    """
    if is_file(str(dataset)):
        x, y = load_arrays(str(dataset))
    else:
        x, y = datasets.load(dataset, split, data_dir=data_dir)
    return halves(x, y, seed)


def halves(x, y, seed=0):
    """Cuts arrays into two random halves, in the same way for all of one length.

    Returns:
        Two pairs `(x, y)`.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    first, second = np.array_split(order, 2)
    return (x[first], y[first]), (x[second], y[second])


def identity(source):
    """What tells a network or a data set from all others, in the settings of a result.

    Args:
        source: Path of a file, or the name of a data set.

    Returns:
        String: of a file, its name without folder and a digest of what it holds.
    """
    path = pathlib.Path(source)
    if not path.is_file():
        return str(source)
    return f"{path.stem} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def half_width(values):
    """Half the width of the 95 % interval of the mean of many values, an array."""
    return 1.959964 * values.std(ddof=1) / np.sqrt(len(values))

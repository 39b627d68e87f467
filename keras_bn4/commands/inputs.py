"""Reads the models and data that commands are given."""

import pathlib
import warnings
import zipfile

import keras
import numpy as np

from keras_bn4 import datasets


def load_model(path):
    """Loads a saved Keras model.

    Raises:
        ValueError: if it can't be loaded, with what is wrong with the file.
    """
    try:
        with warnings.catch_warnings():
            # An optimizer that has not trained yet has no state to load, and no command
            # uses the optimizer.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            return keras.models.load_model(path)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200]
        if not pathlib.Path(path).is_file():
            reason = "there is no such file"
        elif path.endswith(".keras") and not zipfile.is_zipfile(path):
            reason = "it is truncated, or no Keras model at all"
        raise ValueError(
            f"Can't load {path}: {reason}. Expected a file that `model.save` wrote, "
            "with all its custom classes registered."
        ) from error


def load_data(name, split, *, data_dir=None, download=False):
    """Loads arrays x and y from an `.npz` file, or by name with `datasets.load`."""
    if not name.endswith(".npz"):
        return datasets.load(name, split, data_dir=data_dir, download=download)
    try:
        # `np.load` of a path leaves a broken file open.
        with open(name, "rb") as raw, np.load(raw) as file:
            arrays = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"Can't read {name}: {error}.") from error
    if not {"x", "y"} <= set(arrays):
        raise ValueError(
            f"{name} must hold arrays 'x' and 'y', as "
            f"`numpy.savez(path, x=x, y=y)` writes them. It holds {sorted(arrays)}."
        )
    return arrays["x"], arrays["y"]


def compile_as_classifier(model, x):
    """Compiles a model as a classifier of integer labels, and prints that it did.

    Args:
        model: A built `keras.Model`.
        x: Array of examples. The predictions for them show whether the model returns
            logits or probabilities.
    """
    predictions = model.predict(x[:32], verbose=0)
    sums = np.sum(predictions, axis=-1)
    logits = bool((predictions < 0).any() or not np.allclose(sums, 1, atol=1e-2))
    print(
        "The model isn't compiled. It is evaluated as a classifier of "
        f"{'logits' if logits else 'probabilities'} with integer labels."
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile(loss=loss, metrics=["accuracy"])

"""Models that commands are given, and options that several commands have."""

import pathlib
import zipfile

import keras
import numpy as np

from keras_bn4.common.errors import reason_of
from keras_bn4.common.models import new_optimizers_allowed
from keras_bn4.example_weight import EXAMPLE_WEIGHTS
from keras_bn4.example_weight.schedules import SCHEDULES

# The first bytes of such a file.
HDF5 = b"\x89HDF\r\n\x1a\n"


def add_data_dir(parser):
    """Adds the option for the folder of data sets to the parser of a command."""
    parser.add_argument(
        "--data-dir",
        help="folder of tensorflow-datasets (default: TFDS_DATA_DIR of the "
        "environment, or else ~/tensorflow_datasets)",
    )


def add_output_dir(parser, default):
    """Adds the option for the folder of results to the parser of a command."""
    parser.add_argument(
        "--output-dir",
        default=default,
        help="folder for the results (default: %(default)s)",
    )


def add_example_weights(parser):
    """Adds the options for the weights of a sweep to the parser of a command."""
    parser.add_argument(
        "--example-weights",
        type=float,
        nargs="+",
        default=EXAMPLE_WEIGHTS,
        help="weights to choose from, from 0 to 1 (default: "
        f"{' '.join(f'{weight:g}' for weight in EXAMPLE_WEIGHTS)})",
    )
    parser.add_argument(
        "--schedule",
        nargs="+",
        choices=tuple(SCHEDULES),
        default=["uniform"],
        help="how a weight is spread over the layers, one or several to compare "
        "(default: uniform)",
    )


def load_model(path):
    """Loads a saved Keras model.

    Raises:
        ValueError: if it cannot be loaded, with the reason.
    """
    try:
        with new_optimizers_allowed():
            return keras.models.load_model(path)
    except Exception as error:
        reason = _wrong_with(pathlib.Path(path)) or reason_of(error)
        raise ValueError(
            f"Cannot load {path}: {reason}. Expected a file that `model.save` wrote, "
            "with all its custom classes registered."
        ) from error


def _wrong_with(path):
    """The reason why a path holds no model, or `None` if it is unknown."""
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return (
                "it is a SavedModel, a folder with what a model computes, without its "
                "layers: save the model as a .keras file where it was made"
            )
        has_model = (path / "config.json").exists()
        return None if has_model else "it is a folder without a model"
    if zipfile.is_zipfile(path):
        is_named = path.suffix == ".keras"
        return None if is_named else "it is a zip archive: let its name end in .keras"
    with open(path, "rb") as file:
        is_hdf5 = file.read(len(HDF5)) == HDF5
    if is_hdf5:
        is_named = path.suffix in (".h5", ".hdf5")
        return None if is_named else "it is an HDF5 file: let its name end in .h5"
    return "it is truncated, or no Keras model at all"


def check_folder(path):
    """Raises `ValueError` unless results can be written to a folder of this path."""
    if not path or (pathlib.Path(path).exists() and not pathlib.Path(path).is_dir()):
        raise ValueError(
            f"--output-dir must be a folder, or the path of a new one. Received: "
            f"{path!r}."
        )


def check_fit(model, x, y):
    """Calls a model on two examples to see whether it is a classifier of such data.

    Args:
        model: A built `keras.Model`.
        x: Array of examples.
        y: Array of labels.

    Raises:
        ValueError: if the model doesn't take the examples, has several outputs, or
            fewer outputs than there are classes.
    """
    try:
        predictions = model.predict(x[:2], verbose=0)
    except Exception as error:
        raise ValueError(
            f"The model cannot be called on these examples, of shape {x.shape[1:]}: "
            f"{reason_of(error)}. Give data of the shape that the model takes."
        ) from error
    outputs = keras.tree.flatten(predictions)
    if len(outputs) > 1:
        raise ValueError(
            f"The model has {len(outputs)} outputs, and this command is for "
            "classifiers with one. Use `keras_bn4.sweep_example_weight` in Python."
        )
    classes = outputs[0].shape[-1]
    is_by_class = outputs[0].ndim > 1 and classes > 1
    if not is_by_class or (y.ndim >= outputs[0].ndim and y.shape[-1] == classes):
        return  # A regression, or labels that are one-hot.
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"The labels reach from {y.min():g} to {y.max():g}, and the model has "
            f"{classes} outputs, for labels from 0 to {classes - 1}. Give the data set "
            "that the model was trained for."
        )


def check_classes(model, classes):
    """Raises `ValueError` unless a model has an output for each of the classes."""
    outputs = (getattr(model, "output_shape", None) or (None,))[-1]
    if outputs not in (None, 1, len(classes)):
        raise ValueError(
            f"There are {len(classes)} classes, and the model has {outputs} outputs. "
            "Name the class of each output in a file, one in a line, in their order, "
            "and give it by --classes."
        )


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
        "The model is not compiled. It is evaluated as a classifier of "
        f"{'logits' if logits else 'probabilities'} with integer labels."
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile(loss=loss, metrics=["accuracy"])

"""Data sets that commands are given: by name, in an `.npz` file, or in a folder."""

import dataclasses
import os
from typing import Any

import keras
import numpy as np

from keras_bn4 import datasets
from keras_bn4.commands.inputs import add_data_dir, check_classes, check_fit
from keras_bn4.common.arguments import check_integer
from keras_bn4.datasets.array_files import is_file, load_arrays
from keras_bn4.datasets.builders import find_builder
from keras_bn4.datasets.folders import RAW, ImageFolder, scaling
from keras_bn4.example_weight.untrained import loss_name

ANY_SIZE = (
    "The model takes images of any size. Say to which one they are resized: "
    "--image-size N."
)


def add_data_options(parser):
    """Adds the options that name data and say how to read them to a parser."""
    parser.add_argument(
        "--dataset",
        required=True,
        help="'digits', a folder with a folder of images for each class, an .npz file "
        "with x and y, or a name of tensorflow-datasets",
    )
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="for a folder: a file with the name of a class in each line, whose first "
        "word counts, in the order of the model's outputs (default: the names of the "
        "folders, sorted)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="resize images to N x N pixels (default: what the model takes)",
    )
    parser.add_argument(
        "--scale",
        default=RAW,
        help="values that the model takes: 0-1, -1-1 (written --scale=-1-1), or a "
        "module of keras.applications, such as resnet50, for its preprocess_input "
        "(default: %(default)s, as they are)",
    )
    add_data_dir(parser)
    parser.add_argument(
        "--split",
        help="split to choose on, such as 'test[:50%%]' (default: validation, or else "
        "one half of test, and the gain is measured on the other half)",
    )
    parser.add_argument(
        "--download", action="store_true", help="download the data set if necessary"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=128,
        help="batch size to evaluate with (default: %(default)s)",
    )


@dataclasses.dataclass(frozen=True)
class Data:
    """Examples with labels.

    Attributes:
        x: Array of examples, or a data set of batches that are read when they are used.
        y: Array of labels, or `None` if `x` is a data set.
        count: Integer, the number of examples.
        batch_size: Integer.
    """

    x: Any
    y: Any
    count: int
    batch_size: int

    def arguments(self):
        """The arguments by which a sweep takes the data."""
        if self.y is None:
            return {"x": self.x}
        return {"x": self.x, "y": self.y, "batch_size": self.batch_size}

    def first(self):
        """The first batch, arrays of examples and of labels."""
        if self.y is None:
            return tuple(map(np.asarray, next(iter(self.x))))
        return self.x[: self.batch_size], self.y[: self.batch_size]


def load_data(options, model):
    """Loads the data to choose on, and those to measure the gain on.

    They are two halves, drawn at random and always the same, unless there is a
    validation split or a split is named.

    Args:
        options: What a parser with `add_data_options` returns.
        model: The `keras.Model` that is given the data.

    Returns:
        A list of one or two `Data`.

    Raises:
        ValueError: if there are no such data, or the model does not take them.
    """
    check_integer("batch_size", options.batch_size)
    scaling(options.scale)  # Raises an error for an unknown one.
    name = options.dataset
    is_folder = name != "digits" and os.path.isdir(name)
    if options.classes is not None and not is_folder:
        raise ValueError(f"--classes is for folders of images. {name} is none.")
    if options.split is not None and (is_folder or is_file(name)):
        raise ValueError(
            f"{name} has no splits. Leave out --split, or name only the examples that "
            f"you want. Received: --split {options.split}."
        )
    if is_folder:
        parts = _of_folder(options, model)
    elif is_file(name):
        if options.image_size is not None:
            raise ValueError(
                f"{name} holds images of one size. Leave out --image-size, or save "
                "them resized."
            )
        parts = _of_arrays(options, *load_arrays(name), halve=True)
    else:
        parts = _of_name(options, model)
    for part in parts:
        x, y = part.first()
        check_fit(model, x, y if part.y is None else part.y)
    print(f"The model is given values from {np.min(x):.4g} to {np.max(x):.4g}.")
    return parts


def _of_folder(options, model):
    size, channels = _input_of(model)
    size = (options.image_size,) * 2 if options.image_size is not None else size
    if None in size:
        raise ValueError(ANY_SIZE)
    is_one_hot = loss_name(model) == "categorical_crossentropy"
    halves = [
        ImageFolder(
            options.dataset,
            image_size=size,
            channels=channels,
            classes=options.classes,
            label_mode="categorical" if is_one_hot else "int",
            scale=options.scale,
            half=half,
            batch_size=options.batch_size,
        )
        for half in ("choose", "report")
    ]
    check_classes(model, halves[0].classes)
    print(
        f"Images are cropped to their central part, and resized to {size[0]} x "
        f"{size[1]} pixels."
    )
    return [Data(half, None, len(half.files), options.batch_size) for half in halves]


def _input_of(model):
    """The size and the channels of the images that a model takes."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        return (None, None), 3
    if keras.config.image_data_format() == "channels_first":
        return shape[2:], shape[1] or 3
    return shape[1:3], shape[3] or 3


def _of_arrays(options, x, y, halve):
    low, high = np.min(x), np.max(x)
    if options.scale != RAW:
        if options.dataset == "digits" or low < 0 or not 1 < high <= 255:
            raise ValueError(
                "--scale is for images with values from 0 to 255. Received: "
                f"--scale={options.scale} and values from {low:g} to {high:g}. Leave "
                "it out if the model takes them as they are."
            )
        x = scaling(options.scale)(x.astype("float32"))
    if not halve:
        return [Data(x, y, len(x), options.batch_size)]
    if len(x) < 2:
        raise ValueError(
            f"{options.dataset} has {len(x)} example, which cannot be cut into a half "
            "to choose on and another one. Give at least two."
        )
    order = np.random.default_rng(0).permutation(len(x))
    halves = order[: len(x) // 2], order[len(x) // 2 :]
    return [Data(x[half], y[half], len(half), options.batch_size) for half in halves]


def _of_name(options, model):
    name, split, size = options.dataset, options.split, options.image_size
    where = {"data_dir": options.data_dir, "download": options.download}
    halve = False
    if split is None:
        halve = "validation" not in _split_names(name, where)
        split = "test" if halve else "validation"
    size = None if size is None else (size, size)
    if name != "digits":
        builder = find_builder(name, options.data_dir)
        if size is None and _sizes_vary(builder):
            size, _ = _input_of(model)
            if None in size:
                raise ValueError(ANY_SIZE)
        if size is not None:
            splits = [f"{split}[:50%]", f"{split}[50%:]"] if halve else [split]
            print(f"Images are resized to {size[0]} x {size[1]} pixels, uncropped.")
            return [_stream(options, builder, x, size, where) for x in splits]
    x, y = datasets.load(name, split, image_size=size, **where)
    return _of_arrays(options, x, y, halve)


def _split_names(name, where):
    try:
        return datasets.split_names(name, **where)
    except ValueError as error:
        raise ValueError(
            f"{error} Or give a folder with a folder of images for each class, or an "
            ".npz file with arrays x and y."
        ) from error


def _sizes_vary(builder):
    keys = builder.info.supervised_keys
    shape = builder.info.features[keys[0]].shape if keys else ()
    return len(shape) == 3 and None in shape[:2]


def _stream(options, builder, split, size, where):
    import tensorflow as tf

    batches = datasets.stream(
        options.dataset, split, batch_size=options.batch_size, image_size=size, **where
    )

    def scaled(x, y):
        # By NumPy, because Keras may compute on another backend.
        scale = scaling(options.scale)
        of_scale = tf.numpy_function(
            lambda x: scale(x.astype("float32")), [x], tf.float32
        )
        return tf.ensure_shape(of_scale, x.shape), y

    batches = batches.map(scaled)
    count = builder.info.splits[split].num_examples
    return Data(batches, None, count, options.batch_size)

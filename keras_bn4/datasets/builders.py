"""Builders of tensorflow-datasets: found by name, checked and prepared.

Nothing here uses the network unless it is told to download.
"""

import difflib
import os
import pathlib
import re

from keras_bn4.common.arguments import check_flag, check_integer
from keras_bn4.common.errors import reason_of

CATALOG = "https://www.tensorflow.org/datasets/catalog/overview"


def check_source(data_dir, download):
    """Raises `ValueError` unless these are a path or `None`, and a flag."""
    check_flag("download", download)
    is_path = isinstance(data_dir, (str, os.PathLike))
    if data_dir is not None and not (is_path and os.fspath(data_dir)):
        raise ValueError(
            "Argument `data_dir` must be the path of a folder, or None. Received: "
            f"data_dir={data_dir!r}."
        )


def find_builder(name, data_dir):
    """Finds the builder of a data set, on disk or not."""
    try:
        import tensorflow  # noqa: F401 - tensorflow-datasets can't read without it
        import tensorflow_datasets as tfds

        # Its import registers the builder.
        from keras_bn4.datasets import caltech256  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"Data set {name!r} is looked up in tensorflow-datasets, which cannot be "
            f'imported: {error}. Install it: pip install "keras_bn4[datasets]" '
            'tensorflow. Data set "digits" needs neither.'
        ) from error
    unknown = (
        f"Unknown data set {name!r}. Allowed: 'digits', or an image classification data"
        f" set of tensorflow-datasets, such as 'cifar100' ({CATALOG})."
    )
    # tensorflow-datasets would look up a name with a namespace, such as
    # `huggingface:name`, on the network.
    if not isinstance(name, str) or not re.fullmatch(
        r"\w+(/[\w.-]+)?(:[\d.*]+)?", name
    ):
        raise ValueError(unknown)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(name, known)
        hint = f" Did you mean one of {close}?" if close else ""
        raise ValueError(unknown + hint) from error
    except (AssertionError, ValueError) as error:
        # Without the arguments that tensorflow-datasets begins its messages with.
        reason = re.sub(r'^Failed to construct .*?}": ', "", reason_of(error))
        raise ValueError(
            f"Data set {name!r} has no such version or configuration: {reason}. Give "
            f"the name alone, {re.split('[:/]', name)[0]!r}, for the newest version."
        ) from error


def find_images(name, data_dir, download, splits, image_size):
    """The builder of labelled images on disk; arguments and errors are `load`'s."""
    builder = find_builder(name, data_dir)
    keys = builder.info.supervised_keys
    kinds = [type(builder.info.features[k]).__name__ for k in keys or ()]
    if kinds != ["Image", "ClassLabel"]:
        raise ValueError(
            f"Data set {name!r} is not one of labelled images: its inputs and labels "
            f"are {kinds or 'not declared'}. Give the name of an image classification "
            f"data set ({CATALOG})."
        )
    if image_size is not None:
        check_pair(image_size)
    elif None in builder.info.features[keys[0]].shape[:2]:
        raise ValueError(
            f"Data set {name!r} has images of different sizes. Resize them to one "
            "size: image_size=(height, width)."
        )
    prepare(builder, name, data_dir, download)
    for split in splits:
        _check_split(builder, name, split)
    return builder


def prepare(builder, name, data_dir, download):
    """Downloads a data set that is not on disk, or raises `FileNotFoundError`."""
    if builder.data_path.exists():
        return
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    # Where tensorflow-datasets looks for archives that it cannot download.
    depth = len(pathlib.PurePath(builder.info.full_name).parts)
    manual = pathlib.Path(builder.data_path.parents[depth - 1], "downloads/manual")
    has_archives = manual.is_dir() and any(manual.iterdir())
    if download and (has_archives or not by_hand):
        builder.download_and_prepare()
        return
    arguments = [repr(name), "download=True"]
    if data_dir is not None:
        arguments.insert(1, f"data_dir={os.fspath(data_dir)!r}")
    # tensorflow-datasets' own command needs Apache Beam.
    command = (
        'python -c "from keras_bn4.datasets import split_names; '
        f'split_names({", ".join(arguments)})"'
    )
    means = f"with download=True or with the command: {command}"
    if by_hand:
        how = (
            f"Its archives must be downloaded by hand: {' '.join(by_hand.split())} "
            f"Put them in {str(manual)!r} and prepare the data set {means}"
        )
    else:
        how = f"Pass the `data_dir` that has it, or download it, {means}"
    raise FileNotFoundError(
        f"Data set {name!r} is not on disk: there is no {str(builder.data_path)!r}. "
        f"{how}"
    )


def resize(image, image_size):
    """Resizes an integer tensor of TensorFlow with antialiasing, to the same dtype."""
    import tensorflow as tf

    resized = tf.image.resize(image, image_size, antialias=True)
    return tf.saturate_cast(tf.round(resized), image.dtype)


def check_pair(image_size):
    """Raises `ValueError` unless this is a pair of positive integers."""
    if not isinstance(image_size, (list, tuple)) or len(image_size) != 2:
        raise ValueError(
            "Argument `image_size` must be a pair of integers (height, width) or None. "
            f"Received: image_size={image_size!r}."
        )
    for size in image_size:
        check_integer("image_size", size)


def _check_split(builder, name, split):
    try:
        count = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"Unknown split {split!r} of data set {name!r} ({reason_of(error)}). "
            f"Allowed: {list(builder.info.splits)}, and slices and sums of these, such "
            "as 'test[:50%]' (https://www.tensorflow.org/datasets/splits)."
        ) from error
    if not count:
        raise ValueError(f"Split {split!r} of data set {name!r} holds no examples.")

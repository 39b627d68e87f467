"""Data sets by name, as arrays."""

import os

import numpy as np

from keras_bn4.datasets.builders import (
    check_source,
    find_builder,
    find_images,
    prepare,
    resize,
)
from keras_bn4.datasets.digits import DIGITS_SPLITS, load_digits


def load(
    name: str,
    split: str | list[str] | tuple[str, ...],
    *,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
) -> tuple:
    """Loads images and labels as arrays.

    `"digits"` are 1,797 real handwritten digits that come with scikit-learn, so that
    nothing is downloaded. They are gray images of 8 by 8 pixels with values from 0 to
    16. Their splits are always the same and hold every class in proportion: `"train"`
    with 200 images, `"validation"` with 798 and `"test"` with 799. Any other name is
    that of an image classification data set of tensorflow-datasets, with its own
    splits, or `"caltech256"`, which this package adds to them. `paper_splits` names the
    splits of the paper. The whole of a split is loaded into memory; `stream` is for
    splits that do not fit.

    Args:
        name: `"digits"`, or a name as `tensorflow_datasets.load` takes it, such as
            `"cifar100"` or `"cifar100:3.*.*"`.
        split: String, or a list or tuple of strings. For tensorflow-datasets they can
            be slices and sums, such as `"test[:50%]"` or `"train+test"`.
        data_dir: The folder of tensorflow-datasets. `None` for its default, the
            environment variable `TFDS_DATA_DIR` or else `~/tensorflow_datasets`.
        download: Whether to download and prepare a data set that is not on disk yet. By
            default that is an error, and the network is not used.
        image_size: Pair of integers `(height, width)` to resize the images to, with
            antialiasing and regardless of their proportions. Necessary if a data set
            has images of different sizes. `None` leaves them as they are.

    Returns:
        A pair `(x, y)` of images and labels. Images are `uint8` of shape
        `(n, height, width, channels)`, with the values as stored: 0 to 255, except for
        the digits. Labels are `int64` of shape `(n,)`. For a list or tuple of splits, a
        tuple of such pairs.

    Raises:
        ImportError: if scikit-learn or tensorflow-datasets is not installed.
        ValueError: if there is no such data set or split, if the data set is not one of
            labelled images, or if `image_size` is missing or malformed.
        FileNotFoundError: if the data set is not in `data_dir` and `download` is not
            set.

    Examples:
        >>> (x_train, y_train), (x_test, y_test) = load("digits", ("train", "test"))
        >>> x_train.shape, y_train.shape, x_test.shape
        ((200, 8, 8, 1), (200,), (799, 8, 8, 1))
    """
    splits = [split] if isinstance(split, str) else split
    if (
        not isinstance(splits, (list, tuple))
        or not splits
        or not all(isinstance(s, str) for s in splits)
    ):
        raise ValueError(
            'Argument `split` must be a string, such as "test", or a list or tuple of '
            f"them. Received: split={split!r}."
        )
    check_source(data_dir, download)
    if name == "digits":
        pairs = load_digits(splits, image_size)
    else:
        builder = find_images(name, data_dir, download, splits, image_size)
        pairs = tuple(_read(builder, split, image_size) for split in splits)
    return pairs[0] if isinstance(split, str) else pairs


def split_names(
    name: str, *, data_dir: str | os.PathLike | None = None, download: bool = False
) -> list[str]:
    """Lists the splits of a data set.

    Args:
        name: String, as `load` takes it.
        data_dir: Path, as `load` takes it.
        download: Boolean, as `load` takes it.

    Returns:
        List of strings.

    Raises:
        ImportError, ValueError, FileNotFoundError: as `load` does.

    Examples:
        >>> split_names("digits")
        ['train', 'validation', 'test']
    """
    check_source(data_dir, download)
    if name == "digits":
        return list(DIGITS_SPLITS)
    builder = find_builder(name, data_dir)
    prepare(builder, name, data_dir, download)
    return list(builder.info.splits)


def _read(builder, split, image_size):
    import tensorflow as tf

    dataset = builder.as_dataset(split=split, as_supervised=True)
    if image_size is not None:
        dataset = dataset.map(
            lambda image, label: (resize(image, image_size), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    x, y = zip(*dataset.batch(1024).as_numpy_iterator())
    return np.concatenate(x), np.concatenate(y)

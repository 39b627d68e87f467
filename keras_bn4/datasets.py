"""Loads data sets by name, and makes minibatches that are not i.i.d. (Sec. 4.4)."""

import difflib
import os
import re

import keras
import numpy as np

from keras_bn4.common.arguments import check_flag, check_integer
from keras_bn4.common.errors import reason_of

DIGITS_SPLITS = ("train", "validation", "test")
DIGITS_TRAIN_SIZE = 200


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
    splits. The whole of a split is loaded into memory.

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

    Example:

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
    _check_source(data_dir, download)
    if name == "digits":
        pairs = _load_digits(splits, image_size)
    else:
        pairs = _load_tfds(name, splits, data_dir, download, image_size)
    return pairs[0] if isinstance(split, str) else pairs


def split_names(
    name: str, *, data_dir: str | os.PathLike | None = None, download: bool = False
) -> list[str]:
    """Lists the splits of a data set.

    Args:
        name: As `load` takes it.
        data_dir: As `load` takes it.
        download: As `load` takes it.

    Returns:
        List of strings.

    Raises:
        ImportError: if scikit-learn or tensorflow-datasets is not installed.
        ValueError: if there is no such data set.
        FileNotFoundError: if the data set is not in `data_dir` and `download` is not
            set.

    Example:

    >>> split_names("digits")
    ['train', 'validation', 'test']
    """
    _check_source(data_dir, download)
    if name == "digits":
        return list(DIGITS_SPLITS)
    builder = _builder(name, data_dir)
    _prepare(builder, name, data_dir, download)
    return list(builder.info.splits)


def non_iid_batches(
    x,
    y,
    batch_size: int,
    *,
    classes_per_batch: int = 1,
    batches: int | None = None,
    seed: int = 0,
) -> keras.utils.PyDataset:
    """Makes minibatches that each hold examples of only a few classes.

    This is the setting of Sec. 4.4, where the statistics of a minibatch say little
    about those of the data. Every minibatch draws `classes_per_batch` classes at
    random, with replacement as in the paper, and an equal number of examples for each
    draw. These repeat an example only if the class has too few. The order within a
    minibatch is random, so that ghosts hold several classes too.

    Args:
        x: Array of shape `(n, ...)`.
        y: Array of class labels of shape `(n,)` or `(n, 1)`.
        batch_size: Positive integer, a multiple of `classes_per_batch`. All
            minibatches have this size.
        classes_per_batch: Positive integer, at most the number of classes.
        batches: Positive integer, the number of minibatches in an epoch. `None` for as
            many as are needed for `n` examples.
        seed: Non-negative integer. The same seed gives the same minibatches, which
            differ from epoch to epoch.

    Returns:
        A `keras.utils.PyDataset` of pairs `(x, y)`, for `model.fit` or a `for` loop.

    Raises:
        ValueError: if an argument is not as above.

    Example:

    >>> x, y = load("digits", "train")
    >>> dataset = non_iid_batches(x, y, 64, classes_per_batch=2)
    >>> images, labels = dataset[0]
    >>> len(dataset), images.shape, len(np.unique(labels)) <= 2
    (4, (64, 8, 8, 1), True)
    """
    return _NonIIDBatches(x, y, batch_size, classes_per_batch, batches, seed)


class _NonIIDBatches(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, classes_per_batch, batches, seed):
        super().__init__()
        self.x, self.y = np.asarray(x), np.asarray(y)
        n = len(self.y) if self.y.ndim else 0
        if not n or self.y.size != n or self.x.ndim == 0 or len(self.x) != n:
            raise ValueError(
                "Expected one class label for each example of `x`, at least one: `y` "
                "of shape (n,) or (n, 1). Received: "
                f"x.shape={self.x.shape}, y.shape={self.y.shape}."
            )
        if self.y.dtype.kind == "f" and np.isnan(self.y).any():
            raise ValueError(
                "The class labels `y` must not be NaN. Received: NaN in "
                f"{int(np.isnan(self.y).sum())} of {n} labels."
            )
        classes, positions = np.unique(self.y.reshape(n), return_inverse=True)
        self.members = [np.flatnonzero(positions == i) for i in range(len(classes))]
        self.batch_size = check_integer("batch_size", batch_size)
        self.per_batch = check_integer("classes_per_batch", classes_per_batch)
        if self.per_batch > len(classes) or self.batch_size % self.per_batch:
            raise ValueError(
                "Argument `classes_per_batch` must divide `batch_size` and be at most "
                f"the number of classes, {len(classes)}. Received: "
                f"classes_per_batch={classes_per_batch}, batch_size={batch_size}."
            )
        if batches is None:
            batches = -(-n // self.batch_size)
        self.batches = check_integer("batches", batches)
        self.seed = check_integer("seed", seed, least=0)
        self.epoch = 0

    def __len__(self):
        return self.batches

    def __getitem__(self, index):
        # A `for` loop over the data set needs this error to end.
        if not 0 <= index < self.batches:
            raise IndexError(f"Minibatch {index} of {self.batches}.")
        rng = np.random.default_rng([self.seed, self.epoch, index])
        share = self.batch_size // self.per_batch
        chosen = [
            np.resize(rng.permutation(self.members[i]), share)
            for i in rng.integers(len(self.members), size=self.per_batch)
        ]
        chosen = rng.permutation(np.concatenate(chosen))
        return self.x[chosen], self.y[chosen]

    def on_epoch_end(self):
        self.epoch += 1


def _load_digits(splits, image_size):
    if image_size is not None:
        raise ValueError(
            'The images of "digits" are 8 by 8 and are not resized. Leave out '
            f"`image_size`. Received: image_size={image_size!r}."
        )
    for split in splits:
        if split not in DIGITS_SPLITS:
            raise ValueError(
                f'Unknown split {split!r} of "digits". Allowed: {list(DIGITS_SPLITS)}.'
            )
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            'Data set "digits" is part of scikit-learn, which is not installed. '
            'Install it: pip install "keras_bn4[datasets]".'
        ) from error
    data = load_digits()
    x = data.images.astype("uint8")[..., None]
    y = data.target.astype("int64")

    def cut(indices, size):
        return train_test_split(
            indices, train_size=size, stratify=y[indices], random_state=1
        )

    train, rest = cut(np.arange(len(y)), DIGITS_TRAIN_SIZE)
    validation, test = cut(rest, len(rest) // 2)
    indices = dict(zip(DIGITS_SPLITS, (train, validation, test)))
    return tuple((x[indices[split]], y[indices[split]]) for split in splits)


def _check_source(data_dir, download):
    check_flag("download", download)
    is_path = isinstance(data_dir, (str, os.PathLike))
    if data_dir is not None and not (is_path and os.fspath(data_dir)):
        raise ValueError(
            "Argument `data_dir` must be the path of a folder, or None. Received: "
            f"data_dir={data_dir!r}."
        )


def _load_tfds(name, splits, data_dir, download, image_size):
    builder = _builder(name, data_dir)
    keys = builder.info.supervised_keys
    kinds = [type(builder.info.features[k]).__name__ for k in keys or ()]
    if kinds != ["Image", "ClassLabel"]:
        raise ValueError(
            f"Data set {name!r} is not one of labelled images: its inputs and labels "
            f"are {kinds or 'not declared'}. Give the name of an image classification "
            "data set (https://www.tensorflow.org/datasets/catalog/overview)."
        )
    _check_image_size(name, builder.info.features[keys[0]].shape, image_size)
    _prepare(builder, name, data_dir, download)
    for split in splits:
        _check_split(builder, name, split)
    return tuple(_read(builder, split, image_size) for split in splits)


def _prepare(builder, name, data_dir, download):
    """Downloads a data set that is not on disk, or raises `FileNotFoundError`."""
    if download:
        builder.download_and_prepare()
    elif not builder.data_path.exists():
        folder = "" if data_dir is None else f" --data_dir={data_dir}"
        raise FileNotFoundError(
            f"Data set {name!r} is not on disk: there is no {str(builder.data_path)!r}."
            " Pass the `data_dir` that has it, or download it, with download=True or "
            f"with the command: tfds build {name}{folder}"
        )


def _builder(name, data_dir):
    try:
        import tensorflow  # noqa: F401 - tensorflow-datasets can't read without it
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"Data set {name!r} is looked up in tensorflow-datasets, which can't be "
            f'imported: {error}. Install it: pip install "keras_bn4[datasets]" '
            'tensorflow. Data set "digits" needs neither.'
        ) from error
    unknown = (
        f"Unknown data set {name!r}. Allowed: 'digits', or an image classification data"
        " set of tensorflow-datasets, such as 'cifar100'"
        " (https://www.tensorflow.org/datasets/catalog/overview)."
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


def _check_image_size(name, shape, image_size):
    if image_size is None:
        if None in shape[:2]:
            raise ValueError(
                f"Data set {name!r} has images of different sizes. Resize them to one "
                "size: image_size=(height, width)."
            )
        return
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
            f"Unknown split {split!r} of data set {name!r}. Allowed: "
            f"{list(builder.info.splits)}, and slices and sums of these, such as "
            "'test[:50%]' (https://www.tensorflow.org/datasets/splits)."
        ) from error
    if not count:
        raise ValueError(f"Split {split!r} of data set {name!r} holds no examples.")


def _read(builder, split, image_size):
    import tensorflow as tf

    def resize(image, label):
        resized = tf.image.resize(image, image_size, antialias=True)
        return tf.saturate_cast(tf.round(resized), image.dtype), label

    dataset = builder.as_dataset(split=split, as_supervised=True)
    if image_size is not None:
        dataset = dataset.map(resize, num_parallel_calls=tf.data.AUTOTUNE)
    x, y = zip(*dataset.batch(1024).as_numpy_iterator())
    return np.concatenate(x), np.concatenate(y)

"""Data sets by name, streamed from disk."""

import os
from typing import TYPE_CHECKING

from keras_bn4.common.arguments import check_integer
from keras_bn4.datasets.builders import check_source, find_images, resize

if TYPE_CHECKING:
    import tensorflow as tf

# Many times the largest minibatches, and below a gigabyte for compressed photographs.
# The files themselves are in random order, and are read in random order besides.
SHUFFLE_BUFFER = 8192


def stream(
    name: str,
    split: str,
    *,
    batch_size: int,
    image_size: tuple[int, int] | None = None,
    seed: int | None = None,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
) -> "tf.data.Dataset":
    """Makes a `tf.data.Dataset` of minibatches that are read from disk when used.

    For data sets that do not fit into memory, such as ImageNet; `load` returns the same
    images as arrays. `fit` and `evaluate` take it on every backend. Images are held in
    memory as they are compressed, and decoded one minibatch ahead.

    Args:
        name: A name as `tensorflow_datasets.load` takes it, such as `"imagenet2012"`.
        split: String, which can be a slice or a sum, such as `"train[:80%]"`.
        batch_size: Positive integer. The last minibatch has what remains.
        image_size: Pair of integers `(height, width)`, as `load` takes it.
        seed: Non-negative integer to shuffle by, or `None` for the order on disk, which
            is always the same. The same seed gives the same minibatches, which differ
            from epoch to epoch.
        data_dir: Path, as `load` takes it.
        download: Boolean, as `load` takes it.

    Returns:
        A `tf.data.Dataset` of pairs of images, `uint8` of shape
        `(batch_size, height, width, channels)`, and labels, `int64`. Its length, in
        minibatches, is known.

    Raises:
        ImportError: if tensorflow-datasets is not installed.
        ValueError: if an argument is not as above.
        FileNotFoundError: if the data set is not in `data_dir` and `download` is not
            set.

    Examples:
        ```python
        train, validation = keras_bn4.datasets.paper_splits("imagenet2012")
        size = {"batch_size": 128, "image_size": (256, 256)}
        augment = keras_bn4.datasets.augmentation("imagenet2012", image_size=(256, 256))
        images = keras_bn4.datasets.stream("imagenet2012", train, seed=0, **size)
        model.fit(images.map(lambda x, y: (augment(x), y)))
        ```
    """
    if not isinstance(split, str):
        raise ValueError(
            'Argument `split` must be a string, such as "train". Received: '
            f"split={split!r}."
        )
    if name == "digits":
        raise ValueError(
            'Data set "digits" fits into memory and is not streamed. Use `load`.'
        )
    check_source(data_dir, download)
    batch_size = check_integer("batch_size", batch_size)
    if seed is not None:
        seed = check_integer("seed", seed, least=0)
    builder = find_images(name, data_dir, download, [split], image_size)

    import tensorflow as tf
    import tensorflow_datasets as tfds

    image, label = builder.info.supervised_keys
    decode = builder.info.features[image].decode_example

    def decoded(example):
        x = decode(example[image])
        return x if image_size is None else resize(x, image_size), example[label]

    dataset = builder.as_dataset(
        split=split,
        shuffle_files=seed is not None,
        # Compressed images take a fraction of the memory to shuffle.
        decoders={image: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(shuffle_seed=seed, try_autocache=False),
    )
    if seed is not None:
        size = min(SHUFFLE_BUFFER, builder.info.splits[split].num_examples)
        dataset = dataset.shuffle(size, seed=seed)
    dataset = dataset.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size).prefetch(1)

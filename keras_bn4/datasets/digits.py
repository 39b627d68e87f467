"""The handwritten digits of scikit-learn, in three splits."""

import numpy as np

DIGITS_SPLITS = ("train", "validation", "test")
DIGITS_TRAIN_SIZE = 200


def load_digits(splits, image_size=None):
    """Loads splits of the digits, a tuple of pairs `(x, y)`."""
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
        from sklearn import datasets
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            'Data set "digits" is part of scikit-learn, which is not installed. '
            'Install it: pip install "keras_bn4[datasets]".'
        ) from error
    data = datasets.load_digits()
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

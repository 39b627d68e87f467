"""The paper's splits (Sec. 4.1), and the standard augmentation.

Where the paper is silent, the docstrings say what was chosen.
"""

import keras
import numpy as np

from keras_bn4.common.arguments import check_integer
from keras_bn4.datasets.builders import check_pair

# Of tensorflow-datasets, whose images are in a random order that is always the same.
PAPER_SPLITS = {
    "cifar100": ("train[:80%]", "train[80%:]", "test"),
    "svhn_cropped": ("train[:80%]+extra[:80%]", "train[80%:]+extra[80%:]", "test"),
    "caltech256": ("train", "validation", "test"),
    "oxford_flowers102": ("train", "validation", "test"),
    "caltech_birds2011": ("train[:75%]", "train[75%:]", "test"),
    "imagenet2012": ("train", "validation"),
}
SMALL_IMAGES = ("cifar100", "svhn_cropped")
SMALL_SHIFT = 4
# What zero padding of images is after they are rescaled to -1 to 1.
GRAY = 128
CROP = 7 / 8


def paper_splits(name: str) -> tuple[str, ...]:
    """Names the splits of a data set that the paper trains, validates and tests on.

    They never change, and share no example:

    | name | training | validation | test |
    |---|---|---|---|
    | `"cifar100"` | 40,000 | 10,000 | 10,000 |
    | `"svhn_cropped"` | 483,511 | 120,877 | 26,032 |
    | `"caltech256"` | 40 of each class | 10 of each class | 30 of each class |
    | `"oxford_flowers102"` | 1,020 | 1,020 | 6,149 |
    | `"caltech_birds2011"` | 4,496 | 1,498 | 5,794 |
    | `"imagenet2012"` | 1,281,167 | 50,000 | |

    The paper draws its validation images at random and does not list them. Here they
    are the last ones that tensorflow-datasets stores, in a random order that is always
    the same, so classes are not in exact proportion. SVHN's 80 % are those of `"train"`
    and of the simpler `"extra"`. Caltech-256 has 256 classes here, without its clutter.
    The 25 % of CUB-2011 are rounded. ImageNet has no labels for its test images.

    Args:
        name: String, one of the six above.

    Returns:
        Tuple of strings, as `load` takes it: splits for training, validation and test,
        without the last for ImageNet.

    Raises:
        ValueError: if it is not one of these.

    Examples:
        >>> paper_splits("cifar100")
        ('train[:80%]', 'train[80%:]', 'test')

        ```python
        train, validation, test = load("cifar100", paper_splits("cifar100"))
        ```
    """
    _check_name(name)
    return PAPER_SPLITS[name]


def augmentation(
    name: str,
    *,
    image_size: tuple[int, int] | None = None,
    seed: int | None = None,
) -> keras.layers.Pipeline:
    """Makes the layers that change the training images of a data set at random.

    The paper names random cropping only, so these are the usual ones. CIFAR-100 and
    SVHN: a shift by up to four pixels in each direction, padded with gray. The others:
    a crop of 7/8 of the height and the width, such as 224 by 224 of 256 by 256, random
    in training and central in validation. Half of the images are mirrored, except those
    of SVHN, whose mirrored digits are no digits.

    They take a minibatch or a single image of any range of values where 128 is gray,
    and return `float32`. They are Keras' own layers, in a pipeline that also runs in
    `tf.data` on every backend. On PyTorch run it there; elsewhere it takes 0.03 s for
    each image.

    Args:
        name: String, one of those that `paper_splits` takes.
        image_size: Pair of integers `(height, width)`, the size of the inputs. Not for
            CIFAR-100 and SVHN, and necessary for the others.
        seed: Non-negative integer. The same seed gives the same changes, call by call.

    Returns:
        A `keras.layers.Pipeline`. Called with `training=False` it only crops.

    Raises:
        ValueError: if an argument is not as above.

    Examples:
        >>> augment = augmentation("caltech256", image_size=(32, 32), seed=0)
        >>> x = np.zeros((5, 32, 32, 3), "uint8")
        >>> augment(x).shape == augment(x, training=False).shape == (5, 28, 28, 3)
        True
    """
    _check_name(name)
    is_small = name in SMALL_IMAGES
    if is_small != (image_size is None):
        raise ValueError(
            f"Images of {name!r} are 32 by 32: leave out `image_size`."
            if is_small
            else f"Images of {name!r} have many sizes: give the one that they are "
            "loaded with, image_size=(height, width)."
        )
    seeds: list[int | None] = [None, None]
    if seed is not None:
        # Two layers with the same seed would draw the same numbers. PyTorch needs seeds
        # that fit 31 bits.
        seed = check_integer("seed", seed, least=0)
        states = np.random.SeedSequence(seed).generate_state(2)
        seeds = [int(state) >> 1 for state in states]
    if image_size is None:
        layers = [_shift((32, 32), [(SMALL_SHIFT, SMALL_SHIFT)] * 2, seeds[0])]
    else:
        check_pair(image_size)
        size = [max(1, round(CROP * side)) for side in image_size]
        # By as much as the crop in the centre leaves on either side.
        margins = [(side - crop) for side, crop in zip(image_size, size)]
        shifts = [(margin - margin // 2, margin // 2) for margin in margins]
        layers = [_shift(image_size, shifts, seeds[0]), keras.layers.CenterCrop(*size)]
    if name != "svhn_cropped":
        layers.append(keras.layers.RandomFlip("horizontal", seed=seeds[1]))
    return keras.layers.Pipeline(layers)


def _shift(image_size, shifts, seed):
    """Shifts by whole pixels, by height and width so many to and away from 0."""
    # With the nearest pixel, shifts between two half pixels are by the whole one.
    factors = [
        (-(back + 0.5) / side, (forth + 0.5) / side)
        for side, (back, forth) in zip(image_size, shifts)
    ]
    return keras.layers.RandomTranslation(
        *factors,
        fill_mode="constant",
        fill_value=GRAY,
        interpolation="nearest",
        data_format="channels_last",
        seed=seed,
    )


def _check_name(name):
    if not isinstance(name, str) or name not in PAPER_SPLITS:
        raise ValueError(
            f"Unknown data set {name!r}. Allowed, the paper's: {list(PAPER_SPLITS)}."
        )

"""The images of a training: fixed splits, and epochs that follow from the seed alone.

Nothing here has a state, so that a training resumes with the images that it would have
seen.
"""

import functools
import itertools

import numpy as np

from keras_bn4 import datasets
from keras_bn4.datasets.paper import GRAY, SMALL_SHIFT


@functools.lru_cache(maxsize=1)
def splits(dataset, train_images, validation_images, data_dir=None, classes="all"):
    """Loads the training, validation and test images, always the same ones.

    Both training and validation images are drawn from the training split of the data
    set at random, equally many of each class. The test images are its test split. The
    arguments are those of `Settings`.

    Returns:
        Three pairs `(x, y)`, for training, validation and test.

    Raises:
        ValueError: if a class has too few images, or the numbers of images are not
            multiples of the number of classes.
    """
    train, test = datasets.load(dataset, ("train", "test"), data_dir=data_dir)
    labels = _labels(train[1], classes)
    (x, y), test = (_of_labels(*split, labels) for split in (train, test))
    for name, count in (("train", train_images), ("validation", validation_images)):
        if count % len(labels):
            raise ValueError(
                f"The {name} images must be equally many of each of the {len(labels)} "
                f"classes of {dataset}. Received: {name}_images={count}."
            )
    validation_share = validation_images // len(labels)
    train_share = train_images // len(labels)
    rng = np.random.default_rng(0)
    # Of each class, validation images come first and training images last, so that
    # trainings on more images have the same validation images.
    members = [rng.permutation(np.flatnonzero(y == c)) for c in range(len(labels))]
    fewest = min(map(len, members))
    if train_share + validation_share > fewest:
        raise ValueError(
            f"The rarest class of {dataset} has {fewest} images, fewer than "
            f"{train_share} to train on and {validation_share} for validation."
        )
    train = np.sort(np.concatenate([m[len(m) - train_share :] for m in members]))
    validation = np.sort(np.concatenate([m[:validation_share] for m in members]))
    return (x[train], y[train]), (x[validation], y[validation]), test


def _labels(y, classes):
    labels = np.unique(y)
    halves = np.array_split(labels, 2)
    return {"all": labels, "first half": halves[0], "second half": halves[1]}[classes]


def _of_labels(x, y, labels):
    """The images with these labels, counted from 0."""
    kept = np.isin(y, labels)
    return x[kept], np.searchsorted(labels, y[kept])


def steps_per_epoch(settings):
    return settings.train_images // settings.batch_size


def epoch(x, y, settings, number):
    """The minibatches of an epoch, one after the other, as a pair of arrays.

    Args:
        x, y: Arrays of all training images and their labels.
        settings: `Settings`.
        number: Integer, which epoch, from 0.
    """
    size, steps = settings.batch_size, steps_per_epoch(settings)
    if settings.classes_per_batch is None:
        rng = np.random.default_rng([settings.seed, number])
        order = rng.permutation(len(y))[: steps * size]
    else:
        batches = datasets.non_iid_batches(
            np.arange(len(y)),
            y,
            size,
            classes_per_batch=settings.classes_per_batch,
            batches=steps,
            seed=settings.seed,
        )
        batches.epoch = number
        batches = [batches[i][0] for i in range(steps)]
        if settings.order_in_batch == "by class":
            batches = [batch[np.argsort(y[batch], kind="stable")] for batch in batches]
        order = np.concatenate(batches)
    x = x[order]
    if settings.augmentation == "crop and flip":
        x = crop_and_flip(x, np.random.default_rng([settings.seed, number, 1]))
    return x, y[order]


def of_statistics(train, test, settings, name):
    """Images to compute moving statistics from, after the training.

    Args:
        train, test: Pairs of images and labels. The labels of the test images are not
            used.
        settings: `Settings`.
        name: `"training images"`, as many and in the same kind of order as in an epoch;
            `"test images"`; or either of them with `"augmented "` before it.
    """
    augmentation = "crop and flip" if name.startswith("augmented ") else "none"
    if name.removeprefix("augmented ") == "training images":
        settings = settings.replace(augmentation=augmentation)
        return epoch(*train, settings, settings.epochs)[0]
    if augmentation == "none":
        return test[0]
    return crop_and_flip(test[0], np.random.default_rng([settings.seed, 0, 1, 1]))


def crop_and_flip(x, rng):
    """Shifts images by up to four pixels, and mirrors half of them, at random."""
    n, height, width, _ = x.shape
    shifts = (SMALL_SHIFT, SMALL_SHIFT)
    edges = [(0, 0), shifts, shifts, (0, 0)]
    padded = np.pad(x, edges, constant_values=GRAY)
    top, left = rng.integers(2 * SMALL_SHIFT + 1, size=(2, n))
    is_mirrored = rng.random(n) < 0.5
    result = np.empty_like(x)
    # All images of one shift at once, which is faster than to index single pixels.
    for i, j in itertools.product(range(2 * SMALL_SHIFT + 1), repeat=2):
        here = np.flatnonzero((top == i) & (left == j))
        result[here] = padded[here, i : i + height, j : j + width]
    result[is_mirrored] = result[is_mirrored, :, ::-1]
    return result

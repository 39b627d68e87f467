"""Images of a training: fixed splits, and epochs that depend on the seed alone."""

import numpy as np
import pytest

from keras_bn4.experiments.reproduction import images
from keras_bn4.experiments.reproduction.settings import Settings

SETTINGS = Settings(
    dataset="digits", train_images=100, validation_images=50, batch_size=16
)


@pytest.fixture(scope="module")
def train():
    return images.splits("digits", 100, 50)[0]


def rows(x):
    return {image.tobytes() for image in x}


def test_splits_are_disjoint_balanced_and_fixed():
    train, validation, test = images.splits("digits", 100, 50)
    assert np.bincount(train[1]).tolist() == [10] * 10
    assert np.bincount(validation[1]).tolist() == [5] * 10
    assert len(test[1]) == 799
    assert not rows(train[0]) & rows(validation[0])
    assert not rows(test[0]) & (rows(train[0]) | rows(validation[0]))
    more, same, _ = images.splits("digits", 120, 50)
    np.testing.assert_array_equal(same[0], validation[0])
    assert rows(train[0]) < rows(more[0])


def test_halves_have_the_images_of_their_classes_alone():
    whole = images.splits("digits", 100, 50)
    for half, labels in (("first half", range(5)), ("second half", range(5, 10))):
        found = images.splits("digits", 50, 25, classes=half)
        assert np.bincount(found[0][1]).tolist() == [10] * 5
        assert np.bincount(found[1][1]).tolist() == [5] * 5
        assert not rows(found[0][0]) & rows(found[1][0])
        # The test images are all of them, in the same order.
        x, y = whole[2]
        kept = np.isin(y, labels)
        np.testing.assert_array_equal(found[2][0], x[kept])
        np.testing.assert_array_equal(found[2][1] + labels[0], y[kept])


@pytest.mark.parametrize(
    ("train_images", "validation_images", "message"),
    [
        (105, 50, "train_images=105"),
        (100, 51, "validation_images=51"),
        (150, 100, "rarest class"),
    ],
)
def test_impossible_splits(train_images, validation_images, message):
    with pytest.raises(ValueError, match=message):
        images.splits("digits", train_images, validation_images)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"classes_per_batch": 4},
        {"classes_per_batch": 4, "order_in_batch": "by class"},
    ],
    ids=["all classes", "four classes", "by class"],
)
def test_epochs_depend_on_the_seed_and_their_number_alone(changes, train):
    settings = SETTINGS.replace(**changes)
    first, second = (images.epoch(*train, settings, i) for i in (0, 1))
    again = images.epoch(*train, settings, 1)
    for one, other in zip(second, again):
        np.testing.assert_array_equal(one, other)
    assert first[0].shape == (96, 8, 8, 1)
    assert first[1].shape == (96,)
    assert (first[1] != second[1]).any()
    other_seed = images.epoch(*train, settings.replace(seed=1), 0)
    assert (first[1] != other_seed[1]).any()


def test_how_layers_normalize_does_not_change_the_images(train):
    one, other = (
        images.epoch(*train, SETTINGS.replace(ghost_batch_size=size), 3)
        for size in (4, None)
    )
    np.testing.assert_array_equal(one[0], other[0])
    # Another minibatch size has the same order.
    other = images.epoch(*train, SETTINGS.replace(batch_size=2), 3)
    np.testing.assert_array_equal(one[1], other[1][:96])


def test_an_epoch_has_each_image_at_most_once(train):
    settings = SETTINGS.replace(augmentation="none")
    x, _ = images.epoch(*train, settings, 0)
    assert len(rows(x)) == 96
    assert rows(x) < rows(train[0])


def test_minibatches_of_few_classes(train):
    settings = SETTINGS.replace(classes_per_batch=4)
    for order in ("shuffled", "by class"):
        _, y = images.epoch(*train, settings.replace(order_in_batch=order), 0)
        batches = y.reshape(-1, 16)
        assert all(len(np.unique(batch)) <= 4 for batch in batches)
        is_sorted = [bool((np.diff(batch) >= 0).all()) for batch in batches]
        assert all(is_sorted) if order == "by class" else not any(is_sorted)


def test_images_of_statistics():
    train, _, test = images.splits("digits", 100, 50)
    found = {
        name: images.of_statistics(train, test, SETTINGS, name)
        for name in (
            *("training images", "augmented training images"),
            *("test images", "augmented test images"),
        )
    }
    assert rows(found["training images"]) < rows(train[0])
    np.testing.assert_array_equal(found["test images"], test[0])
    for name in ("training images", "test images"):
        plain, augmented = found[name], found[f"augmented {name}"]
        assert plain.shape == augmented.shape
        # Of the same images: some of them are shifted by 0 and not mirrored.
        same = (plain == augmented).all((1, 2, 3))
        assert 0 < same.sum() < 0.2 * len(same)
    again = images.of_statistics(train, test, SETTINGS, "augmented test images")
    np.testing.assert_array_equal(again, found["augmented test images"])
    later = images.epoch(*train, SETTINGS, SETTINGS.epochs)[0]
    np.testing.assert_array_equal(found["augmented training images"], later)


def test_crops_and_flips_are_those_of_a_loop(rng):
    x = rng.integers(0, 256, (40, 6, 7, 3)).astype("uint8")
    found = images.crop_and_flip(x, np.random.default_rng(5))
    assert found.dtype == "uint8"
    shifts, flips = set(), set()
    for image, result in zip(x, found):
        padded = np.full((14, 15, 3), 128, "uint8")
        padded[4:10, 4:11] = image
        matches = [
            (top, left, flip)
            for top in range(9)
            for left in range(9)
            for flip in (1, -1)
            if (padded[top : top + 6, left : left + 7][:, ::flip] == result).all()
        ]
        assert len(matches) == 1
        shifts |= {matches[0][0], 10 + matches[0][1]}
        flips.add(matches[0][2])
    assert flips == {1, -1}
    assert len(shifts) > 12

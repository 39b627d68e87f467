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


@pytest.mark.parametrize(("half", "first"), [("first half", 0), ("second half", 5)])
def test_a_half_has_the_images_of_its_classes_alone(half, first):
    (_, y), (_, y_validation), test = images.splits("digits", 50, 25, classes=half)
    assert np.bincount(y).tolist() == [10] * 5
    assert np.bincount(y_validation).tolist() == [5] * 5
    # The test images are all of them, in the same order.
    x, y = images.splits("digits", 100, 50)[2]
    kept = y // 5 == first // 5
    np.testing.assert_array_equal(test[0], x[kept])
    np.testing.assert_array_equal(test[1] + first, y[kept])


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
    "changes", [{}, {"classes_per_batch": 4, "order_in_batch": "by class"}], ids=str
)
def test_epochs_depend_on_the_seed_and_their_number_alone(changes, train):
    settings = SETTINGS.replace(**changes)
    first, second = (images.epoch(*train, settings, i) for i in (0, 1))
    assert first[0].shape == (96, 8, 8, 1)
    assert (first[1] != second[1]).any()
    assert (first[1] != images.epoch(*train, settings.replace(seed=1), 0)[1]).any()
    # Neither on how layers normalize.
    again = images.epoch(*train, settings.replace(ghost_batch_size=4), 1)
    for one, other in zip(second, again):
        np.testing.assert_array_equal(one, other)


def test_an_epoch_has_each_image_at_most_once_in_an_order_for_all_batch_sizes(train):
    settings = SETTINGS.replace(augmentation="none")
    x, _ = images.epoch(*train, settings, 0)
    assert len(rows(x)) == 96
    assert rows(x) < rows(train[0])
    smaller, _ = images.epoch(*train, settings.replace(batch_size=2), 0)
    np.testing.assert_array_equal(x, smaller[:96])


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

    def found(name):
        return images.of_statistics(train, test, SETTINGS, name)

    assert rows(found("training images")) < rows(train[0])
    np.testing.assert_array_equal(found("test images"), test[0])
    later, _ = images.epoch(*train, SETTINGS, SETTINGS.epochs)
    np.testing.assert_array_equal(found("augmented training images"), later)
    for name in ("training images", "test images"):
        # Of the same images: some of them are shifted by 0 and not mirrored.
        same = (found(name) == found(f"augmented {name}")).all((1, 2, 3))
        assert 0 < same.sum() < 0.2 * len(same)


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

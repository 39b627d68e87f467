import keras
import numpy as np
import pytest

from keras_bn4.datasets import load, non_iid_batches


def numbered(n=40, classes=5):
    return np.arange(n), np.arange(n) % classes


@pytest.mark.parametrize("classes_per_batch", [1, 2, 4])
def test_batches_hold_few_classes(classes_per_batch):
    x, y = numbered()
    dataset = non_iid_batches(x, y, 8, classes_per_batch=classes_per_batch, batches=50)
    assert len(dataset) == 50
    seen = []
    for images, labels in dataset:
        np.testing.assert_array_equal(y[images], labels)
        values, counts = np.unique(labels, return_counts=True)
        assert len(labels) == 8
        assert len(values) <= classes_per_batch
        # With replacement: a class drawn twice has two shares.
        assert not (counts % (8 // classes_per_batch)).any()
        seen.extend(images)
    assert set(seen) == set(x)


@pytest.mark.parametrize("classes_per_batch", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [10, 20, 40])
def test_examples_repeat_only_when_a_class_is_used_up(batch_size, classes_per_batch):
    x, y = numbered()  # eight of each class
    dataset = non_iid_batches(
        x, y, batch_size, classes_per_batch=classes_per_batch, batches=20
    )
    for images, labels in dataset:
        for label in np.unique(labels):
            of_class = images[labels == label]
            counts = np.unique(of_class, return_counts=True)[1]
            # Also where a class is drawn several times.
            assert len(counts) == min(len(of_class), 8)
            assert counts.max() - counts.min() <= 1


def test_order_within_a_batch_mixes_the_classes():
    x, y = numbered()
    dataset = non_iid_batches(x, y, 16, classes_per_batch=4, batches=20)
    halves = [len(np.unique(labels[:8])) for _, labels in dataset]
    assert np.mean(halves) > 2.2


def test_the_seed_decides_and_epochs_differ():
    x, y = numbered()

    def draw(dataset):
        return np.concatenate([images for images, _ in dataset])

    first, same = (non_iid_batches(x, y, 8, seed=3) for _ in range(2))
    assert len(first) == 5
    np.testing.assert_array_equal(draw(first), draw(same))
    assert (draw(first) != draw(non_iid_batches(x, y, 8, seed=4))).any()
    before = draw(first)
    first.on_epoch_end()
    assert (draw(first) != before).any()


def test_fit_takes_the_batches():
    x, y = load("digits", "train")
    dataset = non_iid_batches(x, y[:, None], 16, batches=3)
    assert all(len(np.unique(labels)) == 1 for _, labels in dataset)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(dataset, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert dataset.epoch >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[
            ({"batch_size": x}, "`batch_size` must be an in")
            for x in (0, 2.5, True, "a")
        ],
        ({"classes_per_batch": 0}, "`classes_per_batch` must be an integer from 1"),
        ({"classes_per_batch": 3}, "must divide `batch_size`"),
        ({"classes_per_batch": 8}, "number of classes, 5"),
        *[({"batches": x}, "`batches` must be an integer from 1") for x in (0, 2.5)],
        *[({"seed": x}, "`seed` must be an integer from 0") for x in (-1, "a")],
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "at least one"),
        ({"x": np.zeros((3, 2))}, "one class label for each example"),
        ({"y": np.eye(40)}, r"one class label.*y.shape=\(40, 40\)"),
        ({"y": 3}, "one class label for each example"),
        ({"y": np.full(40, np.nan)}, "must not be NaN.*40 of 40"),
    ],
)
def test_bad_batches(arguments, message):
    x, y = numbered()
    with pytest.raises(ValueError, match=message):
        non_iid_batches(**{"x": x, "y": y, "batch_size": 8, **arguments})

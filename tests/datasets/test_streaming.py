import keras
import numpy as np
import pytest
from dataset_helpers import prepare

from keras_bn4.datasets import load, stream


def arrays(dataset):
    x, y = zip(*dataset.as_numpy_iterator())
    return np.concatenate(x), np.concatenate(y)


@pytest.mark.parametrize("image_size", [None, (5, 8)])
def test_the_images_are_those_of_load(tfds, tiny, tmp_path, image_size):
    if image_size:
        prepare(tfds, tmp_path, size=None)
    folder = tmp_path if image_size else tiny
    where = {"data_dir": folder, "image_size": image_size}
    dataset = stream("tiny", "train[:25%]+test", batch_size=4, **where)
    assert len(dataset) == 3
    assert [len(y) for _, y in dataset.as_numpy_iterator()] == [4, 4, 2]
    x, y = arrays(dataset)
    expected = load("tiny", "train[:25%]+test", **where)
    np.testing.assert_array_equal(x, expected[0])
    np.testing.assert_array_equal(y, expected[1])
    assert (x.dtype, y.dtype) == ("uint8", "int64")


def test_the_seed_decides_and_epochs_differ(tiny):
    def epochs(seed):
        dataset = stream("tiny", "train", batch_size=5, seed=seed, data_dir=tiny)
        assert len(dataset) == 3
        return [arrays(dataset) for _ in range(2)]

    stored = load("tiny", "train", data_dir=tiny)
    orders = []
    for x, y in [*epochs(0), *epochs(0), *epochs(1)]:
        # The images are all different, so that they show where each one comes from.
        same = (x[:, None] == stored[0][None]).all((2, 3, 4))
        order = same.argmax(1)
        np.testing.assert_array_equal(np.sort(order), np.arange(12))
        np.testing.assert_array_equal(y, stored[1][order])
        orders.append(tuple(order))
    assert orders[:2] == orders[2:4]
    assert len({tuple(range(12)), orders[0], orders[1], *orders[4:]}) == 5


def test_fit_takes_the_minibatches(tiny):
    dataset = stream("tiny", "train", batch_size=4, seed=0, data_dir=tiny)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(dataset, epochs=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": ["train"]}, "`split` must be a string"),
        ({"split": "tset"}, "Unknown split 'tset'"),
        ({"name": "digits"}, "fits into memory.*`load`"),
        ({"batch_size": 0}, "`batch_size` must be an integer from 1"),
        ({"seed": -1}, "`seed` must be an integer from 0"),
        ({"data_dir": 3}, "`data_dir` must be the path"),
        ({"download": "no"}, "`download` must be True or False"),
    ],
)
def test_bad_arguments(tiny, arguments, message):
    good = {"name": "tiny", "split": "train", "batch_size": 2, "data_dir": tiny}
    with pytest.raises(ValueError, match=message):
        stream(**{**good, **arguments})

"""Data sets of tensorflow-datasets as arrays."""

import numpy as np
import pytest
from dataset_helpers import TFDS, prepare, real_cifar100

from keras_bn4.datasets import load


def test_tensorflow_datasets_files(tfds, tiny):
    x, y = load("tiny", "train", data_dir=tiny)
    assert (x.shape, x.dtype) == ((12, 6, 4, 3), "uint8")
    assert (y.shape, y.dtype) == ((12,), "int64")
    expected = list(tfds.as_numpy(tfds.load("tiny", split="train", data_dir=tiny)))
    np.testing.assert_array_equal(x, [example["image"] for example in expected])
    np.testing.assert_array_equal(y, [example["label"] for example in expected])
    head, tail = load("tiny", ("train[:25%]", "train[25%:]"), data_dir=str(tiny))
    np.testing.assert_array_equal(np.concatenate([head[0], tail[0]]), x)
    assert len(load("tiny", "train+test", data_dir=tiny)[1]) == 19


def test_images_of_different_sizes_are_resized(tfds, tmp_path):
    prepare(tfds, tmp_path, size=None)
    with pytest.raises(ValueError, match=r"image_size=\(height, width\)"):
        load("tiny", "test", data_dir=tmp_path)
    x, y = load("tiny", "test", data_dir=tmp_path, image_size=(5, 8))
    assert (x.shape, x.dtype, len(y)) == ((7, 5, 8, 3), "uint8", 7)
    stored = tfds.load("tiny", split="test[:1]", data_dir=tmp_path, batch_size=-1)
    image = np.asarray(stored["image"])
    same = load("tiny", "test[:1]", data_dir=tmp_path, image_size=image.shape[1:3])
    np.testing.assert_array_equal(same[0], image)


@real_cifar100
def test_cifar100(tfds):
    splits = ("test[:20%]", "test[99%:]")
    (x, y), (rest, _) = load("cifar100", splits, data_dir=str(TFDS))
    assert (len(x), x.dtype, rest.shape) == (2000, "uint8", (100, 32, 32, 3))
    assert (x.min(), x.max(), y.min(), y.max()) == (0, 255, 0, 99)
    with pytest.raises(ValueError, match=r"\['train', 'test'\]"):
        load("cifar100", "validation", data_dir=str(TFDS))

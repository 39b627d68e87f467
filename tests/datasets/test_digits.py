import numpy as np
import pytest

from keras_bn4.datasets import load


def test_digits():
    pairs = load("digits", ("train", "validation", "test"))
    assert [x.shape for x, _ in pairs] == [(n, 8, 8, 1) for n in (200, 798, 799)]
    for x, y in pairs:
        assert (x.dtype, y.dtype) == ("uint8", "int64")
        assert (x.min(), x.max()) == (0, 16)
        share = np.bincount(y, minlength=10) / len(y)
        assert np.abs(share - 0.1).max() < 0.01
    again = load("digits", "validation")
    np.testing.assert_array_equal(again[0], pairs[1][0])
    np.testing.assert_array_equal(again[1], pairs[1][1])


def test_digits_splits_share_nothing():
    from sklearn.datasets import load_digits

    pairs = load("digits", ["train", "validation", "test"])
    together = np.concatenate([x for x, _ in pairs]).reshape(1797, 64)
    original = load_digits().data
    np.testing.assert_array_equal(
        together[np.lexsort(together.T)], original[np.lexsort(original.T)]
    )


def test_digits_errors():
    with pytest.raises(ValueError, match=r"'tset'.*\['train', 'validation', 'test'\]"):
        load("digits", "tset")
    with pytest.raises(ValueError, match="8 by 8"):
        load("digits", "test", image_size=(16, 16))

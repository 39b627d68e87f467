import numpy as np
import pytest

from keras_bn4.datasets import load


def test_digits():
    from sklearn.datasets import load_digits

    pairs = load("digits", ("train", "validation", "test"))
    assert [x.shape for x, _ in pairs] == [(n, 8, 8, 1) for n in (200, 798, 799)]
    for x, y in pairs:
        assert (x.dtype, y.dtype) == ("uint8", "int64")
        assert (x.min(), x.max()) == (0, 16)
        share = np.bincount(y, minlength=10) / len(y)
        assert np.abs(share - 0.1).max() < 0.01
    for again, expected in zip(load("digits", "validation"), pairs[1]):
        np.testing.assert_array_equal(again, expected)
    # Each image is in one split.
    together = np.concatenate([x for x, _ in pairs]).reshape(1797, 64)
    original = load_digits().data
    np.testing.assert_array_equal(
        together[np.lexsort(together.T)], original[np.lexsort(original.T)]
    )


@pytest.mark.parametrize(
    ("split", "arguments", "message"),
    [
        ("tset", {}, r"'tset'.*\['train', 'validation', 'test'\]"),
        ("train[:9]", {}, "Unknown split"),
        *[(x, {}, "`split` must be a str") for x in (None, 3, (), [], ["train", 1])],
        ("test", {"image_size": (16, 16)}, "8 by 8.*Leave out"),
        ("test", {"download": "no"}, "`download` must be True or False"),
        *[("test", {"data_dir": x}, "`data_dir` must be the path") for x in (3, "")],
    ],
)
def test_digits_errors(split, arguments, message):
    with pytest.raises(ValueError, match=message):
        load("digits", split, **arguments)

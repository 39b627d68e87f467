import re

import numpy as np
import pytest

from keras_bn4.datasets.array_files import is_file, load_arrays


def test_names_of_files():
    assert is_file("folder/data.npz")
    assert not is_file("cifar100")


def test_arrays_come_back(tmp_path, rng):
    path = str(tmp_path / "data.npz")
    x, y = rng.normal(size=(3, 2)), np.array([0, 1, 0])
    np.savez(path, x=x, y=y, others=1)
    for found, expected in zip(load_arrays(path), (x, y)):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [1.0]}, r"must hold arrays 'x' and 'y'.*holds \['x'\]"),
        ({"x": [1.0, 2.0], "y": [1]}, r"equally many.*x.shape=\(2,\), y.shape=\(1,\)"),
        ({"x": [], "y": []}, "at least one"),
        ({"x": 1.0, "y": 1}, r"x.shape=\(\)"),
        ({"x": [1.0], "y": ["a"]}, "numbers in 'y'.*dtype <U1"),
        ({"x": [1.0], "y": [None]}, "Object arrays cannot be loaded"),
    ],
)
def test_other_arrays_are_refused(arrays, message, tmp_path):
    path = str(tmp_path / "data.npz")
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"(?s){re.escape(path)}.*{message}"):
        load_arrays(path)


@pytest.mark.parametrize(
    "content", [None, b"", b"PK\x03\x04 cut off", b"text", "a single array"]
)
def test_what_is_no_file_of_arrays(content, tmp_path):
    path = tmp_path / "data.npz"
    if content == "a single array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    elif content is not None:
        path.write_bytes(content)
    reason = content if isinstance(content, str) else ""
    with pytest.raises(
        ValueError, match=f"Cannot read {re.escape(str(path))}: .*{reason}"
    ):
        load_arrays(str(path))

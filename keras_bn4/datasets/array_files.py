"""Data sets in `.npz` files, as `numpy.savez(path, x=x, y=y)` writes them."""

import zipfile
import zlib

import numpy as np


def is_file(name):
    """Whether a data set is a file with arrays."""
    return name.endswith(".npz")


def load_arrays(name):
    """Reads the arrays x and y of an `.npz` file: examples, and their labels."""
    try:
        # `np.load` of a path leaves a broken file open.
        with open(name, "rb") as raw:
            file = np.load(raw)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            with file:
                arrays = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"Cannot read {name}: {error}.") from error
    if not {"x", "y"} <= set(arrays):
        raise ValueError(
            f"{name} must hold arrays 'x' and 'y', as "
            f"`numpy.savez(path, x=x, y=y)` writes them. It holds {sorted(arrays)}."
        )
    x, y = arrays["x"], arrays["y"]
    shapes = f"x.shape={x.shape}, y.shape={y.shape}"
    if not x.ndim or not y.ndim or len(x) != len(y) or not len(x):
        raise ValueError(
            f"{name} must hold equally many examples in 'x' and labels in 'y', at "
            f"least one, along their first axes. It holds {shapes}."
        )
    for key, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must hold numbers in '{key}'. It holds an array of dtype "
                f"{array.dtype}."
            )
    return x, y

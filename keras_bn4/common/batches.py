"""Batches of arrays, data sets and iterables."""

import math

import keras
import numpy as np
from keras import ops, tree

from keras_bn4.common.arguments import check_integer

NO_END = "The data set has no end. Say how many batches to use with `steps`."


def iterate(x, y=None, sample_weight=None, batch_size=None, steps=None):
    """Cuts data into batches, as `keras.Model.evaluate` does.

    Args:
        x: Arrays (one, or a nest of them) with the examples along the first axis, or a
            `keras.utils.PyDataset`, or an iterable of batches `(x, y)` or
            `(x, y, sample_weight)` such as a `tf.data.Dataset`.
        y: Labels. Only used if `x` is arrays.
        sample_weight: Weights of the examples. Only used if `x` is arrays.
        batch_size: Positive integer, or `None` for 32. Only used if `x` is arrays.
        steps: Positive integer, the number of batches, or `None` for all.

    Returns:
        A pair of an iterator of tuples `(x, y, sample_weight)` and the number of
        batches, or `None` if it is not known beforehand.

    Raises:
        ValueError: if an argument is not as above, or if `steps` is missing and the
            data have no end. Empty data are not an error.
    """
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None:
            check_integer(name, value)
    if are_arrays(x):
        iterator, count = _array_batches(x, y, sample_weight, batch_size or 32)
    else:
        given = {"y": y, "sample_weight": sample_weight, "batch_size": batch_size}
        given = [name for name, value in given.items() if value is not None]
        if given:
            raise ValueError(
                f"Arguments {given} can only be used with arrays. A data set of type "
                f"{type(x).__name__} must have them in its batches, `(x, y)` or "
                "`(x, y, sample_weight)`."
            )
        check_data(x)
        iterator, count = _data_set_batches(x)
    if steps is not None:
        count = steps if count is None else min(steps, count)
    elif count == math.inf:
        raise ValueError(NO_END)

    def limited():
        # `zip` asks the range first, so that no batch is read beyond `steps`.
        for _, batch in zip(range(steps) if steps else iter(int, 1), iterator):
            yield batch

    return limited(), count


def are_arrays(data):
    """Whether data are arrays (one, or a nest of them), and not batches of arrays."""
    return all(hasattr(leaf, "shape") for leaf in tree.flatten(data))


def check_data(x):
    """Raises `ValueError` for what can be neither arrays nor an iterable of batches."""
    is_iterable = hasattr(x, "__iter__") or hasattr(x, "__getitem__")
    if not is_iterable or isinstance(x, (str, bytes)):
        raise ValueError(
            "Expected arrays, a tf.data.Dataset, a keras.utils.PyDataset or an "
            f"iterable of batches. Received: x={x!r}."
        )


def check_repeatable(name, data, steps=None):
    """Raises `ValueError` for an iterator, which is exhausted after one pass.

    Args:
        name: String, the name that the message gives to the data.
        data: Data as `iterate` takes them, or a tuple of such.
        steps: Positive integer, how many batches are read each time. An iterator is
            expected to have no end then. `None` for all batches.
    """
    if steps is None and any(hasattr(x, "__next__") for x in tree.flatten(data)):
        raise ValueError(
            f"Argument `{name}` is an iterator, which is exhausted after one pass, and "
            "these data are read several times. Give arrays, a tf.data.Dataset or a "
            "keras.utils.PyDataset; or, if it has no end, how many batches to use each "
            f"time. Received: {name}={data!r}."
        )


def check_examples(**data):
    """Raises `ValueError` unless these are arrays of equally many examples.

    Args:
        **data: Arrays, or nests of them, by the names that messages give them. `None`
            is left out.
    """
    sizes = {}
    for name, nest in data.items():
        for leaf in tree.flatten(nest):
            if leaf is None:
                continue
            if not hasattr(leaf, "shape"):
                raise ValueError(
                    f"Argument `{name}` must be an array, or a nest of arrays where a "
                    f"model has several, and holds {leaf!r} of type "
                    f"{type(leaf).__name__}. Make it an array: `numpy.asarray({name})`."
                )
            if len(leaf.shape) == 0:
                raise ValueError(
                    f"Argument `{name}` must have the examples along its first axis, "
                    f"and is a single number. Received: {name}={leaf!r}."
                )
            sizes[name, leaf.shape[0]] = None
    if len({size for _, size in sizes}) > 1:
        received = ", ".join(f"{size} in `{name}`" for name, size in sizes)
        raise ValueError(
            "All arrays must have the same number of examples along their first axis. "
            f"Received: {received}."
        )


def split(x, y, sample_weight, validation_split):
    """Cuts arrays as `keras.Model.fit` does: the last examples are for validation.

    Args:
        x, y, sample_weight: Arrays or nests of them, or `None`.
        validation_split: Float between 0 and 1, the share for validation.

    Returns:
        A pair of tuples `(x, y, sample_weight)`, for training and for validation.

    Raises:
        ValueError: if a part would have no examples.
    """
    data = _as_arrays((x, y, sample_weight))
    n = tree.flatten(x)[0].shape[0]
    at = math.floor(n * (1 - validation_split))
    if not 0 < at < n:
        raise ValueError(
            f"A `validation_split` of {validation_split} of {n} examples leaves {at} "
            f"to train and {n - at} to validate. Give a fraction that leaves both."
        )
    return _rows(data, slice(None, at)), _rows(data, slice(at, None))


def _array_batches(x, y, sample_weight, batch_size):
    data = _as_arrays((x, y, sample_weight))
    x, y, sample_weight = data
    check_examples(x=x, y=y, sample_weight=sample_weight)
    sizes = {leaf.shape[0] for leaf in tree.flatten(data) if leaf is not None}
    if not sizes:
        return iter(()), 0
    (n,) = sizes

    def iterator():
        for start in range(0, n, batch_size):
            yield _rows(data, slice(start, start + batch_size))

    return iterator(), math.ceil(n / batch_size)


def _rows(data, rows):
    return tree.map_structure(lambda leaf: None if leaf is None else leaf[rows], data)


def _as_arrays(data):
    """Converts leaves to NumPy arrays, except `None` and tensors of the backend."""
    return tree.map_structure(
        lambda leaf: leaf if leaf is None or ops.is_tensor(leaf) else np.asarray(leaf),
        data,
    )


def _data_set_batches(data_set):
    def unpack(batch):
        return _as_arrays(keras.utils.unpack_x_y_sample_weight(batch))

    if isinstance(data_set, keras.utils.PyDataset):
        count = data_set.num_batches
        indices = iter(int, 1) if count is None else range(count)
        iterator = (unpack(data_set[i]) for i in indices)
        return iterator, math.inf if count is None else count
    iterator = (unpack(batch) for batch in data_set)
    if hasattr(data_set, "cardinality"):
        cardinality = int(data_set.cardinality())
        # tf.data returns -1 for an endless data set, and -2 if it does not know.
        return iterator, {-1: math.inf, -2: None}.get(cardinality, cardinality)
    try:
        return iterator, len(data_set)
    except TypeError:
        # Some have a `__len__` that raises this, such as PyTorch's loaders of streams.
        return iterator, None

"""How a batch is cut: always as `numpy.array_split` cuts."""

import keras
import numpy as np
import pytest
import reference
from helpers import array

from keras_bn4.layers import ghosts

MOST = 33  # examples
SIZES = [None, 1, 2, 3, 4, 5, 7, 16, 100]


def split(n, ghost_batch_size):
    """The examples of each ghost, by `numpy.array_split`."""
    k = 1 if ghost_batch_size is None else max(1, n // ghost_batch_size)
    return np.array_split(np.arange(n), k)


def integers(x):
    return keras.ops.convert_to_tensor(np.asarray(x, "int32"))


@pytest.mark.parametrize("n", [1, 7, 12, 13])
@pytest.mark.parametrize("ghost_batch_size", [None, 1, 2, 3, 5, 16])
def test_reference_cuts_as_array_split(n, ghost_batch_size):
    expected = [list(part) for part in split(n, ghost_batch_size)]
    assert reference.ghosts(n, ghost_batch_size) == expected


@pytest.mark.parametrize("ghost_batch_size", SIZES)
def test_of_a_known_batch(ghost_batch_size):
    for n in range(MOST + 1):
        expected = split(n, ghost_batch_size)
        cut = ghosts.cut(n, ghost_batch_size)
        assert all(isinstance(number, int) for number in cut)
        assert cut.ghosts == len(expected)
        numbers = range(cut.ghosts)
        assert [cut.size_of(i) for i in numbers] == [len(part) for part in expected]
        for i, part in zip(numbers, expected):
            np.testing.assert_array_equal(np.arange(n)[cut.rows(i)], part)
        check_runs(cut, expected)


@pytest.mark.parametrize("ghost_batch_size", SIZES)
@pytest.mark.parametrize("n", [0, 1, 5, 12, 13, MOST])
def test_of_a_batch_of_unknown_size(n, ghost_batch_size):
    expected = split(n, ghost_batch_size)
    cut = ghosts.cut(integers(n), ghost_batch_size)
    assert int(cut.ghosts) == len(expected)
    for i, part in enumerate(expected):
        for ghost in (i, integers(i)):
            rows = cut.rows(ghost)
            rows = slice(int(rows.start), int(rows.stop))
            np.testing.assert_array_equal(np.arange(n)[rows], part)
    check_runs(cut, expected)


def check_runs(cut, expected):
    """Compares what a cut says of all ghosts at once."""
    sizes = [len(part) for part in expected]
    runs = [(int(number), int(size)) for number, size in cut.runs]
    assert [size for number, size in runs for _ in range(number)] == sizes
    assert int(cut.end_of_longer) == runs[0][0] * runs[0][1]
    # More than there are, because JAX compiles for every length.
    numbers = integers(range(MOST + 1))
    np.testing.assert_array_equal(array(cut.size_of(numbers))[: len(sizes)], sizes)
    np.testing.assert_array_equal(
        array(cut.ghost_of(numbers))[: sum(sizes)],
        np.repeat(np.arange(len(sizes)), sizes),
    )


@pytest.mark.parametrize("ghost_batch_size", SIZES)
def test_number_of_equal_ghosts(ghost_batch_size):
    for n in range(1, MOST + 1):
        sizes = {len(part) for part in split(n, ghost_batch_size)}
        expected = len(split(n, ghost_batch_size)) if len(sizes) == 1 else None
        assert ghosts.number_of_equal_ghosts(n, ghost_batch_size) == expected
    for n in (None, 0):
        assert ghosts.number_of_equal_ghosts(n, ghost_batch_size) is None

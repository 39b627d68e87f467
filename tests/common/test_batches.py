"""Data sets of every kind are tested where they are used, in the tests of the sweep."""

import numpy as np

from keras_bn4.common.batches import iterate, split


def test_arrays_are_cut_as_evaluate_cuts_them():
    x, y = np.arange(10)[:, None], np.arange(10)
    batches, count = iterate({"a": x, "b": 2 * x}, y, batch_size=4)
    batches = list(batches)
    assert count == len(batches) == 3
    assert [len(batch[1]) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(batches[2][0]["b"], 2 * x[8:])
    assert batches[0][2] is None


def test_steps_end_an_endless_iterable():
    def endless():
        while True:
            yield np.zeros((2, 1)), np.zeros(2)

    batches, count = iterate(endless(), steps=3)
    assert len(list(batches)) == count == 3


def test_a_length_that_is_not_known():
    class Stream(list):
        def __len__(self):
            raise TypeError("object of type 'Stream' has no len()")

    batches, count = iterate(Stream([(np.zeros((2, 1)), np.zeros(2))]))
    assert count is None
    assert sum(1 for _ in batches) == 1


def test_the_last_examples_are_for_validation():
    x = np.arange(10)
    (train, _, _), (validation, _, _) = split(x, None, None, 0.25)
    np.testing.assert_array_equal(train, x[:7])
    np.testing.assert_array_equal(validation, x[7:])

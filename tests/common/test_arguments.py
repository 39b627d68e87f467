"""What is accepted. What is not is in `test_wrong_use.py`."""

import numpy as np
import pytest

from keras_bn4.common import arguments


def test_integers_of_numpy_become_integers():
    assert type(arguments.check_integer("steps", np.int64(3))) is int
    assert arguments.check_integer("seed", 0, least=0) == 0


@pytest.mark.parametrize(
    ("channels", "expected"), [([12, 18], [1, 2, 3, 6]), ([7], [1, 7]), ([3, 4], [1])]
)
def test_common_divisors(channels, expected):
    assert arguments.common_divisors(channels) == expected


@pytest.mark.parametrize("value", [True, False, 0, 1, np.True_])
def test_flags(value):
    assert arguments.check_flag("flag", value) is value


@pytest.mark.parametrize("value", [0, 1, 2, True, "auto"])
def test_verbose(value):
    arguments.check_verbose(value)

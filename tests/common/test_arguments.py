import numpy as np
import pytest

from keras_bn4.common import arguments


@pytest.mark.parametrize("value", [2.5, "3", True, None, 0])
def test_what_is_no_positive_integer_is_named(value):
    with pytest.raises(ValueError, match=r"`steps`.*from 1 upwards") as error:
        arguments.check_integer("steps", value)
    assert f"steps={value!r}" in str(error.value)


def test_integers_of_numpy_become_integers():
    assert type(arguments.check_integer("steps", np.int64(3))) is int
    assert arguments.check_integer("seed", 0, least=0) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, None])
def test_what_is_no_finite_number_is_named(value):
    with pytest.raises(ValueError, match=r"`center`.*finite number"):
        arguments.check_number("center", value)


def test_negative_numbers_are_refused_where_they_have_no_meaning():
    with pytest.raises(ValueError, match=r"`l2`.*non-negative"):
        arguments.check_number("l2", -0.1, least=0)
    assert arguments.check_number("center", -2) == -2.0


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

"""The pictures on the pages: readable, small, and on their pages."""

import pathlib

import pytest

import keras_bn4
from keras_bn4.experiments import method_pictures

pytest.importorskip("matplotlib")

from figure_helpers import assert_readable


@pytest.mark.parametrize("name", method_pictures.PICTURES)
def test_pictures_are_readable_and_on_their_pages(name):
    assert_readable(method_pictures.PICTURES[name]())
    file = pathlib.Path(keras_bn4.__file__).parent / name
    assert file.stat().st_size < 60_000
    assert f"]({file.name})" in (file.parent / "README.md").read_text()


def test_the_mixture_is_that_of_equation_3():
    left, right = method_pictures.mixture().axes
    for line, weight in zip(left.lines, (0, 0.1, 0.3, 1)):
        assert line.get_label().startswith(f"α = {weight:g}")
        x, density = line.get_data()
        # E[x] and E[x²] are those of the mixture, as far as the tails are drawn.
        density = density / density.sum()
        second = weight * (0.16 + 2.5**2) + (1 - weight)
        assert (density * x).sum() == pytest.approx(2.5 * weight, abs=0.05)
        assert (density * x**2).sum() == pytest.approx(second, abs=0.3)
    variance, linear = (line.get_ydata() for line in right.lines)
    assert variance[[0, -1]] == pytest.approx([1, 0.16])
    assert (variance >= linear - 1e-9).all()

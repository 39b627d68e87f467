import sys

import pytest

from keras_bn4.common.figures import new_figure


def test_a_figure_has_the_size_that_was_asked_for():
    figure = new_figure(4.0, 3.0, dpi=50)
    assert tuple(figure.get_size_inches()) == (4.0, 3.0)
    assert figure.dpi == 50


def test_without_matplotlib_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "keras_bn4\[plot\]"'):
        new_figure(4, 3)

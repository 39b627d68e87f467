import itertools
import sys

import numpy as np
import pytest

from keras_bn4.common import figures
from keras_bn4.common.figures import COLORS, broken, new_figure, styled


def test_without_matplotlib_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (lambda: new_figure(4, 3), styled(lambda: None)):
        with pytest.raises(ImportError, match=r'pip install "keras_bn4\[plot\]"'):
            draw()


@styled
def some_figure():
    """A panel with all kinds of text."""
    figure = new_figure(3, 3)
    panel = figure.subplots()
    panel.plot([0, 1], label="line")
    panel.set_xlabel("x")
    panel.set_title("title")
    figure.legend(loc="outside lower left")
    return figure


def test_figures_look_the_same_whatever_the_style_of_the_program():
    matplotlib = pytest.importorskip("matplotlib")
    from figure_helpers import assert_readable

    expected = some_figure()
    assert_readable(expected)
    dark = {"text.color": "white", "axes.labelcolor": "white", "xtick.color": "white"}
    dark |= {"figure.facecolor": "black", "axes.facecolor": "black"}
    dark |= {"ytick.color": "white", "xtick.labelsize": 30, "legend.frameon": True}
    with matplotlib.rc_context(dark):
        before = dict(matplotlib.rcParams)
        figure = some_figure()
        assert dict(matplotlib.rcParams) == before
        # It is drawn where the other style is.
        assert_readable(figure)
        images = []
        for one in (expected, figure):
            canvas = matplotlib.backends.backend_agg.FigureCanvasAgg(one)
            canvas.draw()
            images.append(np.asarray(canvas.buffer_rgba()))
    assert np.array_equal(*images)


def test_a_plot_makes_no_window_of_pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    backend = matplotlib.rcParams._get("backend")
    some_figure()
    assert matplotlib.rcParams._get("backend") == backend


def test_lines_without_color_differ():
    # Neighbors, which are drawn together most often, differ in color or in dashes.
    pairs = list(zip(itertools.cycle(figures.LINES), COLORS))
    assert len(set(pairs)) == len(COLORS)
    for (first, _), (second, _) in itertools.pairwise(pairs):
        assert first != second


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("loss", ["loss"]),
        ("sparse_top_k_accuracy", ["sparse_", "top_k_", "accuracy"]),
        ("block/a_b/c", ["block/a_", "b/c"]),
        ("normalization", ["normali", "zation"]),
        ("__a", ["__a"]),
    ],
)
def test_long_names_are_broken_where_their_parts_end(name, lines):
    found = broken(name, 8)
    assert found.split("\n") == lines
    assert found.replace("\n", "") == name

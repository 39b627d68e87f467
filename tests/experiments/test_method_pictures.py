"""The pictures on the pages: right, readable, small, and on their pages."""

import pathlib

import numpy as np
import pytest

import keras_bn4
from keras_bn4.experiments import method_pictures

pytest.importorskip("matplotlib")

from figure_helpers import assert_readable, labels_of

ROOT = pathlib.Path(keras_bn4.__file__).parent


@pytest.mark.parametrize("name", method_pictures.PICTURES)
def test_pictures_are_readable_and_on_their_pages(name):
    assert_readable(method_pictures.PICTURES[name]())
    file = ROOT / name
    assert file.stat().st_size < 60_000
    assert f"]({file.name})" in (file.parent / "README.md").read_text()


def test_files_are_written_where_they_are(tmp_path):
    for name in method_pictures.PICTURES:
        (tmp_path / name).parent.mkdir()
    files = method_pictures.draw(tmp_path)
    assert [str(f.relative_to(tmp_path)) for f in files] == [*method_pictures.PICTURES]
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("ghost_batch_size", "groups", "first"),
    [
        (None, 8, (8, 1)),
        (3, 8, (4, 1)),
        (4, 4, (4, 2)),
        (1, 4, (1, 2)),
        (99, 1, (8, 8)),
    ],
)
def test_frames_cover_every_element_once(ghost_batch_size, groups, first):
    covered = np.zeros((method_pictures.EXAMPLES, method_pictures.CHANNELS))
    frames = method_pictures._frames(ghost_batch_size, groups)
    assert covered[frames[0]].shape == first
    for frame in frames:
        covered[frame] += 1
    assert (covered == 1).all()


def test_one_frame_of_each_kind_is_colored():
    panels = method_pictures.statistics().axes
    # All frames, and the colored one again.
    assert [len(panel.patches) for panel in panels] == [9, 17, 9, 33]


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
    assert variance.max() > 2


def test_kinds_of_paths_have_the_colors_that_the_legend_says():
    figure = method_pictures.paths()
    (panel,) = figure.axes
    drawn = {}
    for text in panel.texts:
        if text.get_text() == "norm":
            color = text.get_bbox_patch().get_facecolor()
            drawn[tuple(text.get_position())] = color[:3]
    # The last of the residual function and the shortcut before the output are open.
    places, kinds = method_pictures.PLACES, method_pictures.KINDS
    open_color = drawn[places["b2"]]
    assert drawn[places["shortcut"]] == open_color
    assert len(set(drawn.values())) == len(kinds) == 3
    assert drawn[places["stem"]] == drawn[places["a2"]]
    assert drawn[places["a1"]] == drawn[places["b1"]]
    assert len(labels_of(figure)) == 3

"""What holds for every figure of the package."""

import itertools

from matplotlib.colors import to_rgba

from keras_bn4.common.figures import STYLE


def texts_of(figure):
    """All texts that a figure shows."""
    found = [figure._suptitle, figure._supxlabel, figure._supylabel]
    for legend in legends_of(figure):
        found += legend.get_texts()
    for panel in figure.axes:
        if not panel.axison:
            continue
        found += [panel.title, panel._left_title, panel._right_title]
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            found.append(axis.label)
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high and tick.label1.get_visible():
                    found.append(tick.label1)
    return [text for text in found if text is not None and text.get_text()]


def legends_of(figure):
    """The legends of a figure, of its parts and of its panels."""
    found = [panel.get_legend() for panel in figure.axes]
    for part in (figure, *figure.subfigs):
        found += part.legends
    return [legend for legend in found if legend is not None]


def labels_of(figure):
    """The texts of all legends."""
    return [t.get_text() for legend in legends_of(figure) for t in legend.get_texts()]


def assert_readable(figure):
    """Nothing is cut off, no text is on another, and the style is that of all."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    whole = figure.get_tightbbox()
    assert whole.x0 >= -0.01, "cut on the left"
    assert whole.y0 >= -0.01, "cut below"
    assert whole.x1 <= width + 0.01, "cut on the right"
    assert whole.y1 <= height + 0.01, "cut above"
    texts = texts_of(figure)
    boxes = [text.get_window_extent() for text in texts]
    for (a, first), (b, second) in itertools.combinations(zip(texts, boxes), 2):
        # Boxes have some space around the letters.
        x = min(first.x1, second.x1) - max(first.x0, second.x0)
        y = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(x, y) < 1, (a.get_text(), b.get_text())
    assert to_rgba(figure.get_facecolor()) == (1, 1, 1, 1)
    for text in texts:
        # Dark on white.
        assert max(to_rgba(text.get_color())[:3]) < 0.5, text.get_text()
    for panel in figure.axes:
        if panel.axison:
            assert not panel.spines["top"].get_visible()
            assert not panel.spines["right"].get_visible()
            assert to_rgba(panel.get_facecolor()) == (1, 1, 1, 1)
        for label in (*panel.get_xticklabels(), *panel.get_yticklabels()):
            assert label.get_fontsize() == STYLE["xtick.labelsize"]
    for legend in legends_of(figure):
        assert not legend.get_frame_on()

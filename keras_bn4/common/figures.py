"""The style of all figures, and the figure that a plot is drawn in.

Functions that draw are decorated by `styled`, and get their figure from `new_figure`.
"""

import functools
import re

# Safe for color blindness, also in print and on dark pages (Okabe and Ito, 2008).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY_BLUE = COLORS
# Black is for what the rest is compared with, and gray for what explains.
BLACK, GRAY = "#000000", "0.35"
# So that lines differ in more than their color.
LINES = ("-", "--", "-.", ":")

# What differs from the defaults of matplotlib.
STYLE = {
    # Pages that are dark would swallow black text on a transparent figure.
    "figure.facecolor": "white",
    "savefig.transparent": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}


def styled(draw):
    """Decorates a function that draws, so that all figures have the same style.

    They have it whatever style the program has set in matplotlib.

    Raises:
        ImportError: if matplotlib is not installed.
    """

    @functools.wraps(draw)
    def draw_in_style(*arguments, **keywords):
        with _matplotlib().style.context(["default", STYLE]):
            return draw(*arguments, **keywords)

    return draw_in_style


def new_figure(width, height, dpi=150):
    """Makes an empty `matplotlib.figure.Figure`.

    Args:
        width, height: Floats, in inches.
        dpi: Integer, dots per inch.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    return _matplotlib().figure.Figure(
        figsize=(width, height), dpi=dpi, layout="constrained", facecolor="white"
    )


def broken(name, width):
    """A long name in lines of at most `width` characters, broken after `_` or `/`."""
    pieces = re.findall(rf"[^_/]{{1,{width - 1}}}[_/]*|[_/]+", name)
    lines = [""]
    for piece in pieces:
        if len(lines[-1]) + len(piece) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _matplotlib():
    try:
        import matplotlib.figure
        import matplotlib.style
    except ImportError as error:
        raise ImportError(
            'Plots need matplotlib: `pip install "keras_bn4[plot]"`.'
        ) from error
    return matplotlib

"""The figure that a plot is drawn in, and the colors of its lines."""

# Blue, vermilion, green, orange, purple, sky blue: everybody can tell them apart, also
# on paper and on dark pages (Okabe and Ito, 2008).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")


def new_figure(width, height, dpi=100):
    """Makes an empty `matplotlib.figure.Figure`.

    Args:
        width, height: Floats, in inches.
        dpi: Integer, dots per inch.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'Plots need matplotlib: `pip install "keras_bn4[plot]"`.'
        ) from error
    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")

"""Makes the figure that a plot is drawn in."""


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

"""The result of a comparison of training with inference: rows, table and plot."""

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.figures import BLACK, BLUE, VERMILION, new_figure, styled

if TYPE_CHECKING:
    import os

    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Discrepancy:
    """The result of `discrepancy`, layer by layer.

    Attributes:
        rows: List of dicts, one for each layer, in the order of the model. All outputs
            are those before γ and β, `(x - μ) / √(σ² + ε)`, so that they are comparable
            between layers and with the bound.

            - `"layer"`: The path of the layer.
            - `"elements"`: The number of elements that are normalized together in
              training, `B` in Eq. 2: examples of a ghost, times positions, times
              channels of a group. If it varies, the largest.
            - `"bound"`: `√(B - 1)`, which no output exceeds in training (Eq. 2).
            - `"training_minimum"`, `"training_maximum"`, `"inference_minimum"`,
              `"inference_maximum"`: The ranges of outputs.
            - `"training_mean"`, `"training_deviation"`, `"inference_mean"`,
              `"inference_deviation"`: The root mean square, over channels, of their
              means and of their standard deviations. In training these are 0 and 1, up
              to epsilon.
            - `"example_weight"`: The smallest example weight at which the range at
              inference is no wider than in training. 0 if the range is no wider without
              weighing, NaN if it is wider at every weight.
    """

    def __init__(self, rows):
        self.rows = rows

    def to_csv(self, path: "str | os.PathLike") -> None:
        """Writes the rows as a CSV file with a header."""
        tables.to_csv(self.rows, path)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns the rows as a `pandas.DataFrame`.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.to_dataframe(self.rows)

    def _table(self):
        header = ["layer", "B", "bound", "training", "inference", "mean", "std", "α"]
        lines = []
        for row in self.rows:
            line = [row["layer"], f"{row['elements']:.0f}", f"{row['bound']:.2f}"]
            for mode in ("training", "inference"):
                ends = row[f"{mode}_minimum"], row[f"{mode}_maximum"]
                line.append("{:.2f} .. {:.2f}".format(*ends))
            line += [f"{row[f'inference_{x}']:.2f}" for x in ("mean", "deviation")]
            lines.append([*line, f"{row['example_weight']:.2g}"])
        return header, lines

    def __str__(self):
        header, lines = self._table()
        return tables.text([header, *lines], left=1)

    def __repr__(self):
        wider = sum(row["example_weight"] != 0 for row in self.rows)
        return (
            f"<Discrepancy of {len(self.rows)} layers: {wider} with a wider range at "
            "inference than in training>"
        )

    def _repr_html_(self):
        return tables.html(*self._table())

    @styled
    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draws the output ranges of every layer, and the bound of Eq. 2 if it fits in.

        Args:
            ax: The `matplotlib.axes.Axes` to draw in, or `None` for a new figure.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        names = [_shortened(row["layer"]) for row in self.rows]
        panel: Any = ax
        if ax is None:
            width = 5.4 + 0.07 * max(map(len, names))
            panel = new_figure(width, 1.4 + 0.27 * len(names)).subplots()
        at = np.arange(len(self.rows))
        ends = []
        for mode, color, shift in (
            ("training", BLUE, -0.17),
            ("inference", VERMILION, 0.17),
        ):
            low, high = (
                np.array([row[f"{mode}_{end}"] for row in self.rows])
                for end in ("minimum", "maximum")
            )
            panel.barh(at + shift, high - low, 0.32, left=low, color=color, label=mode)
            ends += [*low, *high]
        margin = 0.04 * (max(ends) - min(ends)) or 1
        limits = min(ends) - margin, max(ends) + margin
        # Bounds that are far away would squeeze the ranges.
        bounds = np.array([row["bound"] for row in self.rows])
        places, edges = np.tile(at - 0.17, 2), np.concatenate([-bounds, bounds])
        inside = (limits[0] < edges) & (edges < limits[1])
        if inside.any():
            panel.plot(
                edges[inside],
                places[inside],
                "|",
                color=BLACK,
                markersize=12,
                markeredgewidth=1.6,
                label="bound in training, ±√(B - 1), where it fits in",
            )
        panel.axvline(0, color="0.8", linewidth=1, zorder=0)
        panel.set_xlim(*limits)
        panel.set_ylim(len(self.rows) - 0.4, -0.6)
        panel.set_yticks(at, names)
        panel.set_xlabel("output before γ and β, standard deviations")
        if ax is None:
            panel.figure.legend(loc="outside upper left", ncols=3)
        else:
            ax.legend()
        return panel.figure


def _shortened(name, most=48):
    """A long path of a layer without its middle."""
    if len(name) <= most:
        return name
    return f"{name[: most // 3]}…{name[len(name) - most + most // 3 + 1 :]}"

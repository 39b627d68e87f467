"""What `evaluate_shifts` found: rows, means over shifts, tables, a plot."""

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from keras_bn4.common import tables
from keras_bn4.example_weight.paired_differences import QUANTILE
from keras_bn4.shift.evaluation_plot import draw, label

if TYPE_CHECKING:
    import os

    import pandas
    from matplotlib.figure import Figure

CLEAN = "clean"


class ShiftEvaluation:
    """What `keras_bn4.evaluate_shifts` found.

    Attributes:
        rows: List of dicts, one for each kind, severity and setting of the model. Each
            has `"kind"` (`"clean"` for clean images), `"severity"` (`None` for a
            function of images), `"schedule"` and `"example_weight"`,
            `"recalibrated_on"` (a number of images, 0 for the moving statistics of
            training), and for every metric `m` its mean over images `m`, the difference
            `m_difference` to weight 0 without recalibration, and the paired 95 %
            interval of that over images, from `m_difference_lower` to
            `m_difference_upper`.
        metrics: List of names of metrics, accuracy first.
        kinds: List of kinds, without the clean images.
        severities: List of severities.
        settings: List of dicts, what was evaluated on every kind and severity.
        count: Integer, the number of images.
    """

    def __init__(self, records: list[dict]):
        cells = [record["settings"] for record in records]
        self.settings = cells[0]["settings"]
        self.count = records[0]["count"]
        for record in records:
            if record["count"] != self.count:
                kind, severity = (record["settings"][x] for x in ("kind", "severity"))
                raise ValueError(
                    "All kinds and severities must have as many images as there are "
                    f"clean ones, {self.count}. Received: {record['count']} of kind "
                    f"{kind!r}, severity {severity}."
                )
        # By kind and severity, and metric: an array of shape `(settings, images)`.
        self._values = {
            (cell["kind"], cell["severity"]): {
                metric: np.array([unpacked(one, self.count) for one in of_metric])
                for metric, of_metric in record["values"].items()
            }
            for cell, record in zip(cells, records)
        }
        self.metrics = sorted(records[0]["values"])
        self.kinds = list(dict.fromkeys(cell["kind"] for cell in cells[1:]))
        found = {cell["severity"] for cell in cells[1:]}
        self.severities = sorted(found - {None})
        self.rows = []
        for kind, severity in self._values:
            for row in self.mean([kind], [severity]):
                self.rows.append({"kind": kind, "severity": severity, **row})

    def mean(
        self,
        kinds: Iterable[str] | None = None,
        severities: Iterable[int | None] | None = None,
    ) -> list[dict]:
        """Averages over kinds and severities.

        Args:
            kinds: Names of kinds, `None` for all, clean images excluded.
            severities: Severities, `None` for all.

        Returns:
            List of dicts, one for each setting, as `rows` without kind and severity.
            Intervals are over images, each with its average over its shifts.

        Raises:
            ValueError: if nothing was evaluated of these kinds and severities.
        """
        wanted = self.kinds if kinds is None else list(kinds)
        chosen = None if severities is None else list(severities)
        cells = [
            values
            for (kind, severity), values in self._values.items()
            if kind in wanted and (chosen is None or severity in chosen)
        ]
        if not cells:
            raise ValueError(
                f"There are no results of kinds {wanted} at severities {chosen}. This "
                f"evaluation has kinds {self.kinds}, severities {self.severities}."
            )
        rows = [dict(setting) for setting in self.settings]
        for metric in self.metrics:
            values = np.mean([cell[metric] for cell in cells], 0, dtype="float64")
            differences = values - values[0]
            means = differences.mean(1)
            spread = differences.std(1, ddof=1) if self.count > 1 else np.nan * means
            half = QUANTILE * spread / np.sqrt(self.count)
            columns = (values.mean(1), means, means - half, means + half)
            for row, *numbers in zip(rows, *columns):
                names = (metric, *(f"{metric}_difference{x}" for x in ENDS))
                row |= dict(zip(names, map(float, numbers)))
        return rows

    def table(self, metric: str = "accuracy") -> str:
        """Makes a plain-text table of a metric that fits 80 columns.

        Args:
            metric: Name of a metric.

        Returns:
            String: for each kind, averaged over its severities, and for each severity,
            averaged over all kinds, the metric at weight 0, and its change with half
            the width of the 95 % interval for all other settings. Accuracies are in
            percent.

        Raises:
            ValueError: if there is no such metric.
        """
        return tables.folded(self._cells(metric), left=1)

    def _cells(self, metric):
        scale = self.scale(metric)
        digits = 1 if scale == 100 else 3
        lines = [[self.title(metric), *map(label, self.settings)]]
        for name, rows in self.lines():
            line = [name, f"{scale * rows[0][metric]:.{digits}f}"]
            for row in rows[1:]:
                change = scale * row[f"{metric}_difference"]
                half = scale * row[f"{metric}_difference_upper"] - change
                line.append(f"{change:+.{digits}f} ± {half:.{digits}f}")
            lines.append(line)
        return lines

    def scale(self, metric):
        """100 for a metric that is shown in percent, else 1."""
        if metric not in self.metrics:
            raise ValueError(
                f"Unknown metric {metric!r}. This evaluation has {self.metrics}."
            )
        are_shares = all(
            np.isin(values[metric], (0, 1)).all() for values in self._values.values()
        )
        return 100 if are_shares else 1

    def title(self, metric):
        """How tables and figures call a metric."""
        return f"{metric}, %" if self.scale(metric) == 100 else metric

    def lines(self):
        """The lines of tables: pairs of a name and what `mean` returns."""
        yield CLEAN, self.mean([CLEAN])
        if not self.kinds:
            return
        if self.severities:
            yield "all severities", self.mean(severities=self.severities)
        for severity in self.severities:
            yield f"  severity {severity}", self.mean(severities=[severity])
        for kind in self.kinds:
            yield kind.replace("_", " "), self.mean([kind])

    def to_csv(self, path: "str | os.PathLike") -> None:
        """Writes the rows as a CSV file with a header."""
        tables.to_csv(self.rows, path)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns the rows as a `pandas.DataFrame`.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.to_dataframe(self.rows)

    def plot(self, metric: str | None = None) -> "Figure":
        """Draws a metric by severity, and its change by kind with its interval.

        Args:
            metric: Name of a metric. `None` for the first, accuracy.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        return draw(self, self.metrics[0] if metric is None else metric)

    def __str__(self):
        return "\n\n".join(map(self.table, self.metrics))

    def __repr__(self):
        return (
            f"<ShiftEvaluation of {self.count} images: kinds "
            f"{tables.listed(self.kinds)} at severities {self.severities}>"
        )

    def _repr_html_(self):
        cells = map(self._cells, self.metrics)
        return "\n".join(tables.html(header, lines) for header, *lines in cells)


ENDS = ("", "_lower", "_upper")


def packed(values):
    """Numbers as text: booleans eight to a byte, others in single precision."""
    values = np.asarray(values, "float32")
    if np.isin(values, (0, 1)).all():
        values = np.packbits(values.astype(bool))
    return base64.b64encode(values).decode()


def unpacked(text, count):
    """The `count` numbers, or booleans, of what `packed` returned."""
    data = base64.b64decode(text)
    if len(data) == 4 * count:
        return np.frombuffer(data, "float32")
    return np.unpackbits(np.frombuffer(data, "uint8"))[:count].astype(bool)

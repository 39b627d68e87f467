"""The result of a sweep of the example weight."""

import math
import warnings
from typing import TYPE_CHECKING

from keras_bn4.common import tables
from keras_bn4.common.arguments import check_number
from keras_bn4.example_weight.curve import FAR_FROM_SURE, Curve
from keras_bn4.example_weight.schedules import Schedule, schedule_name
from keras_bn4.example_weight.sweep_plot import draw
from keras_bn4.example_weight.sweep_text import as_html, as_text, named_rows

if TYPE_CHECKING:
    import os

    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# What a row has of a metric `m`: `m` itself, `m_difference`, and so on.
COLUMNS = ("", "_difference", "_difference_lower", "_difference_upper")
# What it has of a metric that falls along a fitted curve as well.
FITTED = ("_fitted_difference", "_fitted_difference_lower", "_fitted_difference_upper")


class ExampleWeightSweep:
    """The result of `sweep_example_weight`.

    Attributes:
        rows: List of dicts, one an example weight, ascending, for each schedule. Each
            has `"example_weight"`, `"schedule"` as `keras_bn4.set_example_weight` takes
            it, and for every metric `m` its value `m`, the difference to
            weight 0 `m_difference`, and the 95 % interval of that difference over
            examples, paired, from `m_difference_lower` to `m_difference_upper` (NaN for
            metrics that are not an average over examples, such as AUC). One that is an
            average of values from 0 to 1, such as accuracy, also has the difference by
            the curve that `largest` reads, `m_fitted_difference`, with `_lower` and
            `_upper` (NaN where the curve does not reach).
        metrics: List of the metrics' names, as `model.evaluate` names them.
        untrained: String, why the model looks untrained at weight 0, or empty. Choose
            no weight then.
    """

    def __init__(
        self,
        rows: list[dict],
        modes: dict[str, str | None],
        curves: dict[tuple[str, str], Curve | str] | None = None,
        untrained: str = "",
    ):
        self.metrics = list(modes)
        self._modes = modes
        # By metric and name of the schedule: a curve, or why there is none.
        self._curves = curves or {}
        self.untrained = untrained
        self.rows = rows
        for row in rows:
            row.update(self._fitted(row))

    def _fitted(self, row):
        """The columns of a row that come from fitted curves."""
        columns, weight = {}, row["example_weight"]
        for (metric, schedule), curve in self._curves.items():
            if schedule != schedule_name(row["schedule"]) or isinstance(curve, str):
                continue
            is_used = weight <= curve.weights[-1]
            change = -float(curve.loss(weight)) + 0.0 if is_used else math.nan
            half = float(curve.half_width(weight))
            values = (change, change - half, change + half)
            columns |= {f"{metric}{end}": x for end, x in zip(FITTED, values)}
        return columns

    def best(self, metric: str = "loss", *, schedule: Schedule | None = None) -> dict:
        """The row with the best value of a metric, at the smallest weight among equals.

        Use it where future data resemble those of the sweep, and `largest` where they
        may shift.

        Args:
            metric: Name of a metric.
            schedule: The schedule whose weights to choose among. `None` for all.

        Raises:
            ValueError: if there is no such metric or schedule, the direction of the
                metric isn't known, or it is NaN in all rows.
        """
        mode = self.mode(metric)
        rows = self.rows if schedule is None else self.rows_of(schedule)
        rows = [row for row in rows if not math.isnan(row[metric])]
        if not rows:
            raise ValueError(f"Metric {metric!r} is NaN at every example weight.")
        sign = 1 if mode == "min" else -1
        return min(rows, key=lambda row: (sign * row[metric], row["example_weight"]))

    def largest(
        self,
        metric: str = "accuracy",
        *,
        within: float,
        schedule: Schedule | None = None,
    ) -> dict:
        """The row with the largest weight at which a metric is hardly worse than at 0.

        Choose by it, on clean validation data, where future data may shift (darker,
        blurred, noisier images): the larger the weight of an example's own statistics,
        the more of a shift it repairs, and the more it costs where there is none.

        For a metric that is an average of values from 0 to 1, such as accuracy, a
        smooth curve is fitted to all weights up to the first that loses a tenth. A
        warning tells if even the curve is far from sure, and `certainty` how many
        examples would be enough. For all other metrics, such as the loss, the weights
        are compared one by one.

        Args:
            metric: Name of a metric.
            within: Non-negative float, how much worse than at weight 0 the metric may
                be, in its own unit: 0.005 is half a point of accuracy. This holds at
                the weight that is returned and at all smaller ones of the sweep.
            schedule: The schedule whose weights to choose among. `None` for the only
                one of the sweep.

        Raises:
            ValueError: if there is no such metric or schedule, the direction of the
                metric isn't known, it is NaN at weight 0, or the sweep has several
                schedules and none is given.
        """
        sign = 1 if self.mode(metric) == "min" else -1
        check_number("within", within, least=0)
        rows = self.rows_of(schedule)
        if math.isnan(rows[0][metric]):
            raise ValueError(
                f"Metric {metric!r} is NaN at example weight 0, with which all other "
                "weights are compared."
            )
        curve = self._curve(metric, rows)
        if isinstance(curve, Curve):
            text = self.certainty(metric, within=within, schedule=schedule)
            if text.startswith(FAR_FROM_SURE):
                warnings.warn(text, stacklevel=2)
            weight = curve.largest(within)
            return next(row for row in rows if row["example_weight"] == weight)
        # Metrics are in single precision, in which .91 - .905 is .005000012.
        allowed = within + 1e-6 * abs(rows[0][metric])
        largest, *others = rows
        for row in others:
            if not sign * row[f"{metric}_difference"] <= allowed:
                break
            largest = row
        return largest

    def certainty(
        self,
        metric: str = "accuracy",
        *,
        within: float,
        schedule: Schedule | None = None,
    ) -> str:
        """Describes the uncertainty of the choice of `largest`, in a sentence or two.

        The arguments are those of `largest`.
        """
        self.mode(metric)
        check_number("within", within, least=0)
        rows = self.rows_of(schedule)
        curve = self._curve(metric, rows)
        if isinstance(curve, str):
            return f"The weights were compared one by one, without a curve: {curve}."
        return curve.certainty(metric, within)

    def _curve(self, metric, rows):
        """The curve of a metric through rows of one schedule, or why there is none."""
        missing = f"{metric} is not an average of values from 0 to 1 over examples"
        return self._curves.get((metric, schedule_name(rows[0]["schedule"])), missing)

    @property
    def schedules(self) -> list:
        """The schedules of the sweep, in the order in which they were given."""
        found = []
        for row in self.rows:
            if row["schedule"] not in found:
                found.append(row["schedule"])
        return found

    def rows_of(self, schedule: Schedule | None = None) -> list[dict]:
        """The rows of one schedule, of the only one of the sweep by default.

        Raises:
            ValueError: if there is no such schedule, or there are several and none is
                given.
        """
        schedules = self.schedules
        names = [schedule_name(one) for one in schedules]
        if schedule is None and len(schedules) > 1:
            raise ValueError(
                "Weights of different schedules cannot be compared. Choose one of "
                f"{names}: schedule={names[0]!r}."
            )
        schedule = schedules[0] if schedule is None else schedule
        if schedule not in schedules:
            raise ValueError(f"Unknown schedule {schedule!r}. This sweep has {names}.")
        return [row for row in self.rows if row["schedule"] == schedule]

    def mode(self, metric: str = "loss") -> str:
        """Whether a metric is best at its `"min"` or `"max"`.

        Raises:
            ValueError: if there is no such metric, or its direction isn't known.
        """
        self.check_metric(metric)
        mode = self._modes[metric]
        if mode is None:
            raise ValueError(
                f"Metric {metric!r} does not say whether more is better. Sweep with "
                f"mode={{{metric!r}: 'min'}} or mode={{{metric!r}: 'max'}}."
            )
        return mode

    def has_direction(self, metric: str) -> bool:
        """Whether a metric has a known direction, and is not NaN in all rows."""
        self.check_metric(metric)
        values = [row[metric] for row in self.rows]
        return self._modes[metric] is not None and not all(map(math.isnan, values))

    def has_interval(self, metric: str) -> bool:
        """Whether the differences of a metric have intervals: AUC, say, has none."""
        self.check_metric(metric)
        return not any(
            math.isnan(row[f"{metric}_difference_lower"]) for row in self.rows
        )

    def to_csv(self, path: "str | os.PathLike") -> None:
        """Writes the rows as a CSV file with a header.

        Cells of intervals that don't exist are empty.
        """
        ends = {f"{m}{x}" for m in self.metrics for x in (*COLUMNS[2:], *FITTED)}
        rows = [
            {k: "" if k in ends and math.isnan(x) else x for k, x in row.items()}
            for row in named_rows(self)
        ]
        tables.to_csv(rows, path)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns the rows as a `pandas.DataFrame`.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.to_dataframe(named_rows(self))

    def plot(
        self,
        metrics: str | list[str] | None = None,
        *,
        chosen: dict | None = None,
        ax: "Axes | None" = None,
    ) -> "Figure":
        """Draws the difference to weight 0 over the example weight, with its interval.

        Each panel shows the region of the gain rather than all of the loss at large
        weights.

        Args:
            metrics: Name of a metric, list of such names, or `None` for all.
            chosen: A row to mark in all panels, such as `largest` returns it, or
                `None`.
            ax: The `matplotlib.axes.Axes` to draw one metric in. `None` for a new
                figure.

        Returns:
            A `matplotlib.figure.Figure` with a panel for each metric.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if there is no such metric or row, or there are several metrics
                for `ax`.
        """
        return draw(self, metrics, chosen, ax)

    def check_metric(self, metric: str) -> None:
        """Raises `ValueError` unless the sweep has this metric."""
        if metric not in self.metrics:
            raise ValueError(
                f"Unknown metric {metric!r}. This sweep has {self.metrics}."
            )

    def __str__(self):
        return as_text(self)

    def __repr__(self):
        fact = f"metrics {tables.listed(self.metrics)}"
        for metric in self.metrics:
            if self.has_direction(metric):
                best = self.best(metric)
                fact = f"best {metric} {best[metric]:.6g} at {best['example_weight']:g}"
                break
        return f"<ExampleWeightSweep of {len(self.rows)} settings: {fact}>"

    def _repr_html_(self):
        return as_html(self)

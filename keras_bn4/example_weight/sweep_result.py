"""What a sweep of the example weight found: rows, intervals, table, plot."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.arguments import check_number
from keras_bn4.example_weight.schedules import schedule_name
from keras_bn4.example_weight.sweep_plot import draw

if TYPE_CHECKING:
    import os

    import pandas
    from matplotlib.figure import Figure


class PairedDifference:
    """The 95 % interval of a weighted mean of paired differences, added by batches."""

    def __init__(self):
        self.sums = np.zeros(5)
        self.count = 0

    def add(self, values, baseline, weights):
        d = np.asarray(values, "float64") - np.asarray(baseline, "float64")
        w = np.broadcast_to(np.asarray(weights, "float64"), d.shape)
        self.sums += [t.sum() for t in (w, w * w, w * d, w * w * d, (w * d) ** 2)]
        self.count += len(d)

    def mean(self):
        """The weighted mean of the differences."""
        return self.sums[2] / self.sums[0] if self.sums[0] else math.nan

    def half_width(self):
        """Half the interval's width, by the normal approximation; NaN for n < 2."""
        w, ww, wd, wwd, wwdd = self.sums.tolist()
        if self.count < 2 or w == 0:
            return math.nan
        mean = wd / w
        squares = max(0.0, wwdd - 2 * mean * wwd + mean**2 * ww)
        return 1.959964 * math.sqrt(squares * self.count / (self.count - 1)) / w


class ExampleWeightSweep:
    """What `sweep_example_weight` found.

    Attributes:
        rows: List of dicts, one an example weight, ascending, for each schedule. Each
            has `"example_weight"`, `"schedule"` as `keras_bn4.set_example_weight` takes
            it, and for every metric `m` its value `m`, the difference to
            weight 0 `m_difference`, and the 95 % interval of that difference over
            examples, paired, from `m_difference_lower` to `m_difference_upper` (NaN for
            metrics that are no mean over examples, such as AUC).
        metrics: List of the metrics' names, as `model.evaluate` names them.
    """

    def __init__(self, rows: list[dict], modes: dict[str, str | None]):
        self.rows = rows
        self.metrics = list(modes)
        self._modes = modes

    def best(self, metric: str = "loss") -> dict:
        """The row with the best value of a metric, at the smallest weight among equals.

        Use it where the data to come are like those of the sweep, and `largest` where
        they may shift.

        Raises:
            ValueError: if there is no such metric, or its direction isn't known.
        """
        mode = self.mode(metric)
        rows = [row for row in self.rows if not math.isnan(row[metric])]
        if not rows:
            raise ValueError(f"Metric {metric!r} is NaN at every example weight.")
        sign = 1 if mode == "min" else -1
        return min(rows, key=lambda row: (sign * row[metric], row["example_weight"]))

    def largest(
        self,
        metric: str = "accuracy",
        *,
        within: float,
        schedule: str | Callable | None = None,
    ) -> dict:
        """The row with the largest weight at which a metric is hardly worse than at 0.

        It is the choice on clean validation data where the data to come may shift
        (darker, blurred, noisier images): the more an example's own statistics weigh,
        the more of a shift they repair, and the more they cost where there is none.
        Ordinary data say how much they cost; no shifted data are needed.

        Args:
            metric: Name of a metric.
            within: Non-negative float, how much worse than at weight 0 the metric may
                be, in its own unit: 0.005 is half a point of accuracy. This holds at
                the weight that is returned and at all smaller ones of the sweep.
            schedule: The schedule whose weights to choose among. `None` for the only
                one of the sweep.

        Raises:
            ValueError: if there is no such metric or schedule, the direction of the
                metric isn't known, or the sweep has several schedules and none is
                given.
        """
        sign = 1 if self.mode(metric) == "min" else -1
        check_number("within", within, least=0)
        rows = self.rows_of(schedule)
        # Metrics are in single precision, in which .91 - .905 is .005000012.
        allowed = within + 1e-6 * abs(rows[0][metric])
        found = rows[0]
        for row in rows[1:]:
            if not sign * row[f"{metric}_difference"] <= allowed:
                break
            found = row
        return found

    @property
    def schedules(self) -> list:
        """The schedules of the sweep, in the order in which they were given."""
        found = []
        for row in self.rows:
            if row["schedule"] not in found:
                found.append(row["schedule"])
        return found

    def rows_of(self, schedule: str | Callable | None = None) -> list[dict]:
        """The rows of one schedule, of the only one of the sweep by default.

        Raises:
            ValueError: if there is no such schedule, or there are several and none is
                given.
        """
        schedules = self.schedules
        names = [schedule_name(one) for one in schedules]
        if schedule is None and len(schedules) > 1:
            raise ValueError(
                "Weights of different schedules can't be compared. Say which of "
                f"{names} is meant: schedule={names[0]!r}."
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
        self._check(metric)
        mode = self._modes[metric]
        if mode is None:
            raise ValueError(
                f"Metric {metric!r} doesn't say whether more is better. Sweep with "
                f"mode={{{metric!r}: 'min'}} or mode={{{metric!r}: 'max'}}."
            )
        return mode

    def has_direction(self, metric: str) -> bool:
        """Whether it is known what is best of a metric, and it isn't always NaN."""
        self._check(metric)
        values = [row[metric] for row in self.rows]
        return self._modes[metric] is not None and not all(map(math.isnan, values))

    def has_interval(self, metric: str) -> bool:
        """Whether the differences of a metric have intervals: AUC, say, has none."""
        self._check(metric)
        return not any(
            math.isnan(row[f"{metric}_difference_lower"]) for row in self.rows
        )

    def to_csv(self, path: "str | os.PathLike") -> None:
        """Writes the rows as a CSV file with a header.

        Cells of intervals that don't exist are empty.
        """
        tables.to_csv([self._without_nan(row) for row in self._named_rows()], path)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns the rows as a `pandas.DataFrame`.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.to_dataframe(self._named_rows())

    def plot(self, metrics: str | list[str] | None = None) -> "Figure":
        """Draws the difference to weight 0 over the example weight, with its interval.

        Each panel shows where the metric gains, and not the whole of the loss at large
        weights.

        Args:
            metrics: Name of a metric, list of such names, or `None` for all.

        Returns:
            A `matplotlib.figure.Figure` with a panel for each metric.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if there is no such metric.
        """
        metrics = self.metrics if metrics is None else metrics
        metrics = [metrics] if isinstance(metrics, str) else metrics
        if not isinstance(metrics, (list, tuple)) or not metrics:
            raise ValueError(
                "Argument `metrics` must be the name of a metric, a list of some of "
                f"{self.metrics}, or None for all. Received: metrics={metrics!r}."
            )
        for metric in metrics:
            self._check(metric)
        return draw(self, metrics)

    def _check(self, metric):
        if metric not in self.metrics:
            raise ValueError(
                f"Unknown metric {metric!r}. This sweep has {self.metrics}."
            )

    def _named_rows(self):
        return [
            {**row, "schedule": schedule_name(row["schedule"])} for row in self.rows
        ]

    def _without_nan(self, row):
        ends = {f"{m}_difference_{e}" for m in self.metrics for e in ("lower", "upper")}
        return {k: "" if k in ends and math.isnan(v) else v for k, v in row.items()}

    def _table(self):
        header = ["example_weight", *self.metrics]
        lines = [[f"{row[name]:.6g}" for name in header] for row in self.rows]
        if self.schedules == ["uniform"]:
            return header, lines
        names = [row["schedule"] for row in self._named_rows()]
        return ["schedule", *header], [[name, *x] for name, x in zip(names, lines)]

    def _remarks(self):
        """Sentences on what is missing: intervals, and larger weights in the grid."""
        without = [m for m in self.metrics if not self.has_interval(m)]
        if without:
            yield f"There are no 95 % intervals for {tables.some(without)}."
        largest = max(row["example_weight"] for row in self.rows)
        for metric in self.metrics:
            if not self.has_direction(metric):
                continue
            if self.best(metric)["example_weight"] == largest and 0 < largest < 1:
                yield (
                    f"The best {metric} is at the largest weight of the grid, "
                    f"{largest:g}: sweep larger ones."
                )

    def __str__(self):
        header, lines = self._table()
        return "\n".join([tables.text([header, *lines]), *self._remarks()])

    def __repr__(self):
        fact = f"metrics {tables.some(self.metrics)}"
        for metric in self.metrics:
            if self.has_direction(metric):
                best = self.best(metric)
                fact = f"best {metric} {best[metric]:.6g} at {best['example_weight']:g}"
                break
        return f"<ExampleWeightSweep of {len(self.rows)} settings: {fact}>"

    def _repr_html_(self):
        remarks = "".join(f"<p>{tables.escape(x)}</p>" for x in self._remarks())
        return tables.html(*self._table()) + remarks

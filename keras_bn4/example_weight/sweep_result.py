"""What a sweep of the example weight found: rows, intervals, table, plot."""

import math
import warnings
from typing import TYPE_CHECKING

from keras_bn4.common import tables
from keras_bn4.common.arguments import check_number
from keras_bn4.example_weight.curve import Curve
from keras_bn4.example_weight.schedules import Schedule, schedule_name
from keras_bn4.example_weight.sweep_plot import draw

if TYPE_CHECKING:
    import os

    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# What a row has of a metric `m`: `m` itself, `m_difference`, and so on.
COLUMNS = ("", "_difference", "_difference_lower", "_difference_upper")
# What it has of a metric that falls along a fitted curve as well.
FITTED = ("_fitted_difference", "_fitted_difference_lower", "_fitted_difference_upper")
# A choice is warned of where half of its interval is larger than this and than two
# bounds.
LARGE_HALF_WIDTH = 0.02
FAR_FROM_SURE = "The choice is far from sure. "


class ExampleWeightSweep:
    """What `sweep_example_weight` found.

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
    """

    def __init__(
        self,
        rows: list[dict],
        modes: dict[str, str | None],
        curves: dict[tuple[str, str], Curve | str] | None = None,
    ):
        self.metrics = list(modes)
        self._modes = modes
        # By metric and name of the schedule: a curve, or why there is none.
        self._curves = curves or {}
        self.rows = rows
        for row in rows:
            row.update(self._fitted(row))

    def _fitted(self, row):
        """What a row has of the fitted curves, by the names of the columns."""
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

        Use it where the data to come are like those of the sweep, and `largest` where
        they may shift.

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

        It is the choice on clean validation data where the data to come may shift
        (darker, blurred, noisier images): the more an example's own statistics weigh,
        the more of a shift they repair, and the more they cost where there is none.
        Ordinary data say how much they cost; no shifted data are needed.

        For a metric that is an average of values from 0 to 1, such as accuracy, a
        smooth curve through all weights says how much is lost at each of them, up to
        the first that loses a tenth. It warns where even the curve is far from sure,
        and `certainty` says how many examples would do. For all other metrics, such as
        the loss, the weights themselves say it, one by one.

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
        worse = [sign * row[f"{metric}_difference"] for row in rows]
        return rows[_last_within(worse, allowed)]

    def certainty(
        self,
        metric: str = "accuracy",
        *,
        within: float,
        schedule: Schedule | None = None,
    ) -> str:
        """Says how sure the choice of `largest` is, in one or two sentences.

        Args:
            metric: As for `largest`.
            within: As for `largest`.
            schedule: As for `largest`.
        """
        self.mode(metric)
        check_number("within", within, least=0)
        rows = self.rows_of(schedule)
        curve = self._curve(metric, rows)
        if isinstance(curve, str):
            return f"The weights were compared one by one, without a curve: {curve}."
        chosen = curve.largest(within)
        weight = chosen or float(curve.weights[0])
        change, half = -curve.loss(weight), curve.half_width(weight)
        is_sure = half <= max(2 * within, LARGE_HALF_WIDTH)
        text = "" if is_sure else FAR_FROM_SURE
        text += (
            f"The fitted change of {metric} at {weight:g} is {change:+.4f} "
            f"[{change - half:+.4f}, {change + half:+.4f}] with {curve.examples} "
            "examples"
        )
        if within:
            needed = curve.examples_needed(weight, within)
            text += f"; about {needed:,.0f} would narrow it to ± {within:g}"
        if not chosen:
            text += ". Even the smallest weight loses more: sweep smaller ones"
        elif chosen == curve.weights[-1] and chosen < 1:
            text += ". No weight of the curve loses more: sweep larger ones"
        return f"{text}."

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
        rows = self._named_rows()
        ends = {f"{m}{x}" for m in self.metrics for x in (*COLUMNS[2:], *FITTED)}
        for row in rows:
            for name in row.keys() & ends:
                row[name] = "" if math.isnan(row[name]) else row[name]
        tables.to_csv(rows, path)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns the rows as a `pandas.DataFrame`.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.to_dataframe(self._named_rows())

    def plot(
        self,
        metrics: str | list[str] | None = None,
        *,
        chosen: dict | None = None,
        ax: "Axes | None" = None,
    ) -> "Figure":
        """Draws the difference to weight 0 over the example weight, with its interval.

        Each panel shows where the metric gains, and not the whole of the loss at large
        weights.

        Args:
            metrics: Name of a metric, list of such names, or `None` for all.
            chosen: A row, such as `largest` returns it, or `None`. It is marked in all
                panels, and all of them show its weight, whatever it costs there.
            ax: The `matplotlib.axes.Axes` to draw one metric in. `None` for a new
                figure.

        Returns:
            A `matplotlib.figure.Figure` with a panel for each metric.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if there is no such metric or row, or there are several metrics
                for `ax`.
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
        if chosen is not None and chosen not in self.rows:
            raise ValueError(
                "Argument `chosen` must be one of the rows of this sweep, as "
                f"`sweep.largest(...)` returns it. Received: chosen={chosen!r}."
            )
        if ax is not None and len(metrics) > 1:
            raise ValueError(
                "There is one panel for each metric, and `ax` is one: name the metric, "
                f"as in sweep.plot({metrics[0]!r}, ax=ax). Received: metrics={metrics}."
            )
        return draw(self, metrics, chosen, ax)

    def _check(self, metric):
        if metric not in self.metrics:
            raise ValueError(
                f"Unknown metric {metric!r}. This sweep has {self.metrics}."
            )

    def _named_rows(self):
        return [
            {**row, "schedule": schedule_name(row["schedule"])} for row in self.rows
        ]

    def _table(self):
        header = ["schedule", "example_weight", *self.metrics]
        if self.schedules == ["uniform"]:
            del header[0]
        rows = self._named_rows()
        return header, [
            [x if isinstance(x := row[name], str) else f"{x:.6g}" for name in header]
            for row in rows
        ]

    def remarks_on_nan(self) -> list[str]:
        """A sentence for each metric that is NaN at some weights."""
        found = {
            metric: dict.fromkeys(
                f"{x['example_weight']:g}" for x in self.rows if math.isnan(x[metric])
            )
            for metric in self.metrics
        }
        return [
            f"Metric {metric!r} is NaN at example weight {tables.listed(weights)}. "
            "No such row is chosen by it."
            for metric, weights in found.items()
            if weights
        ]

    def _remarks(self):
        """Sentences on NaN, missing intervals, and larger weights than the grid's."""
        yield from self.remarks_on_nan()
        without = [m for m in self.metrics if not self.has_interval(m)]
        if without:
            yield f"There are no 95 % intervals for {tables.listed(without)}."
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
        fact = f"metrics {tables.listed(self.metrics)}"
        for metric in self.metrics:
            if self.has_direction(metric):
                best = self.best(metric)
                fact = f"best {metric} {best[metric]:.6g} at {best['example_weight']:g}"
                break
        return f"<ExampleWeightSweep of {len(self.rows)} settings: {fact}>"

    def _repr_html_(self):
        remarks = "".join(f"<p>{tables.escape(x)}</p>" for x in self._remarks())
        return tables.html(*self._table()) + remarks


def _last_within(worse, allowed):
    """The place of the last weight up to which a metric is worse by at most `allowed`.

    Args:
        worse: List of floats by how much the metric is worse than at weight 0, which
            is the first of them.
        allowed: Float.
    """
    beyond = (i for i, value in enumerate(worse) if i and not value <= allowed)
    return next(beyond, len(worse)) - 1

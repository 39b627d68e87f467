"""The results of a search: a table, a CSV file and a plot."""

from typing import TYPE_CHECKING

import numpy as np

from keras_bn4.common import tables
from keras_bn4.tuner.search_plot import draw

if TYPE_CHECKING:
    import os

    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"ghost_batch_size": "B'", "l2": "decay", "example_weight": "α"}
# In the CSV file alone: what Hyperband remembers of its brackets, and what a sentence
# below the table says.
LEFT_OUT = (
    *("tuner/initial_epoch", "tuner/bracket", "tuner/round", "tuner/trial_id"),
    "recalibrated",
)


class SearchResults:
    """The completed trials of a search, the best first.

    Attributes:
        rows: List of dicts, one for each trial.

            - `"trial"`: The name of the trial.
            - `"kind"`: `"batch"`, `"ghost"` or `"batch_group"`.
            - `"ghost_batch_size"` and `"groups"`: `None` if the kind has none.
            - `"l2"`: The factor of the decay of γ and β that the search added, or 0.
            - `"momentum"`: Only if it was searched.
            - `"hyperparameters"`: Dict of the hyperparameters of `build`.
            - `"example_weight"`: List of the best example weight of each execution.
            - `"recalibrated"`: Whether the moving statistics could be recalibrated.
              `None` if the search doesn't recalibrate.
            - `"<objective>_as_trained"`: The objective at weight 0 with the moving
              statistics of the training, as a mean over executions. `None` if `fit` did
              not validate.
            - `"<objective>_at_0"` and `"<objective>"`: The objective at weight 0 and at
              the best weight, as means over executions, with the recalibrated moving
              statistics where there are any.
            - `"executions"`: Dict of the last two, each as a list over executions. It
              is in neither the table nor the CSV file.
        objective: String, the name of the objective.
        direction: `"min"` or `"max"`.
        batch_size: Integer, the batch size of the training.
        failed: Integer, the number of trials that failed or have not ended.
    """

    def __init__(
        self,
        rows: list[dict],
        objective: str,
        direction: str,
        batch_size: int,
        failed: int = 0,
    ):
        self.rows = rows
        self.objective = objective
        self.direction = direction
        self.batch_size = batch_size
        self.failed = failed

    def to_csv(self, path: "str | os.PathLike") -> None:
        """Writes the rows as a CSV file with a header.

        Raises:
            ValueError: if there is no completed trial.
        """
        self._check()
        rows = self._complete_rows()
        for row in rows:
            row["example_weight"] = _list(row["example_weight"])
        tables.to_csv(rows, path)

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns the rows of the CSV file as a `pandas.DataFrame`.

        Raises:
            ImportError: if pandas is not installed.
        """
        return tables.to_dataframe(self._complete_rows())

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draws the objective over the ghost batch size, like the paper's Fig. 3 and 4.

        Every trial is drawn at example weight 0 and at its best example weight: as a
        square if it has channel groups, else as a dot, and with a bar from the least to
        the largest of its executions. Lines join the best dots of all sizes. A trial of
        kind `"batch"` counts as one whose ghosts are whole minibatches, and the best of
        those without decay, at weight 0, is Keras' layer, a horizontal line.

        Args:
            ax: The `matplotlib.axes.Axes` to draw in, or `None` for a new figure.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if there is no completed trial.
        """
        self._check()
        return draw(self, ax)

    def _flat(self):
        """Returns rows with the hyperparameters of `build` as columns, and all columns.

        A hyperparameter of `build` whose name is taken gets the column `build/<name>`.
        """
        taken = {*NAMES, *NAMES.values(), *(name for row in self.rows for name in row)}
        rows = []
        for row in self.rows:
            flat = {}
            for name, value in row.items():
                if name == "hyperparameters":
                    for own, choice in value.items():
                        flat[f"build/{own}" if own in taken else own] = choice
                elif name != "executions":
                    flat[name] = value
            rows.append(flat)
        return rows, list(dict.fromkeys(name for row in rows for name in row))

    def _complete_rows(self):
        rows, columns = self._flat()
        return [{**dict.fromkeys(columns), **row} for row in rows]

    def _check(self):
        if not self.rows:
            raise ValueError(
                f"No trial has been completed yet ({self.failed} failed or not ended). "
                "Run `tuner.search` first, with the same directory and project name."
            )

    def _table(self):
        rows, columns = self._flat()
        columns = [name for name in columns if name not in LEFT_OUT]
        lines = [[_cell(row.get(name)) for name in columns] for row in rows]
        short = {f"{self.objective}_{x}": x for x in ("as_trained", "at_0")}
        return [{**NAMES, **short}.get(name, name) for name in columns], lines

    def _remarks(self):
        if self.failed:
            yield f"{self.failed} trials failed or have not ended."
        as_trained = [r["trial"] for r in self.rows if r.get("recalibrated") is False]
        if as_trained:
            yield (
                "Could not be recalibrated, and have the moving statistics of their "
                f"training: {', '.join(as_trained)}."
            )

    def __str__(self):
        header, lines = self._table()
        return "\n".join([tables.text([header, *lines], left=2), *self._remarks()])

    def __repr__(self):
        fact = "none completed"
        if self.rows:
            best = self.rows[0]
            value = _cell(best[self.objective])
            fact = f"best {self.objective} {value} of trial {best['trial']}"
        return f"<SearchResults of {len(self.rows)} trials: {fact}>"

    def _repr_html_(self):
        remarks = "".join(f"<p>{tables.escape(x)}</p>" for x in self._remarks())
        return tables.html(*self._table()) + remarks


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, list):
        return _list(value)
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    return str(value)


def _list(values):
    return " ".join(f"{value:g}" for value in values)

"""A sweep as text and as HTML: its table, and what there is to know about it."""

import math

from keras_bn4.common import tables
from keras_bn4.example_weight.schedules import schedule_name


def as_text(sweep):
    """The table of a sweep, and remarks below it."""
    return "\n".join([tables.text(_cells(sweep)), *_remarks(sweep)])


def as_html(sweep):
    """The same in HTML, for notebooks."""
    remarks = "".join(f"<p>{tables.escape(x)}</p>" for x in _remarks(sweep))
    header, *lines = _cells(sweep)
    return tables.html(header, lines) + remarks


def named_rows(sweep):
    """Copies of the rows of a sweep, with schedules by their names."""
    return [{**row, "schedule": schedule_name(row["schedule"])} for row in sweep.rows]


def _cells(sweep):
    header = ["schedule", "example_weight", *sweep.metrics]
    if sweep.schedules == ["uniform"]:
        del header[0]
    return [header] + [
        [x if isinstance(x := row[name], str) else f"{x:.6g}" for name in header]
        for row in named_rows(sweep)
    ]


def faults(sweep):
    """Sentences on an untrained model, and on each metric that is NaN somewhere."""
    if sweep.untrained:
        yield sweep.untrained
    for metric in sweep.metrics:
        weights = dict.fromkeys(
            f"{x['example_weight']:g}" for x in sweep.rows if math.isnan(x[metric])
        )
        if weights:
            yield (
                f"Metric {metric!r} is NaN at example weight {tables.listed(weights)}. "
                "No such row is chosen by it."
            )


def _remarks(sweep):
    """Faults, missing intervals, and a best weight at the end of the grid."""
    yield from faults(sweep)
    without = [m for m in sweep.metrics if not sweep.has_interval(m)]
    if without:
        yield f"There are no 95 % intervals for {tables.listed(without)}."
    largest = max(row["example_weight"] for row in sweep.rows)
    for metric in sweep.metrics:
        if not sweep.has_direction(metric):
            continue
        if sweep.best(metric)["example_weight"] == largest and 0 < largest < 1:
            yield (
                f"The best {metric} is at the largest weight of the grid, "
                f"{largest:g}: sweep larger ones."
            )

"""Rows of records: the values of their metrics, as dicts by seed.

A row is a dict of the records of one setting by seed. Rows of one seed begin with the
same kernels and see the same images in the same order. Accuracies are in percent.
"""

import math

import numpy as np

from keras_bn4.common import tables
from keras_bn4.experiments.reproduction.settings import Settings

WINNERS = {"accuracy": np.nanargmax, "cross_entropy": np.nanargmin}
FORMS = {"accuracy": ".2f", "cross_entropy": ".3f"}
NAMES = {"accuracy": "accuracy", "cross_entropy": "loss"}
# The sign of an improvement.
SIGNS = {"accuracy": 1, "cross_entropy": -1}


def rows_of(records, row_of):
    """Groups a list of records by a function of their `Settings`, in their order."""
    rows = {}
    for record in records:
        settings = Settings.from_record(record["settings"])
        rows.setdefault(row_of(settings), {})[settings.seed] = record
    return rows


def curve(record, metric, split):
    """The values of a metric at all example weights of a record, an array."""
    scale = 100 if metric == "accuracy" else 1
    return scale * np.array(record["results"][split][metric])


def best_weight(record, metric):
    """The example weight with the best value of a metric on validation data."""
    return record["settings"]["example_weights"][_best(record, metric)]


def weight_range(row, metric):
    """The range of the best example weights of a row, as text."""
    return tables.value_range([best_weight(record, metric) for record in row.values()])


def at_zero(row, metric, split="test"):
    """The values of a metric at example weight 0."""
    return {seed: curve(record, metric, split)[0] for seed, record in row.items()}


def at_best(row, metric, split="test"):
    """The same at the example weight that is best on validation data."""
    return {
        seed: curve(record, metric, split)[_best(record, metric)]
        for seed, record in row.items()
    }


def at_one(row, metric, split="test"):
    """The same at example weight 1, which has to be the last one."""
    return {seed: curve(record, metric, split)[-1] for seed, record in row.items()}


def gains(row, metric):
    """What the best example weight changes on test data."""
    zero, best = at_zero(row, metric), at_best(row, metric)
    return {seed: best[seed] - zero[seed] for seed in row}


def best_row(rows, values=at_zero):
    """The key of the row with the best mean accuracy on validation data."""
    return max(
        rows, key=lambda key: mean_of(values(rows[key], "accuracy", "validation"))
    )


def slopes(rows, values):
    """The slope of a function of the rows over the binary logarithm of their keys."""
    by_key = {key: values(row) for key, row in rows.items()}
    seeds = set.intersection(*(set(v) for v in by_key.values()))
    at = np.log2(list(by_key))
    return {
        seed: float(np.polyfit(at, [v[seed] for v in by_key.values()], 1)[0])
        for seed in sorted(seeds)
    }


def mean_of(values):
    return math.fsum(values.values()) / len(values)


def mean_and_spread(values, form):
    """The mean of values by seed and their standard deviation, as text."""
    values = np.array(list(values.values()))
    mean = format(values.mean(), form)
    if len(values) < 2:
        return mean
    return f"{mean} ± {format(values.std(ddof=1), form)}"


def _best(record, metric):
    values = curve(record, metric, "validation")
    # A training that came to nothing has no best weight, and is reported at the first.
    return 0 if np.isnan(values).all() else int(WINNERS[metric](values))

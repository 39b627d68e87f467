"""What is made of records: means, paired differences, and whether a claim holds.

Records are grouped in rows, of one setting each, as dicts of records by seed. Whatever
is compared is paired by seed, since rows of one seed begin with the same kernels and
see the same images in the same order. Accuracies are in percent.
"""

import dataclasses
import math
import re

import numpy as np
from scipy import stats

WINNERS = {"accuracy": np.nanargmax, "cross_entropy": np.nanargmin}
FORMS = {"accuracy": ".2f", "cross_entropy": ".3f"}
NAMES = {"accuracy": "accuracy", "cross_entropy": "loss"}
# The sign of an improvement.
SIGNS = {"accuracy": 1, "cross_entropy": -1}
POWER = 0.8
# The spread of fewer says too little for a verdict.
LEAST_SEEDS = 3


def rows_of(records, key):
    """Groups records.

    Args:
        records: List of records.
        key: Function of the settings in a record, a dict, that says which row it is.

    Returns:
        Dict by key, in the order of the records, of dicts of records by seed.
    """
    rows = {}
    for record in records:
        settings = record["settings"]
        rows.setdefault(key(settings), {})[settings["seed"]] = record
    return rows


def curve(record, metric, split):
    """The values of a metric at all example weights of a record, an array."""
    scale = 100 if metric == "accuracy" else 1
    return scale * np.array(record["results"][split][metric])


def best_weight(record, metric):
    """The example weight with the best value of a metric on validation data."""
    return record["settings"]["example_weights"][_best(record, metric)]


def at_zero(row, metric, split="test"):
    """The values of a metric by seed at example weight 0, a dict."""
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
    """What the best example weight changes on test data by seed, a dict."""
    zero, best = at_zero(row, metric), at_best(row, metric)
    return {seed: best[seed] - zero[seed] for seed in row}


def slopes(rows, values):
    """The slope of values over the binary logarithm of the rows' keys, by seed.

    Args:
        rows: Dict of rows by a number, such as the ghost batch size.
        values: Function of a row that returns a dict by seed.
    """
    by_key = {key: values(row) for key, row in rows.items()}
    seeds = set.intersection(*(set(v) for v in by_key.values()))
    at = np.log2(list(by_key))
    return {
        seed: float(np.polyfit(at, [v[seed] for v in by_key.values()], 1)[0])
        for seed in sorted(seeds)
    }


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean of paired differences, and how sure it is.

    Attributes:
        mean: Float.
        half_width: Float, half of the 95 % interval of the mean, by Student's t over
            seeds; infinite for a single seed.
        least: Float, the least true effect that as many seeds with this spread would
            tell from 0 in four of five cases.
        n: Integer, the number of pairs.
    """

    mean: float
    half_width: float
    least: float
    n: int

    @classmethod
    def between(cls, values, baseline=None):
        """The difference of values to those of a baseline, both dicts by seed.

        Without a baseline the values are differences already. Seeds that only one of
        the two has are left out.
        """
        if baseline is None:
            baseline = dict.fromkeys(values, 0.0)
        seeds = [seed for seed in values if seed in baseline]
        changes = np.array([values[seed] - baseline[seed] for seed in seeds])
        n = len(changes)
        if n < 2:
            mean = float(changes[0]) if n else math.nan
            return cls(mean, math.inf, math.inf, n)
        error = changes.std(ddof=1) / math.sqrt(n)
        quantile = stats.t.ppf(0.975, n - 1)
        least = (quantile + stats.t.ppf(POWER, n - 1)) * error
        return cls(float(changes.mean()), float(quantile * error), float(least), n)

    def text(self, form):
        """The mean and its interval, such as `+0.84 [+0.20, +1.48]`.

        Without pairs it is empty.
        """
        if not self.n:
            return ""
        mean = format(self.mean, f"+{form}")
        if math.isinf(self.half_width):
            return mean
        ends = self.mean - self.half_width, self.mean + self.half_width
        return f"{mean} [{ends[0]:+{form}}, {ends[1]:+{form}}]"


def mean_of(values):
    """The mean of the values of a dict."""
    return math.fsum(values.values()) / len(values)


def mean_and_spread(values, form):
    """The mean of the values of a dict and their standard deviation, as text."""
    values = np.array(list(values.values()))
    mean = format(values.mean(), form)
    if len(values) < 2:
        return mean
    return f"{mean} ± {format(values.std(ddof=1), form)}"


def verdict(difference, sign):
    """Whether a difference has the sign that the paper found.

    Returns:
        `"reproduced"` if the whole interval has this sign, `"not reproduced"` if it has
        the other one, and `"undecided"` if it contains 0.
    """
    if not abs(difference.mean) > difference.half_width:
        return "undecided"
    return "reproduced" if difference.mean * sign > 0 else "not reproduced"


def claim(text, paper, difference, sign, form):
    """A line on one of the paper's claims.

    Args:
        text: String, the claim.
        paper: String, the paper's number, or what it shows.
        difference: `Difference`.
        sign: 1 or -1, the sign of the difference by the claim.
        form: String, the format of numbers.
    """
    return _line(verdict(difference, sign), text, paper, difference, form)


def claim_of_no_change(text, paper, difference, margin, form):
    """A line on a claim that something makes no difference.

    It is reproduced if the whole interval is within a margin around 0, undecided if the
    interval reaches out of it and contains 0, and else not reproduced.

    Args:
        text: String, the claim.
        paper: String, the paper's number, or what it shows.
        difference: `Difference`.
        margin: Float, the largest difference that counts as none.
        form: String, the format of numbers.
    """
    if abs(difference.mean) + difference.half_width <= margin:
        found = "reproduced"
    else:
        is_change = verdict(difference, 1) != "undecided"
        found = "not reproduced" if is_change else "undecided"
    text = f"{text} (at most {margin:g})"
    return _line(found, text, paper, difference, form)


def claim_of_no_gain(text, paper, difference, sign, margin, form):
    """A line on a claim that something is of no use.

    It is reproduced if the whole interval is below a margin, however much there is to
    lose; not reproduced if there is a gain; and else undecided.

    Args:
        text: String, the claim.
        paper: String, the paper's number, or what it shows.
        difference: `Difference`.
        sign: 1 or -1, the sign of a gain.
        margin: Float, the largest gain that counts as none.
        form: String, the format of numbers.
    """
    if sign * difference.mean + difference.half_width <= margin:
        found = "reproduced"
    else:
        is_gain = verdict(difference, sign) == "reproduced"
        found = "not reproduced" if is_gain else "undecided"
    text = f"{text} (at most {margin:g})"
    return _line(found, text, paper, difference, form)


def _line(found, text, paper, difference, form):
    if difference.n < LEAST_SEEDS:
        found = "undecided"
    here = difference.text(form) or "no pair of trainings"
    line = f"* {found}: {text}. Paper: {paper}; here: {here}, n = {difference.n}"
    if difference.n >= LEAST_SEEDS:
        if _is_outside(paper, difference):
            line += "; the paper's number lies outside this interval"
        line += f"; least effect to be seen: {difference.least:{form}}"
    return f"{line}."


def _is_outside(paper, difference):
    """Whether the paper gives a number, and the interval excludes it."""
    number = re.fullmatch(r"([+-]\d+(?:\.\d+)?)( \(validation\))?", paper)
    if number is None:
        return False
    return abs(float(number[1]) - difference.mean) > difference.half_width


def _best(record, metric):
    values = curve(record, metric, "validation")
    # A training that came to nothing has no best weight, and is reported at the first.
    return 0 if np.isnan(values).all() else int(WINNERS[metric](values))

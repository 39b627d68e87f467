"""Differences paired by seed, and whether a claim of the paper holds."""

import dataclasses
import math

import numpy as np
from scipy import stats

POWER = 0.8
# The spread of fewer says too little for a verdict.
LEAST_SEEDS = 3
VERDICTS = REPRODUCED, NOT_REPRODUCED, UNDECIDED = (
    *("reproduced", "not reproduced", "undecided"),
)


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean of paired differences, and how sure it is.

    Attributes:
        mean: Float.
        half_width: Float, half of the 95 % interval of the mean, by Student's t over
            seeds; infinite for a single seed.
        detectable: Float, the minimum detectable effect: the smallest true effect that
            as many seeds with this spread would tell from 0 in four of five cases.
        n: Integer, the number of pairs.
    """

    mean: float
    half_width: float
    detectable: float
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
        detectable = (quantile + stats.t.ppf(POWER, n - 1)) * error
        return cls(float(changes.mean()), float(quantile * error), float(detectable), n)

    @property
    def sign(self):
        """1 or -1 if the whole interval has this sign, and 0 if it contains 0."""
        is_sure = abs(self.mean) > self.half_width
        return int(math.copysign(1, self.mean)) if is_sure else 0

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


def change(values, baseline, form):
    """The paired difference of values to a baseline, dicts by seed, as text."""
    return Difference.between(values, baseline).text(form)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what was found here.

    Attributes:
        text: String, the claim.
        paper: String, the paper's number, or what it shows.
        difference: `Difference`, what was found here.
        verdict: One of `VERDICTS`, by the difference alone.
        form: String, the format of the numbers of the difference.
        number: Float, the paper's number if it is one of this difference, or `None`.
    """

    text: str
    paper: str
    difference: Difference
    verdict: str
    form: str
    number: float | None = None

    @property
    def is_other_size(self):
        """Whether the interval excludes the paper's number."""
        if self.number is None or self.difference.n < LEAST_SEEDS:
            return False
        return abs(self.number - self.difference.mean) > self.difference.half_width

    def __str__(self):
        found = self.difference
        here = found.text(self.form) or "no pair of trainings"
        line = f"{self.text}. Paper: {self.paper}; here: {here}, n = {found.n}"
        if self.is_other_size:
            line += "; the paper's number lies outside this interval"
        if found.n >= LEAST_SEEDS:
            line += f"; minimum detectable effect: {found.detectable:{self.form}}"
        return f"{line}."


def claim(text, paper, values, baseline=None, *, sign, form, margin=None, number=None):
    """Makes a `Claim` of paired values.

    Args:
        text: String, the claim.
        paper: The paper's number, a float, or a string, as `Claim` has it, or `None`
            where the paper shows it without a number.
        values, baseline: As `Difference.between` takes them.
        sign, margin: As `verdict` takes them.
        form, number: As `Claim` has them.
    """
    if isinstance(paper, float):
        number, paper = paper, f"{paper:+}"
    if margin is not None:
        text = f"{text} (at most {margin:g})"
    difference = Difference.between(values, baseline)
    found = verdict(difference, sign, margin)
    return Claim(text, paper or "shown without number", difference, found, form, number)


def verdict(difference, sign, margin=None):
    """Decides whether a claim holds: one of `VERDICTS`.

    Args:
        difference: `Difference`.
        sign: Integer, 1 or -1, the sign that the claim is about, or 0 for either.
        margin: Without one, the claim is that there is a difference of this sign. It is
            reproduced if the whole interval has the sign, and not reproduced if it has
            the other one. With one, the claim is that there is no difference of this
            sign above the margin. It is reproduced if the whole interval is within the
            margin, and else not reproduced if the whole interval has the sign.
    """
    if difference.n < LEAST_SEEDS:
        return UNDECIDED
    found = difference.sign
    if margin is None:
        return {sign: REPRODUCED, -sign: NOT_REPRODUCED, 0: UNDECIDED}[found]
    reach = sign * difference.mean if sign else abs(difference.mean)
    if reach + difference.half_width <= margin:
        return REPRODUCED
    is_there = found == sign if sign else found
    return NOT_REPRODUCED if is_there else UNDECIDED

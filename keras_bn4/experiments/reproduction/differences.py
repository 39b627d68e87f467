"""Paired differences, and whether a claim of the paper holds.

Whatever is compared is paired by seed, as the rows of `rows` are.
"""

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
WITHOUT_NUMBER = "shown without number"


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


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what became of it here.

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

    def __post_init__(self):
        if self.difference.n < LEAST_SEEDS:
            object.__setattr__(self, "verdict", UNDECIDED)

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
            line += f"; least effect to be seen: {found.least:{self.form}}"
        return f"{line}."


def claim(text, paper, difference, sign, form, number=None):
    """A claim that there is a difference of a sign, 1 or -1.

    It is reproduced if the whole interval has this sign, not reproduced if it has the
    other one, and undecided if it contains 0. The other arguments are as in `Claim`; a
    `paper` that is a float is the number itself.
    """
    if isinstance(paper, float):
        number, paper = paper, f"{paper:+}"
    found = {sign: REPRODUCED, -sign: NOT_REPRODUCED, 0: UNDECIDED}[difference.sign]
    return Claim(text, paper, difference, found, form, number)


def claim_of_no_change(text, paper, difference, margin, form):
    """A claim that there is no difference, of more than a margin.

    It is reproduced if the whole interval is within the margin around 0, undecided if
    the interval reaches out of it and contains 0, and else not reproduced.
    """
    found = NOT_REPRODUCED if difference.sign else UNDECIDED
    if abs(difference.mean) + difference.half_width <= margin:
        found = REPRODUCED
    return Claim(f"{text} (at most {margin:g})", paper, difference, found, form)


def claim_of_no_gain(text, paper, difference, sign, margin, form):
    """A claim that there is no difference of a sign, of more than a margin.

    It is reproduced if the whole interval is below the margin, however much there is to
    lose; not reproduced if there is a gain; and else undecided.
    """
    found = NOT_REPRODUCED if difference.sign == sign else UNDECIDED
    if sign * difference.mean + difference.half_width <= margin:
        found = REPRODUCED
    return Claim(f"{text} (at most {margin:g})", paper, difference, found, form)

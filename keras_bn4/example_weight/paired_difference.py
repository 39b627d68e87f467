"""The 95 % interval of a mean of paired differences."""

import math

import numpy as np


class PairedDifference:
    """The 95 % interval of a weighted mean of paired differences, added by batches."""

    def __init__(self):
        self.sums = np.zeros(5)
        self.count = 0

    def add(self, values, weights, baseline):
        """Adds a batch: values, their weights, and what to compare the values with.

        It is left out where they are no pairs, so that the mean isn't that of the
        metric: a loss may use as many values as the predictions let it.
        """
        values, weights, baseline = (
            np.asarray(x, "float64") for x in (values, weights, baseline)
        )
        if values.shape != baseline.shape or values.shape != weights.shape:
            return
        d, w = values - baseline, weights
        self.sums += [t.sum() for t in (w, w * w, w * d, w * w * d, (w * d) ** 2)]
        self.count += len(d)

    def mean(self):
        """The weighted mean of the differences, NaN if there are none."""
        return self.sums[2] / self.sums[0] if self.sums[0] else math.nan

    def half_width(self):
        """Half the interval's width, by the normal approximation; NaN for n < 2."""
        w, ww, wd, wwd, wwdd = self.sums.tolist()
        if self.count < 2 or w == 0:
            return math.nan
        mean = wd / w
        squares = max(0.0, wwdd - 2 * mean * wwd + mean**2 * ww)
        return 1.959964 * math.sqrt(squares * self.count / (self.count - 1)) / w

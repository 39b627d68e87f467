"""The 95 % intervals of the differences of a metric, paired by example."""

import math

import numpy as np


class PairedDifferences:
    """A metric at several settings, each compared with the first, added by steps.

    Attributes:
        means: Array of the weighted means of the differences, one for each setting.
        half_widths: Array of half the widths of their intervals, by the normal
            approximation. NaN for fewer than two examples.
    """

    def __init__(self):
        self._sums = np.zeros((5, 1))
        self._count = 0

    def add(self, values, weights):
        """Adds a step: for each setting the values of all examples and their weights.

        It is left out where they are no pairs, since a loss may use as many values as
        the predictions let it. Then the means are not those of the metric.
        """
        if len({np.shape(x) for x in (*values, *weights)}) > 1:
            return
        values, w = (np.asarray(x, "float64") for x in (values, weights))
        # Of infinite losses.
        with np.errstate(invalid="ignore"):
            d = values - values[0]
            products = (w, w * w, w * d, w * w * d, (w * d) ** 2)
            self._sums = self._sums + np.array([x.sum(-1) for x in products])
        self._count += values.shape[1]

    @property
    def means(self):
        w, _, wd, *_ = self._sums
        return np.divide(wd, w, out=np.full_like(w, math.nan), where=w != 0)

    @property
    def half_widths(self):
        w, ww, _, wwd, wwdd = self._sums
        n, mean = self._count, self.means
        squares = np.maximum(0, wwdd - 2 * mean * wwd + mean**2 * ww)
        correction = n / (n - 1) if n > 1 else math.nan
        w = np.where(w == 0, math.nan, w)
        return 1.959964 * np.sqrt(squares * correction) / w

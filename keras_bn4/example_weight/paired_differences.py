"""The differences of a metric between settings, paired by example."""

import math

import numpy as np

# Of the standard normal distribution, for 95 % intervals.
QUANTILE = 1.959964


class PairedDifferences:
    """A metric at several settings, each compared with the first, added by steps.

    Attributes:
        count: Integer, the number of examples.
        are_shares: Whether all values of the metric are from 0 to 1.
        means: Array of shape `(K,)`, the weighted means of the differences of the `K`
            settings.
        covariance: Array of shape `(K, K)`, of the errors of these means. NaN for fewer
            than two examples.
        half_widths: Array of shape `(K,)`, half the widths of their 95 % intervals, by
            the normal approximation.
    """

    def __init__(self):
        self.count = 0
        self.are_shares = True
        self._totals = self._sums = np.zeros(1)
        # Of the products of two settings, both with differences, one, and neither.
        self._products = np.zeros((3, 1, 1))

    def add(self, values, weights):
        """Adds a step: for each setting the values of all examples and their weights.

        It is left out where they are no pairs, since a loss may use as many values as
        the predictions let it. Then the means are not those of the metric.
        """
        if len({np.shape(x) for x in (*values, *weights)}) > 1:
            return
        values, w = (np.asarray(x, "float64") for x in (values, weights))
        self.are_shares &= bool(np.all((values >= 0) & (values <= 1)))
        # Of infinite losses.
        with np.errstate(invalid="ignore"):
            wd = w * (values - values[0])
            self._totals = self._totals + w.sum(-1)
            self._sums = self._sums + wd.sum(-1)
            products = (wd @ wd.T, wd @ w.T, w @ w.T)
            self._products = self._products + np.array(products)
        self.count += values.shape[1]

    @property
    def means(self):
        return self._sums / np.where(self._totals == 0, math.nan, self._totals)

    @property
    def covariance(self):
        n, means, totals = self.count, self.means, self._totals
        of_both, of_one, of_none = self._products
        cross = of_one * means
        squares = of_both - cross - cross.T + np.outer(means, means) * of_none
        correction = n / (n - 1) if n > 1 else math.nan
        totals = np.where(totals == 0, math.nan, totals)
        return correction * squares / np.outer(totals, totals)

    @property
    def half_widths(self):
        # Rounding can leave a little less than 0.
        return QUANTILE * np.sqrt(np.maximum(0, np.diagonal(self.covariance)))

"""The fall of accuracy over the example weight, as a smooth curve through a sweep.

With a few hundred images, a handful of them decide how accuracy changes at a single
weight. But the change is a smooth function of the weight, and all weights of a sweep
share most of their noise. So a curve that is fitted to all of them, with the covariance
of their errors, finds the largest weight within a bound with fewer images.
"""

import dataclasses

import numpy as np

from keras_bn4.example_weight.paired_differences import QUANTILE

# Of fewer weights or examples a covariance says too little.
LEAST_WEIGHTS = 3
LEAST_EXAMPLES = 50
# The curve describes small losses. Weights count up to the first that loses as much.
LARGEST_LOSS = 0.1
EXPONENTS = (1.0, 1.5)
# The share of the mean variance that is added to all variances. Without it the nearly
# equal errors of neighbouring weights make the fit overconfident: on recorded
# networks (`tests/example_weight/test_curve.py`) 95 % intervals held 77 to 99 % of the
# true values with 0.003, 91 to 99 % with 0.01, and 96 to 100 % with 0.1.
RIDGE = 0.1
# How many standard errors more than the fit a weight is taken to lose. Losses grow
# faster than the weight, so that too large a choice costs more than too small a one.
MARGIN = 0.35
# A choice is warned of where half of its interval is larger than this and than two
# bounds.
LARGE_HALF_WIDTH = 0.02
FAR_FROM_SURE = "The choice is far from sure. "


@dataclasses.dataclass(frozen=True)
class Curve:
    """The loss of a metric at weight `a`, `b_1 * a + b_2 * a ** 1.5`.

    Attributes:
        weights: Array of shape `(K,)`, those it is fitted to, ascending, without 0.
        coefficients: Array of shape `(2,)`.
        covariance: Array of shape `(2, 2)`, of the errors of the coefficients.
        examples: Integer, how many examples it is fitted to.
    """

    weights: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    examples: int

    @classmethod
    def fitted(cls, weights, losses, covariance, examples):
        """Fits the curve by generalized least squares.

        Args:
            weights: Array of shape `(K,)`, those of a sweep above 0, ascending.
            losses: Array of shape `(K,)`, how much worse the metric is at each of them
                than at 0.
            covariance: Array of shape `(K, K)`, of the errors of these losses.
            examples: Integer.

        Returns:
            A `Curve`, or a string that says why there is none.
        """
        if examples < LEAST_EXAMPLES:
            return f"there are {examples} examples, and a curve needs {LEAST_EXAMPLES}"
        large = np.flatnonzero(losses >= LARGEST_LOSS)
        used = slice(large[0] + 1 if len(large) else len(losses))
        weights, losses = np.asarray(weights, "float64")[used], losses[used]
        covariance = covariance[used, used]
        if len(weights) < LEAST_WEIGHTS:
            return (
                f"a curve needs {LEAST_WEIGHTS} weights above 0 up to the first that "
                f"loses {100 * LARGEST_LOSS:g} points, and there are {len(weights)}"
            )
        mean_variance = np.trace(covariance) / len(weights)
        if not mean_variance > 0:
            return "no example changes between the weights"
        covariance = covariance + RIDGE * mean_variance * np.eye(len(weights))
        powers = _powers(weights)
        weighted = np.linalg.solve(covariance, powers)
        of_coefficients = np.linalg.inv(powers.T @ weighted)
        coefficients = of_coefficients @ (weighted.T @ losses)
        return cls(weights, coefficients, of_coefficients, examples)

    def loss(self, weight):
        """The loss at a weight, or an array of them for an array of weights."""
        return _powers(weight) @ self.coefficients

    def half_width(self, weight):
        """Half the width of the 95 % interval of the loss."""
        powers = _powers(weight)
        return QUANTILE * np.sqrt(np.sum(powers @ self.covariance * powers, -1))

    def largest(self, within):
        """The largest weight up to which the loss stays within a bound, else 0.

        The loss of a weight is the fit plus a small margin.
        """
        margins = MARGIN / QUANTILE * self.half_width(self.weights)
        beyond = np.flatnonzero(self.loss(self.weights) + margins > within)
        count = beyond[0] if len(beyond) else len(self.weights)
        return float(self.weights[count - 1]) if count else 0.0

    def examples_needed(self, weight, within):
        """How many examples make the half-width at a weight equal to `within`."""
        return self.examples * (self.half_width(weight) / within) ** 2

    def certainty(self, metric, within):
        """Describes the uncertainty of the choice of `largest`."""
        chosen = self.largest(within)
        weight = chosen or float(self.weights[0])
        change, half = -self.loss(weight), self.half_width(weight)
        is_sure = half <= max(2 * within, LARGE_HALF_WIDTH)
        text = "" if is_sure else FAR_FROM_SURE
        text += (
            f"The fitted change of {metric} at {weight:g} is {change:+.4f} "
            f"[{change - half:+.4f}, {change + half:+.4f}] with {self.examples} "
            "examples"
        )
        if within:
            needed = self.examples_needed(weight, within)
            text += f"; about {needed:,.0f} would narrow it to ± {within:g}"
        if not chosen:
            text += ". Even the smallest weight loses more: sweep smaller ones"
        elif chosen == self.weights[-1] and chosen < 1:
            text += ". No weight of the curve loses more: sweep larger ones"
        return f"{text}."


def _powers(weight):
    return np.stack([np.power(weight, exponent) for exponent in EXPONENTS], -1)

"""Temperature scaling, the usual remedy for overconfident networks.

It divides logits by one number that is fitted on validation data (Guo et al., 2017,
https://arxiv.org/abs/1706.04599). It lowers the loss of overconfident networks and
changes no prediction, so it is the control for any method that lowers the loss.
"""

import numpy as np


def losses(logits, y, temperature=1.0):
    """The cross-entropy of every example, in float64, of logits over a temperature.

    Examples:
        >>> losses(np.array([[0.0, 0.0]]), np.array([1])).round(3).tolist()
        [0.693]
    """
    scaled = np.asarray(logits, "float64") / temperature
    scaled = scaled - scaled.max(-1, keepdims=True)
    return np.log(np.exp(scaled).sum(-1)) - scaled[np.arange(len(y)), y]


def fit(logits, y):
    """The temperature from 1/50 to 50 with the lowest mean loss."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: losses(logits, y, np.exp(log)).mean(),
        bounds=(-np.log(50), np.log(50)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))

"""The specification: what the layers compute, in NumPy, float64 and plain loops.

Obvious rather than fast, and ignorant of the package. Everything is in the layout
`(n, S, C)` of `rows`: `n` examples, `S` positions of an example, `C` channels. A mask
is a boolean array of that same shape, true where an element counts.

Equations and sections are those of Summers and Dinneen, "Four Things Everyone Should
Know to Improve Batch Normalization" (ICLR 2020).
"""

import math

import numpy as np


def rows(x, axis):
    """A tensor with its channels along `axis`, as float64 `(n, S, C)`."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    return x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])


def mask_rows(mask, shape, axis):
    """A mask, which has all axes but the channels', as boolean `(n, S, C)`."""
    elements = np.broadcast_to(np.expand_dims(mask, axis), shape)
    return rows(elements, axis).astype(bool)


def ghosts(n, ghost_batch_size):
    """Eq. 4: the examples of each ghost, contiguous and as equal as possible.

    `k = max(1, n // B')` ghosts; the first `n mod k` have one example more.
    """
    k = 1 if ghost_batch_size is None else max(1, n // ghost_batch_size)
    cut, start = [], 0
    for ghost in range(k):
        size = n // k + (1 if ghost < n % k else 0)
        cut.append(list(range(start, start + size)))
        start += size
    return cut


def channel_groups(channels, groups):
    """Sec. 3.4: the channels of each group, contiguous; -1 is one group a channel."""
    size = 1 if groups == -1 else channels // groups
    return [list(range(c, c + size)) for c in range(0, channels, size)]


def normalized_together(x, mask, ghost_batch_size, groups):
    """Sec. 3.4: what shares its statistics, the elements of a ghost and channel group.

    Yields the indices of all elements, and of those that count.
    """
    n, positions, channels = x.shape
    for ghost in ghosts(n, ghost_batch_size):
        for group in channel_groups(channels, groups):
            together = [
                (i, s, c) for i in ghost for s in range(positions) for c in group
            ]
            yield together, [index for index in together if mask[index]]


def moments(x, counting):
    """Mean and biased variance of the counting elements; 0 and 0 of nothing."""
    if not counting:
        return 0.0, 0.0
    mean = sum(x[index] for index in counting) / len(counting)
    variance = sum((x[index] - mean) ** 2 for index in counting) / len(counting)
    return mean, variance


def normalize(x, mean, variance, gamma, beta, epsilon):
    """Eq. 1, for one number."""
    return gamma * (x - mean) / math.sqrt(variance + epsilon) + beta


def train(x, gamma, beta, epsilon, ghost_batch_size=None, groups=-1, mask=None):
    """Training output: Eq. 1 with the moments of Eq. 4 and Sec. 3.4.

    A ghost of which nothing counts gives `beta`.
    """
    mask = np.ones(x.shape, bool) if mask is None else mask
    y = np.zeros(x.shape)
    for together, counting in normalized_together(x, mask, ghost_batch_size, groups):
        mean, variance = moments(x, counting)
        for index in together:
            c = index[-1]
            y[index] = beta[c]
            if counting:
                y[index] = normalize(
                    x[index], mean, variance, gamma[c], beta[c], epsilon
                )
    return y


def train_gradients(
    x, upstream, gamma, epsilon, ghost_batch_size=None, groups=-1, mask=None
):
    """Gradients of `sum(upstream * train(x, ...))` to x, gamma and beta.

    The backward pass of batch normalization (Ioffe and Szegedy, 2015, Sec. 3), for
    every ghost and group; only what counts receives from the moments.
    """
    mask = np.ones(x.shape, bool) if mask is None else mask
    dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(x.shape[-1]), np.zeros(x.shape[-1])
    for together, counting in normalized_together(x, mask, ghost_batch_size, groups):
        for index in together:
            dbeta[index[-1]] += upstream[index]
        if not counting:
            continue
        mean, variance = moments(x, counting)
        scale = 1 / math.sqrt(variance + epsilon)
        dmean = dvariance = 0.0
        for index in together:
            dnormalized = upstream[index] * gamma[index[-1]]
            dgamma[index[-1]] += upstream[index] * (x[index] - mean) * scale
            dmean -= dnormalized * scale
            dvariance -= dnormalized * (x[index] - mean) * scale**3 / 2
            dx[index] += dnormalized * scale
        for index in counting:
            dx[index] += (dmean + 2 * dvariance * (x[index] - mean)) / len(counting)
    return dx, dgamma, dbeta


def move(moving_mean, moving_variance, x, momentum, rule, mask=None):
    """The moving statistics after the batch `x`, per channel whatever the grouping.

    "second_moment": the moving averages of E[x] and of E[x²], as in the authors' code.
    "variance": the moving averages of the mean and of the variance, as in Keras.
    A channel of which nothing counts keeps what it has.
    """
    mask = np.ones(x.shape, bool) if mask is None else mask
    n, positions, channels = x.shape
    moved_mean, moved_variance = np.array(moving_mean), np.array(moving_variance)
    for c in range(channels):
        counting = [
            (i, s, c) for i in range(n) for s in range(positions) if mask[i, s, c]
        ]
        if not counting:
            continue
        mean, variance = moments(x, counting)
        moved_mean[c] = momentum * moving_mean[c] + (1 - momentum) * mean
        if rule == "variance":
            moved_variance[c] = (
                momentum * moving_variance[c] + (1 - momentum) * variance
            )
        else:
            moving_square = moving_variance[c] + moving_mean[c] ** 2
            square = variance + mean**2
            moved_square = momentum * moving_square + (1 - momentum) * square
            moved_variance[c] = moved_square - moved_mean[c] ** 2
    return moved_mean, moved_variance


def pool(means, variances):
    """Law of total variance: moments of the union of parts of equal size."""
    mean = sum(means) / len(means)
    square = sum(v + m**2 for m, v in zip(means, variances)) / len(means)
    return mean, square - mean**2


def mix(example, moving, example_weight):
    """Eq. 3: mixes E[x] and E[x²] of the example and of the moving statistics."""
    (mean_x, variance_x), (mean_m, variance_m) = example, moving
    alpha = example_weight
    mean = alpha * mean_x + (1 - alpha) * mean_m
    square = alpha * (variance_x + mean_x**2) + (1 - alpha) * (variance_m + mean_m**2)
    return mean, square - mean**2


def infer(
    x,
    moving_mean,
    moving_variance,
    gamma,
    beta,
    epsilon,
    example_weight=0.0,
    groups=-1,
    mask=None,
):
    """Inference output: Eq. 3 for every example and channel group (Sec. 3.1).

    Of an example of which nothing counts the moving statistics remain.
    """
    mask = np.ones(x.shape, bool) if mask is None else mask
    y = np.zeros(x.shape)
    for together, counting in normalized_together(x, mask, 1, groups):
        channels = sorted({index[-1] for index in together})
        if not channels:
            continue
        moving = pool(
            [moving_mean[c] for c in channels], [moving_variance[c] for c in channels]
        )
        alpha = example_weight if counting else 0.0
        mean, variance = mix(moments(x, counting), moving, alpha)
        for index in together:
            c = index[-1]
            y[index] = normalize(x[index], mean, variance, gamma[c], beta[c], epsilon)
    return y


def output_bound(batch_size):
    """Eq. 2 and appendix A: no normalized number of `B` is further from 0 than this."""
    return math.sqrt(batch_size - 1)


def central_differences(function, x, step=1e-5):
    """Gradient of a scalar function, to check the formulas above."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = np.array(x)
            moved[index] += sign * step
            ends.append(function(moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def loss_covariance(values, sample_weights):
    """The covariance of the errors of mean losses, paired with the first setting.

    From values `(K + 1, n)`, of every example at every setting, to `(K, K)`.
    """
    settings, n = len(values) - 1, values.shape[1]
    total = sum(float(w) for w in sample_weights)
    losses = [
        [float(values[0, i] - values[k + 1, i]) for i in range(n)]
        for k in range(settings)
    ]
    means = [
        sum(sample_weights[i] * losses[k][i] for i in range(n)) / total
        for k in range(settings)
    ]
    covariance = np.zeros((settings, settings))
    for k in range(settings):
        for m in range(settings):
            for i in range(n):
                product = (losses[k][i] - means[k]) * (losses[m][i] - means[m])
                covariance[k, m] += sample_weights[i] ** 2 * product / total**2
    return covariance * n / (n - 1)


def loss_curve(weights, losses, covariance, ridge):
    """`b_1, b_2` of `b_1 a + b_2 a^1.5` by whitened least squares; covariance."""
    count = len(weights)
    noise = covariance + ridge * np.trace(covariance) / count * np.eye(count)
    root = np.linalg.inv(np.linalg.cholesky(noise))
    powers = np.array([[a, a**1.5] for a in weights])
    coefficients = np.linalg.lstsq(root @ powers, root @ losses, rcond=None)[0]
    return coefficients, np.linalg.inv((root @ powers).T @ (root @ powers))

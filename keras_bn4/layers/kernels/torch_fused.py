"""Training by PyTorch's own batch normalization, for all ghosts of a batch.

The kernel reads its input twice in the forward pass and twice in the backward pass, and
takes half precision as it is; on a GPU it is cuDNN's. Large ghosts are given to it one
after the other. Many small ones are laid side by side as if they were channels, which
costs two copies.
"""

import math

import keras

from keras_bn4.layers import ghosts
from keras_bn4.layers.kernels import general
from keras_bn4.layers.moments import Moments
from keras_bn4.layers.pooling import batch_moments

# The number of elements from which a ghost is worth a start of the kernel.
LEAST_ELEMENTS = 2**15
# The kernel multiplies before it adds, which rounds where a mean is many standard
# deviations. With fewer elements that happens by chance, so that one of them is
# subtracted first.
MANY = 64


def supports(x, mask, groups, axis, epsilon, synchronized):
    """Whether `normalize_batch` takes these inputs."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    return (
        mask is None
        and groups == x.shape[axis]
        and x.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and 0 not in x.shape
    )


def normalize_batch(x, mask, gamma, beta, ghost_batch_size, groups, axis, epsilon):
    """As in `general`, of inputs that `supports` has approved.

    The outputs have the dtype of `x`, and the moments are float32.
    """
    import torch

    n, channels = x.shape[0], x.shape[axis]
    positions = math.prod(x.shape[1:]) // channels
    k, size, longer = cut = ghosts.cut(n, ghost_batch_size)
    if size * positions == 1:
        # The kernel's variance of a single element is not a number.
        return general.normalize_batch(
            x, mask, gamma, beta, ghost_batch_size, groups, axis, epsilon
        )
    gamma = x.new_ones(channels, dtype=torch.float32) if gamma is None else gamma
    beta = torch.zeros_like(gamma) if beta is None else beta
    if k == 1 or longer or size * positions * channels >= LEAST_ELEMENTS:
        parts = x.split([cut.size_of(i) for i in range(k)]) if k > 1 else [x]
        results = [_normalize(part, gamma, beta, axis, epsilon) for part in parts]
        outputs, means, variances = zip(*results)
        outputs = torch.cat(outputs) if k > 1 else outputs[0]
        means, variances = torch.stack(means), torch.stack(variances)
    else:
        # Ghosts stand beside channels, as if there were `k` times as many of them.
        beside = x.unflatten(0, (k, size)).movedim(0, axis).flatten(axis, axis + 1)
        scales = gamma.repeat(k), beta.repeat(k)
        outputs, *moments = _normalize(beside, *scales, axis, epsilon)
        outputs = outputs.unflatten(axis, (k, channels)).movedim(axis, 0).flatten(0, 1)
        means, variances = (tensor.unflatten(0, (k, channels)) for tensor in moments)
    return outputs, _batch_moments(means, variances, cut, positions)


def _normalize(x, gamma, beta, axis, epsilon):
    """Starts the kernel: outputs, means and unbiased variances."""
    import torch

    x = x.movedim(axis, 1)
    few = x.dtype == torch.float32 and x.numel() < MANY * x.shape[1]
    if few:
        one = x.detach()[(slice(1), slice(None), *[slice(1)] * (x.ndim - 2))]
        x = x - one
    # Of three axes the kernel's fast form takes channels in the middle alone.
    inputs = x.unsqueeze(2) if x.ndim == 3 else x
    # The whole of a moving average of momentum 1 is the batch.
    mean, variance = x.new_zeros((2, x.shape[1]), dtype=torch.float32)
    outputs = torch.nn.functional.batch_norm(
        inputs, mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon
    )
    outputs = (outputs.squeeze(2) if x.ndim == 3 else outputs).movedim(1, axis)
    return outputs, mean + one.flatten() if few else mean, variance


def _batch_moments(means, variances, cut, positions):
    """Moments `(C,)` of the batch from means and unbiased variances `(k, C)`."""
    import torch

    if cut.longer:
        count = means.new_tensor([[cut.size_of(i)] for i in range(cut.ghosts)])
        count = positions * count
        variances = variances * ((count - 1) / count)
        return batch_moments(Moments(means, variances, count))
    count = cut.size * positions
    variance, mean = torch.var_mean(means, 0, correction=0)
    return Moments(mean, variance + variances.mean(0) * ((count - 1) / count))

"""Kernels: equivalent computations, of which a layer uses the fastest possible.

Those of training have one signature,

    kernel(x, mask, gamma, beta, ghost_batch_size, groups, axis, epsilon)
        -> (outputs, batch moments)

Each module has such a function `normalize_batch`, and `supports`, which says whether it
takes given inputs. `general` takes all.

Read `general`, `tensorflow_small`, `tensorflow_fused`, `tensorflow_replicas`,
`torch_fused`, `tensorflow_selected`.
"""

from keras_bn4.layers.kernels import (
    general,
    tensorflow_fused,
    tensorflow_replicas,
    torch_fused,
)

# The first one that supports its inputs is taken.
TRAINING = (tensorflow_replicas, tensorflow_fused, torch_fused, general)


def training_kernel(x, mask, groups, axis, epsilon, synchronized):
    """The fastest kernel to train with.

    Args:
        x: Tensor of shape `(n, ...)` with `C` channels along `axis`.
        mask: `None`, or a Keras mask.
        groups: Integer, the number of channel groups, `C` where there are none.
        axis: Integer from 1, the axis of the channels.
        epsilon: Float, added to the variance.
        synchronized: Boolean, whether ghosts are cut from the batch of all replicas.

    Returns:
        A function with the signature above.
    """
    return next(
        kernel.normalize_batch
        for kernel in TRAINING
        if kernel.supports(x, mask, groups, axis, epsilon, synchronized)
    )

"""Kernels: ways to compute the same, of which a layer takes the fastest that it can.

Those of training have one signature,

    kernel(x, mask, gamma, beta, ghost_batch_size, groups, axis, epsilon)
        -> (outputs, batch moments)

Each module has such a function `normalize_batch`, and `supports`, which says whether
this takes such inputs. `general` takes all of them.

Read `general`, `tensorflow_fused`, `tensorflow_replicas`, `tensorflow_selected`.
"""

from keras_bn4.layers.kernels import general, tensorflow_fused, tensorflow_replicas

# The first one that supports its inputs is taken.
TRAINING = (tensorflow_replicas, tensorflow_fused, general)


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

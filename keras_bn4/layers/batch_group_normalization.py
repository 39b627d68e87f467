"""The layer `BatchGroupNormalization`."""

import keras

from keras_bn4.common.arguments import check_groups, check_groups_divide
from keras_bn4.layers.arguments import (
    Checked,
    channels_of,
    check_positional,
    groups_fit,
)
from keras_bn4.layers.ghost_batch_normalization import GhostBatchNormalization
from keras_bn4.layers.normalize import scale_and_shift


@keras.saving.register_keras_serializable(package="keras_bn4")
class BatchGroupNormalization(GhostBatchNormalization):
    """Batch normalization over groups of channels and of examples.

    This is for batches that are too small for batch normalization. In training,
    statistics are taken over the `C / groups` channels of a group, the
    `ghost_batch_size` examples of a ghost, and all positions. The moving statistics are
    kept for each channel; at inference they are pooled within the groups, and the
    example's own group statistics are mixed in with weight `example_weight`, as in
    `GhostBatchNormalization`.

    **Relation to other normalizations:** with `ghost_batch_size=1` training is group
    normalization; with `groups=-1` it is ghost batch normalization; with both
    `ghost_batch_size=None` and `groups=-1` it is batch normalization. Inference with
    `example_weight=1` is group normalization. Unlike
    `keras.layers.GroupNormalization` this layer keeps moving statistics, so that
    inference can use what training has seen of other examples. The batch group
    normalization of Zhou et al. (2020, arXiv 2012.02782), of the same name, is another
    method: it merges channels and positions and groups the result.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.4.

    Args:
        groups: Positive integer that divides the number of channels, or -1 for as many
            groups as there are channels. 32 by default.
        axis: Integer, the axis of the channels, -1 by default.
        ghost_batch_size: Positive integer, the number of examples of a ghost, or `None`
            for the whole batch, which is the case of the paper.
        example_weight: Float from 0 to 1, as in `GhostBatchNormalization`.
        variance_tracking: `"second_moment"` or `"variance"`, as in
            `GhostBatchNormalization`, with ghosts or without.
        **kwargs: The other arguments of `keras.layers.BatchNormalization`, except
            `renorm`.

    Call arguments:
        inputs: Float tensor `(n, ...)`, of rank 2 or more.
        training: Boolean, as in `GhostBatchNormalization`.
        mask: Boolean tensor, as in `GhostBatchNormalization`.

    Input shape: any, of rank 2 or more, with a defined number of channels.

    Output shape: that of the input.

    Raises:
        TypeError: if an argument other than `groups` and `axis` is given by position.
        ValueError: if an argument is unknown or not among the values above, or, when
            the layer is built, if `groups` does not divide the number of channels.

    Examples:
        >>> import numpy as np
        >>> layer = BatchGroupNormalization(groups=4)
        >>> pair = np.random.default_rng(0).normal(3, 2, (2, 8, 8, 16))
        >>> outputs = keras.ops.convert_to_numpy(layer(pair, training=True))
        >>> bool(abs(outputs[..., :4].mean()) < 1e-5)  # 4 channels of both examples
        True
    """

    own_arguments = ("groups", *GhostBatchNormalization.own_arguments)

    groups = Checked(check_groups, groups_fit)

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        *positional,
        ghost_batch_size: int | None = None,
        example_weight: float = 0.0,
        variance_tracking: str = "second_moment",
        **kwargs,
    ):
        check_positional(type(self), ("groups", "axis"), positional)
        super().__init__(
            axis,
            ghost_batch_size=ghost_batch_size,
            example_weight=example_weight,
            variance_tracking=variance_tracking,
            **kwargs,
        )
        self.groups = groups

    @property
    def _has_own_statistics(self):
        return True

    def build(self, input_shape):
        check_groups_divide(self.groups, channels_of(self, input_shape))
        super().build(input_shape)

    @property
    def channels_per_group(self) -> int:
        """How many channels are normalized together, once the layer is built."""
        return 1 if self.groups == -1 else self.moving_mean.shape[0] // self.groups

    def _infer_plainly(self, inputs):
        moving = self._moving_of_groups(inputs.dtype)
        return scale_and_shift(inputs, moving, **self._affine(inputs))

"""The layer `GhostBatchNormalization`; start reading at its `call`."""

import keras
from keras import ops

from keras_bn4.common.arguments import check_ghost_batch_size
from keras_bn4.common.models import BatchNormalization
from keras_bn4.layers.arguments import (
    Checked,
    channels_of,
    check_mask,
    check_positional,
    check_variance_tracking,
    ghosts_fit,
    renorm_fits,
    with_hints,
)
from keras_bn4.layers.backend import (
    as_dtype,
    call_padded,
    is_ragged,
    when_positive,
    wide_dtype,
    widened,
)
from keras_bn4.layers.example_weight_variable import HasExampleWeight
from keras_bn4.layers.inference import weigh_examples
from keras_bn4.layers.kernels import tensorflow_replicas, training_kernel
from keras_bn4.layers.mixing import move
from keras_bn4.layers.moments import (
    Moments,
    element_mask,
    example_moments,
    hide_masked,
)
from keras_bn4.layers.pooling import batch_moments, group_moments


@keras.saving.register_keras_serializable(package="keras_bn4")
class GhostBatchNormalization(HasExampleWeight, BatchNormalization):
    """Batch normalization over ghost batches, with inference example weighing.

    In training, every ghost is normalized by its own statistics. A ghost is a
    contiguous run of `ghost_batch_size` examples of the minibatch. The smaller the
    ghosts, the noisier their statistics and the stronger the regularization; sizes from
    8 to 32 are a good start at the usual batch sizes. Inference does not depend on the
    ghost batch size. It uses the moving statistics, into which it mixes the example's
    own statistics with weight `a = example_weight`:

    - `mean = a * mean(example) + (1 - a) * moving_mean`
    - `variance = a * variance(example) + (1 - a) * moving_variance
      + a * (1 - a) * (mean(example) - moving_mean) ** 2`

    This narrows the gap between training, where an example is part of the statistics
    that normalize it, and inference, where it is not. It needs no training, so it can
    be set on a trained model (see `keras_bn4.convert` and
    `keras_bn4.sweep_example_weight`).

    Where the data are ordered by class, a ghost sees only one class, because ghosts are
    contiguous. Shuffle within the minibatch.

    Under `tf.distribute` with several replicas, ghosts are cut from the examples of one
    replica, and the moving statistics are the mean of the replicas' ones, weighted by
    their numbers of examples. With `synchronized=True` ghosts are cut from the
    minibatch of all replicas, in their order, and the layer computes what it would
    compute on one device. On JAX, a distribution of the data always works like this.

    **Relation to `keras.layers.BatchNormalization`:** with the default arguments this
    layer is that layer, in training and at inference, moving statistics included.
    Weights have the same names, shapes and order, so that weights and checkpoints fit
    both. A program that loads a saved model needs `import keras_bn4`. Positional
    arguments mean the same in both; the arguments that Keras' layer lacks are given by
    name. So `keras.layers.BatchNormalization = keras_bn4.GhostBatchNormalization` works
    for code that creates its layers afterwards; `keras_bn4.convert` changes an existing
    model.

    **Relation to `virtual_batch_size` of tf.keras:** with that argument the examples of
    a ghost were not contiguous, its size had to divide the batch size, and the moving
    variance was the mean of the variances of ghosts.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548),
      Sec. 3.1 (Eq. 3) and Sec. 3.2 (Eq. 4).

    Args:
        axis: Integer, the axis of the channels, -1 by default.
        ghost_batch_size: Positive integer `B'`, the number of examples of a ghost, or
            `None` for the whole batch. A batch of `n` examples is cut into
            `max(1, n // ghost_batch_size)` ghosts as `numpy.array_split` cuts it, so
            that no ghost is smaller than this unless the batch is.
        example_weight: Float from 0 to 1, the weight of the example's own statistics
            at inference. 0 is ordinary inference. It is not Keras' `sample_weight`. It
            is a property: setting it takes effect in functions that are already
            compiled. It is part of the layer's configuration and not of its weights.
        variance_tracking: What the moving variance follows while `ghost_batch_size` is
            set. `"second_moment"`, as in the authors' code, is the moving average of
            the second moment less the squared moving mean, which contains the variance
            of batch means as well. After `k` steps from zero a mean of `m` still adds
            up to `m ** 2 * momentum ** k` to it, so that short trainings need
            `momentum=0.9`. `"variance"` is the moving average of the batch variance, as
            in Keras.
        **kwargs: The other arguments of `keras.layers.BatchNormalization`: `momentum`,
            `epsilon`, `center`, `scale`, initializers, regularizers, constraints,
            `renorm` (not with ghosts), `synchronized`, `name`, `dtype`.

    Call arguments:
        inputs: Float tensor `(n, ...)`, of rank 2 or more. The layer computes in
            float32 at least, whatever the dtype policy.
        training: Boolean, whether to normalize by the statistics of ghosts and to
            update the moving statistics. A layer with `trainable=False` does neither.
        mask: Boolean tensor with the dimensions of `inputs` except that of the
            channels. Masked positions count in no statistic.

    Input shape: any, of rank 2 or more.

    Output shape: that of the input.

    Raises:
        TypeError: if an argument other than `axis` is given by position.
        ValueError: if an argument is unknown or not among the values above, or if
            `renorm` is combined with ghosts.

    Examples:
        >>> import numpy as np
        >>> layer = GhostBatchNormalization(ghost_batch_size=4, example_weight=0.1)
        >>> images = np.random.default_rng(0).normal(3, 2, (10, 8, 8, 3))
        >>> outputs = layer(images, training=True)
        >>> first_ghost = keras.ops.convert_to_numpy(outputs)[:5]  # 10 = 5 + 5
        >>> bool(np.abs(first_ghost.mean((0, 1, 2))).max() < 1e-5)
        True
        >>> layer.example_weight = 0.0  # no retrace
    """

    # The arguments that `keras.layers.BatchNormalization` lacks.
    own_arguments: tuple[str, ...] = (
        "ghost_batch_size",
        "example_weight",
        "variance_tracking",
    )

    ghost_batch_size = Checked(check_ghost_batch_size, ghosts_fit)
    variance_tracking = Checked(check_variance_tracking)
    # Keras' own, which is compatible with neither ghosts nor groups.
    renorm = Checked(lambda renorm: renorm, renorm_fits)

    def __init__(
        self,
        axis: int = -1,
        *positional,
        ghost_batch_size: int | None = None,
        example_weight: float = 0.0,
        variance_tracking: str = "second_moment",
        **kwargs,
    ):
        check_positional(type(self), ("axis",), positional)
        try:
            super().__init__(axis, **kwargs)
        except (TypeError, ValueError) as error:
            raise with_hints(error, type(self), kwargs) from None
        self.ghost_batch_size = ghost_batch_size
        self.variance_tracking = variance_tracking
        self._set_initial_example_weight(example_weight)

    @property
    def autocast(self) -> bool:
        """Whether Keras casts the inputs, which would turn 7e4 into infinity: no."""
        return False

    @autocast.setter
    def autocast(self, value):
        # What Keras' layer has, once `keras_bn4.revert` makes this layer one.
        vars(self)["autocast"] = value

    def build(self, input_shape):
        channels_of(self, input_shape)
        super().build(input_shape)
        self.build_example_weight(input_shape)

    @property
    def _channel_axis(self):
        return self.axis % self.input_spec.ndim

    @property
    def channels_per_group(self) -> int:
        """How many channels are normalized together."""
        return 1

    @property
    def _channel_groups(self):
        return self.moving_mean.shape[0] // self.channels_per_group

    @property
    def _has_own_statistics(self):
        """Whether training differs from that of `keras.layers.BatchNormalization`."""
        return self.ghost_batch_size is not None

    def call(self, inputs, training=None, mask=None):
        if is_ragged(inputs):
            return call_padded(lambda x, mask: self.call(x, training, mask), inputs)
        if mask is not None:
            check_mask(mask, inputs, self._channel_axis)
        x = self._widen(inputs)
        if not (training and self.trainable):
            outputs = self._infer(widened(x), mask)
        elif self.renorm:
            outputs = self._train_with_renorm(widened(x), mask)
        else:
            outputs = self._train(x, mask)
        return as_dtype(outputs, self.compute_dtype)

    def _widen(self, x):
        """Inputs in the dtype of the layer, where no kernel is known to take them."""
        dtype = keras.backend.standardize_dtype(x.dtype)
        if dtype == self.compute_dtype:
            return x
        # Only half precision stays as narrow as it is, which some kernels take. Nothing
        # is rounded: integers become float32 at least.
        dtype = dtype if dtype in ("float16", "bfloat16") else "float32"
        return as_dtype(x, keras.backend.result_type(dtype, self.compute_dtype))

    def _train(self, x, mask):
        groups, axis = self._channel_groups, self._channel_axis
        kernel = training_kernel(x, mask, groups, axis, self.epsilon, self.synchronized)
        size, affine = self.ghost_batch_size, self._affine(x)
        outputs, batch = kernel(x, mask, ghost_batch_size=size, groups=groups, **affine)
        self._update_moving_statistics(batch, x.shape[0])
        return outputs

    def _infer(self, inputs, mask):
        # Both branches return the same dtype, that of Keras' layer.
        def mixed(is_positive=None):
            outputs = weigh_examples(
                inputs,
                mask,
                self._moving_of_groups(inputs.dtype),
                ops.cast(self._example_weight_variable, inputs.dtype),
                is_positive,
                self._channel_groups,
                **self._affine(inputs),
            )
            return as_dtype(outputs, self.compute_dtype)

        def plain():
            return as_dtype(self._infer_plainly(inputs), self.compute_dtype)

        return when_positive(self._example_weight_variable, mixed, plain)

    def _infer_plainly(self, inputs):
        """Inference at weight 0: that of Keras, so that not a bit changes."""
        return super().call(inputs, training=False)

    def _moving_of_groups(self, dtype):
        """Moving statistics `(1, C)`, pooled over groups of channels."""
        mean, variance, _ = self._moving(dtype)
        return group_moments(Moments(mean[None], variance[None]), self._channel_groups)

    def _train_with_renorm(self, inputs, mask):
        """Trains as Keras does, with the moments of the batch from `_moments`."""
        variables = [
            self.moving_mean,
            self.moving_variance,
            self.renorm_mean,
            self.renorm_stddev,
            self.moving_stddev,
        ]
        before = [ops.copy(variable) for variable in variables]
        inputs, _ = hide_masked(inputs, mask, self._channel_axis)
        outputs = super().call(inputs, training=True, mask=mask)
        count = ops.size(inputs) if mask is None else ops.sum(ops.cast(mask, "int32"))
        if self.synchronized and tensorflow_replicas.context() is not None:
            count = tensorflow_replicas.total(count)
        # Where nothing counts, nothing moves.
        after = [
            ops.where(count > 0, ops.convert_to_tensor(variable), old)
            for variable, old in zip(variables, before)
        ]
        if tensorflow_replicas.context() is not None and not self.synchronized:
            after = tensorflow_replicas.average(after, count)
            # Keras takes the next moving variance from the deviation.
            after[-1] = ops.sqrt(after[1] + self.epsilon)
        for variable, value in zip(variables, after):
            variable.assign(value)
        return outputs

    def _affine(self, inputs):
        """The arguments of a normalization besides inputs and moments."""
        dtype = wide_dtype(inputs.dtype)
        return {
            "gamma": as_dtype(self.gamma, dtype),
            "beta": as_dtype(self.beta, dtype),
            "axis": self._channel_axis,
            "epsilon": self.epsilon,
        }

    def _moving(self, dtype):
        return Moments(
            as_dtype(self.moving_mean, dtype), as_dtype(self.moving_variance, dtype)
        )

    def _update_moving_statistics(self, batch, n=None):
        """Moves them by the moments of a batch, of `n` examples if it has no count."""
        follows_second_moment = (
            self._has_own_statistics and self.variance_tracking == "second_moment"
        )
        moving = self._moving(batch.mean.dtype)
        moved = move(moving, batch, self.momentum, follows_second_moment)
        if tensorflow_replicas.context() is not None and not self.synchronized:
            count = n if batch.count is None else ops.max(batch.count)
            moved = Moments(*tensorflow_replicas.average(moved[:2], count))
        self.moving_mean.assign(moved.mean)
        self.moving_variance.assign(moved.variance)

    def _moments(self, inputs, mask):
        # Overrides what Keras' layer calls to train with `renorm`, and is the riskiest
        # private name used here. Keras' own moments are not centred on PyTorch, and
        # fail with a mask where the channels are not last.
        if mask is not None:
            mask = element_mask(mask, inputs, self._channel_axis)
        examples = example_moments(inputs, self._channel_axis, mask)
        if self.synchronized and tensorflow_replicas.context() is not None:
            moments, _ = tensorflow_replicas.pooled_moments(examples, None)
            return moments.mean[0], moments.variance[0]
        return batch_moments(examples)[:2]

    def get_config(self):
        own = {name: getattr(self, name) for name in self.own_arguments}
        return {**super().get_config(), **own}

"""The two Keras layers: variables, wiring, configuration."""

import warnings

import keras
from keras import ops

from keras_bn4 import fused, normalization, replicas, statistics
from keras_bn4.arguments import (
    check_example_weight,
    check_ghost_batch_size,
    check_groups,
    check_groups_divide,
)
from keras_bn4.backend import dear
from keras_bn4.statistics import Moments


@keras.saving.register_keras_serializable(package="keras_bn4")
class GhostBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization over ghost batches, with example weighing at inference.

    In training every ghost, a contiguous run of `ghost_batch_size` examples of the
    minibatch, is normalized by its own statistics. The smaller the ghost, the
    noisier its statistics and the stronger the regularization; sizes from 8 to 32
    are a good start at the usual batch sizes. Inference never looks at the ghost
    size: it uses the moving statistics, of which a share `example_weight` can be
    given to the example's own:

    - `mean = a * mean(example) + (1 - a) * moving_mean`
    - `variance = a * variance(example) + (1 - a) * moving_variance
      + a * (1 - a) * (mean(example) - moving_mean) ** 2`

    This narrows the gap between training, where an example is part of its own
    statistics, and inference, where it is not. It needs no training, so it can be
    set on a trained model (see `keras_bn4.convert` and
    `keras_bn4.sweep_example_weight`).

    Ghosts are contiguous: in data ordered by class a ghost sees one class. Shuffle
    within the minibatch.

    Under `tf.distribute` with several replicas, ghosts are of the examples of one
    replica, and the moving statistics the mean of the replicas', weighted by their
    examples. With `synchronized=True` ghosts are cut from the minibatch of all
    replicas, in their order, and the layer does what it would do on one device. On JAX
    a distribution of the data is always of this kind.

    **Relation to `keras.layers.BatchNormalization`:** with the default arguments
    the layer is that layer, in training and inference, moving statistics included.
    Weights have the same names, shapes and order, so weights and checkpoints fit
    both. A saved model needs `import keras_bn4` to load.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548),
      Sec. 3.1 (Eq. 3) and Sec. 3.2 (Eq. 4).

    Args:
        ghost_batch_size: Positive integer `B'`, the examples of a ghost, or `None`
            for the whole batch. A batch of `n` examples is cut into
            `max(1, n // ghost_batch_size)` ghosts as `numpy.array_split` does, so
            that none is smaller than this unless the batch is.
        example_weight: Float from 0 to 1, the weight of the example's own
            statistics at inference; 0 is ordinary inference. Not to be confused
            with Keras' `sample_weight`. It is a property: setting it takes effect
            in functions that are already compiled, and is part of the
            configuration, not of the weights.
        variance_tracking: What the moving variance follows while
            `ghost_batch_size` is set. `"second_moment"`, as the authors do, is the
            moving average of the second moment less the squared moving mean, and so
            holds the spread of batch means too; after `k` steps from zero a mean of
            `m` still adds up to `m ** 2 * momentum ** k`, so short runs want
            `momentum=0.9`. `"variance"` is the moving average of the batch
            variance, as in Keras.
        **kwargs: Arguments of `keras.layers.BatchNormalization`: `axis`,
            `momentum`, `epsilon`, `center`, `scale`, initializers, regularizers,
            constraints, `renorm` (not with ghosts), `synchronized`, `name`,
            `dtype`.

    Call arguments:
        inputs: Float tensor `(n, ...)`, of rank 2 or more. It is computed in
            float32 at least, whatever the dtype policy.
        training: Boolean, whether to normalize by the ghosts' statistics and to
            update the moving ones. A layer with `trainable=False` never does.
        mask: Boolean tensor with one dimension less than `inputs`, lacking the
            channels'. What is masked counts in no statistic.

    Input shape: any, of rank 2 or more.

    Output shape: that of the input.

    Raises:
        ValueError: if an argument is not among the values above, or `renorm` is
            combined with ghosts.

    Example:

    >>> import numpy as np
    >>> layer = GhostBatchNormalization(ghost_batch_size=4, example_weight=0.1)
    >>> images = np.random.default_rng(0).normal(3, 2, (10, 8, 8, 3))
    >>> outputs = layer(images, training=True)
    >>> first_ghost = keras.ops.convert_to_numpy(outputs)[:5]  # 10 = 5 + 5
    >>> bool(np.abs(first_ghost.mean((0, 1, 2))).max() < 1e-5)
    True
    >>> layer.example_weight = 0.0  # no retrace
    """

    _example_weight_variable = None

    def __init__(
        self,
        ghost_batch_size=None,
        example_weight=0.0,
        variance_tracking="second_moment",
        **kwargs,
    ):
        # Autocasting would turn 7e4 into infinity before `call` could widen it.
        super().__init__(**{"autocast": False, **kwargs})
        if variance_tracking not in ("second_moment", "variance"):
            raise ValueError(
                'Argument `variance_tracking` must be "second_moment" or "variance". '
                f"Received: variance_tracking={variance_tracking!r}."
            )
        self.ghost_batch_size = check_ghost_batch_size(ghost_batch_size)
        self.variance_tracking = variance_tracking
        self._example_weight = check_example_weight(example_weight)
        self._warned_of_constant_output = False
        if self.renorm and self._has_own_statistics:
            raise ValueError(
                "`renorm` corrects the statistics of the whole batch and can't be "
                "combined with ghosts or groups. Leave out `renorm`, or use "
                "GhostBatchNormalization with ghost_batch_size=None. Received: "
                f"renorm={self.renorm}, ghost_batch_size={self.ghost_batch_size}."
            )

    @property
    def _has_own_statistics(self):
        """Whether training differs from that of Keras' layer."""
        return self.ghost_batch_size is not None

    def build(self, input_shape):
        rank = len(input_shape)
        if not 1 <= (self.axis + rank if self.axis < 0 else self.axis) < rank:
            raise ValueError(
                "The inputs need examples along their first axis and channels along "
                f"`axis`, another one. Received: axis={self.axis}, "
                f"input_shape={tuple(input_shape)}."
            )
        super().build(input_shape)
        self.build_example_weight(input_shape)

    def build_example_weight(self, input_shape):
        """Creates the variable behind `example_weight` (`build` and `convert` do).

        Args:
            input_shape: Shape tuple of the inputs.
        """
        self._channel_axis = self.axis % len(input_shape)
        self._single_position = all(
            size == 1
            for i, size in enumerate(input_shape)
            if i not in (0, self._channel_axis)
        )
        with keras.name_scope(self.name):
            variable = keras.Variable(
                # Not `Constant`, which rounds to float32 on its way.
                initializer=lambda shape, dtype: ops.convert_to_tensor(
                    self._example_weight, dtype
                ),
                shape=(),
                dtype=keras.backend.result_type(self.variable_dtype, "float32"),
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name="example_weight",
            )
        # Past every tracker: a tracked variable would be one of `weights`, and would
        # be missing in all checkpoints of Keras' layer. `variables` names it.
        object.__setattr__(self, "_example_weight_variable", variable)
        self._warn_of_constant_output()

    @property
    def variables(self):
        """The weights, and the example weight, which is state but not a weight."""
        variables = super().variables
        if self._example_weight_variable is not None:
            variables.append(self._example_weight_variable)
        return variables

    def _track_variables(self):
        # PyTorch's own list, from which `state_dict` is made: weights only.
        super()._track_variables()
        if self._example_weight_variable is not None:
            self._post_untrack_variable(self._example_weight_variable)

    @property
    def example_weight(self):
        """Weight of the example's own statistics at inference, a float in [0, 1]."""
        if self._example_weight_variable is not None:
            value = self._example_weight_variable.numpy()
            # As it was given, 0.1 and not 0.10000000149011612, unless something
            # else has written the variable since.
            if value != value.dtype.type(self._example_weight):
                return float(value)
        return self._example_weight

    @example_weight.setter
    def example_weight(self, value):
        self._example_weight = check_example_weight(value)
        if self._example_weight_variable is not None:
            self._example_weight_variable.assign(self._example_weight)
            self._warn_of_constant_output()

    def _warn_of_constant_output(self):
        if self._warned_of_constant_output or self._example_weight < 1:
            return
        if self._single_position and self.channels_per_group == 1:
            self._warned_of_constant_output = True
            warnings.warn(
                f"Layer '{self.name}' normalizes single numbers: at "
                "example_weight=1, each by itself alone, its output at inference is "
                "`beta` whatever the input. Use an example_weight below 1.",
                stacklevel=3,
            )

    @property
    def channels_per_group(self):
        """How many channels are normalized together."""
        return 1

    def _group(self, moments):
        return moments

    def call(self, inputs, training=None, mask=None):
        inputs = ops.convert_to_tensor(inputs)
        # Half precision that comes to a wider layer is widened before it is rounded.
        inputs = ops.cast(
            inputs, keras.backend.result_type(inputs.dtype, self.compute_dtype)
        )
        training = training and self.trainable
        if training and mask is None and self._can_train_fused(inputs):
            outputs = self._train_fused(inputs)
            return ops.cast(outputs, self.compute_dtype)
        inputs = ops.cast(
            inputs, keras.backend.result_type(self.compute_dtype, "float32")
        )
        if not training:
            outputs = self._infer(inputs, mask)
        elif self.renorm:
            outputs = super().call(inputs, training=True, mask=mask)
            self._average_renorm(inputs, mask)
        else:
            outputs = self._train(inputs, mask)
        return ops.cast(outputs, self.compute_dtype)

    def _can_train_fused(self, inputs):
        return (
            not self.renorm
            and not self._pools_replicas
            and self.channels_per_group == 1
            and self.moving_mean.dtype == "float32"
            and fused.serves(inputs, self._channel_axis, self.epsilon)
        )

    @property
    def _pools_replicas(self):
        """Whether ghosts reach over the batch of all replicas of `tf.distribute`."""
        return self.synchronized and replicas.context() is not None

    def _train_fused(self, inputs):
        outputs, batch = fused.normalize_ghosts(
            inputs,
            self._parameter(self.gamma, "float32"),
            self._parameter(self.beta, "float32"),
            self.ghost_batch_size,
            self.epsilon,
        )
        self._update_moving(batch)
        return outputs

    def _train(self, inputs, mask):
        if mask is not None:
            mask = statistics.element_mask(mask, inputs, self._channel_axis)
            # A masked NaN must not reach the gradients of gamma and beta either,
            # by way of outputs that nobody uses.
            keep = ops.logical_or(mask, ops.isfinite(inputs))
            inputs = ops.where(keep, inputs, 0)
        here = replicas.context()
        ghosts = statistics.equal_ghosts(inputs.shape[0], self.ghost_batch_size)
        # Over a single axis XLA on a CPU sums faster the way it is. Replicas have to
        # tell how many examples they have.
        if here or ghosts is None or (ghosts == 1 and len(inputs.shape) == 2):
            ghosts, axis, shape = None, self._channel_axis, None
        else:
            # Ghosts take the place of examples, their examples are positions.
            axis, shape = self._channel_axis + 1, inputs.shape
            inputs = ops.reshape(inputs, (ghosts, -1, *shape[1:]))
            mask = None if mask is None else ops.reshape(mask, (ghosts, -1, *shape[1:]))
        examples = statistics.of_examples(inputs, axis, mask)
        if here and self.synchronized:
            examples, batch = replicas.of_ghosts(examples, self.ghost_batch_size)
        else:
            examples = replicas.counted(examples) if here else examples
            batch = statistics.of_batch(examples)
            if ghosts is None:
                examples = statistics.of_ghosts(examples, self.ghost_batch_size)
        self._update_moving(batch)
        moments = self._group(examples)
        outputs = self._normalize(normalization.normalize, inputs, moments, axis)
        return outputs if shape is None else ops.reshape(outputs, shape)

    def _infer(self, inputs, mask):
        mean, variance, _ = self._moving(inputs.dtype)
        moving = self._group(Moments(mean[None], variance[None]))
        weight = ops.convert_to_tensor(self._example_weight_variable)

        def mixed():
            elements = mask
            if mask is not None:
                elements = statistics.element_mask(mask, inputs, self._channel_axis)
            examples = statistics.of_examples(
                inputs, self._channel_axis, elements, training=False
            )
            mean, variance = dear(examples.mean, examples.variance)
            examples = self._group(Moments(mean, variance, examples.count))
            mixture = statistics.mix(examples, moving, ops.cast(weight, inputs.dtype))
            return self._normalize(
                normalization.scale_and_shift, inputs, mixture, self._channel_axis
            )

        def plain():
            # Keras' own operation, so that nothing changes by a single bit.
            return ops.batch_normalization(
                inputs,
                mean=moving.mean[0],
                variance=moving.variance[0],
                axis=self.axis,
                offset=self._parameter(self.beta, inputs.dtype),
                scale=self._parameter(self.gamma, inputs.dtype),
                epsilon=self.epsilon,
            )

        return normalization.when_positive(weight, mixed, plain)

    def _normalize(self, function, inputs, moments, axis):
        return function(
            inputs,
            moments,
            self._parameter(self.gamma, inputs.dtype),
            self._parameter(self.beta, inputs.dtype),
            axis,
            self.epsilon,
        )

    def _parameter(self, variable, dtype):
        return None if variable is None else ops.cast(variable, dtype)

    def _moving(self, dtype):
        return Moments(
            ops.cast(self.moving_mean, dtype), ops.cast(self.moving_variance, dtype)
        )

    def _update_moving(self, batch):
        follows_second_moment = (
            self._has_own_statistics and self.variance_tracking == "second_moment"
        )
        moved = statistics.move(
            self._moving(batch.mean.dtype), batch, self.momentum, follows_second_moment
        )
        if replicas.context() is not None and not self.synchronized:
            moved = Moments(*replicas.average(moved[:2], batch.count[0]))
        self.moving_mean.assign(moved.mean)
        self.moving_variance.assign(moved.variance)

    def _moments(self, inputs, mask):
        # What Keras' layer calls to train with `renorm`: its own moments are not
        # centred on PyTorch, and fail with a mask where the channels are not last.
        if mask is not None:
            mask = statistics.element_mask(mask, inputs, self._channel_axis)
        examples = statistics.of_examples(inputs, self._channel_axis, mask)
        if self._pools_replicas:
            mean, variance, _ = replicas.of_ghosts(examples, None)[0]
            return mean[0], variance[0]
        return statistics.of_batch(examples)[:2]

    def _average_renorm(self, inputs, mask):
        if self.synchronized or replicas.context() is None:
            return
        variables = [
            self.moving_mean,
            self.moving_variance,
            self.renorm_mean,
            self.renorm_stddev,
        ]
        count = ops.shape(inputs)[0] if mask is None else ops.count_nonzero(mask)
        moved = replicas.average([ops.convert_to_tensor(v) for v in variables], count)
        for variable, value in zip(variables, moved):
            variable.assign(value)

    def get_config(self):
        return {
            **super().get_config(),
            "ghost_batch_size": self.ghost_batch_size,
            "example_weight": self.example_weight,
            "variance_tracking": self.variance_tracking,
        }


@keras.saving.register_keras_serializable(package="keras_bn4")
class BatchGroupNormalization(GhostBatchNormalization):
    """Batch normalization over groups of channels and of examples.

    For batches too small for batch normalization. In training, statistics are those
    of `C / groups` channels of the `ghost_batch_size` examples of a ghost, at all
    positions. At inference the moving statistics, which stay per channel, are pooled
    within the groups, and mixed with a share `example_weight` of the example's own
    group statistics, as in `GhostBatchNormalization`.

    **Relation to other normalizations:** with `ghost_batch_size=1` training is group
    normalization, with `groups=-1` ghost batch normalization, with both
    `ghost_batch_size=None` and `groups=-1` batch normalization. Inference with
    `example_weight=1` is group normalization. Unlike
    `keras.layers.GroupNormalization` the layer keeps moving statistics, so that
    inference can use what training has seen of other examples.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.4.

    Args:
        groups: Positive integer that divides the channels, or -1 for as many groups
            as there are channels.
        ghost_batch_size: Positive integer, the examples of a ghost, or `None` for
            the whole batch, which is the case of the paper.
        example_weight: Float from 0 to 1, as in `GhostBatchNormalization`.
        variance_tracking: `"second_moment"` or `"variance"`, as in
            `GhostBatchNormalization`, with ghosts or without.
        **kwargs: Arguments of `keras.layers.BatchNormalization`, but `renorm`.

    Call arguments:
        inputs: Float tensor `(n, ...)`, of rank 2 or more.
        training: Boolean, as in `GhostBatchNormalization`.
        mask: Boolean tensor with one dimension less than `inputs`, as in
            `GhostBatchNormalization`.

    Input shape: any, of rank 2 or more, with a defined number of channels.

    Output shape: that of the input.

    Raises:
        ValueError: if an argument is not among the values above, or, when the layer
            is built, if `groups` does not divide the channels.

    Example:

    >>> import numpy as np
    >>> layer = BatchGroupNormalization(groups=4)
    >>> pair = np.random.default_rng(0).normal(3, 2, (2, 8, 8, 16))
    >>> outputs = keras.ops.convert_to_numpy(layer(pair, training=True))
    >>> bool(abs(outputs[..., :4].mean()) < 1e-5)  # 4 channels of both examples
    True
    """

    def __init__(
        self,
        groups=32,
        ghost_batch_size=None,
        example_weight=0.0,
        variance_tracking="second_moment",
        **kwargs,
    ):
        super().__init__(ghost_batch_size, example_weight, variance_tracking, **kwargs)
        self.groups = check_groups(groups)

    @property
    def _has_own_statistics(self):
        return True

    def build(self, input_shape):
        channels = input_shape[self.axis]
        if channels is None:
            raise ValueError(
                f"Axis {self.axis} of the input tensor should have a defined "
                "dimension but the layer received an input with shape "
                f"{tuple(input_shape)}."
            )
        check_groups_divide(self.groups, channels)
        super().build(input_shape)

    @property
    def _resolved_groups(self):
        channels = self.moving_mean.shape[0]
        return channels if self.groups == -1 else self.groups

    @property
    def channels_per_group(self):
        """How many channels are normalized together, once the layer is built."""
        return self.moving_mean.shape[0] // self._resolved_groups

    def _group(self, moments):
        return statistics.of_groups(moments, self._resolved_groups)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}

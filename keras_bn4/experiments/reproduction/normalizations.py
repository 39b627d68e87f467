"""Normalization layers of the trainings.

Two of them are group normalizations that the paper tried without success (Appendix C).
They are for these experiments only, and take no masks.
"""

import keras
from keras import ops

from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization
from keras_bn4.layers.moments import Moments, example_moments
from keras_bn4.layers.normalize import normalize
from keras_bn4.layers.pooling import batch_moments, group_moments
from keras_bn4.weight_decay import CenteredL2

# At least this share of a variance is kept, so that an almost constant example with
# noise on its statistics is not divided by almost 0.
LEAST_SHARE = 0.25


def normalization(settings, seeds):
    """Makes a layer of these settings, with a seed drawn from a NumPy generator."""
    keywords = {
        "momentum": settings.statistics_momentum,
        "variance_tracking": settings.variance_tracking,
    }
    if settings.affine_decay != "none":
        l2 = settings.weight_decay / 2
        center = {"to 0": 0.0, "to 1": 1.0}[settings.affine_decay]
        keywords["gamma_regularizer"] = CenteredL2(l2, center=center)
        keywords["beta_regularizer"] = keras.regularizers.L2(l2)
    if settings.renorm:
        keywords["renorm"] = True
        keywords["renorm_clipping"] = {"rmin": 1 / 3, "rmax": 3, "dmax": 5}
        keywords["renorm_momentum"] = settings.statistics_momentum
    if settings.elements_per_group is not None:
        return EqualGroupNormalization(settings.elements_per_group, **keywords)
    if settings.statistics_noise or settings.random_groups:
        return StochasticGroupNormalization(
            settings.groups,
            noise=settings.statistics_noise,
            random_share=settings.random_groups,
            seed=int(seeds.integers(2**31)),
            **keywords,
        )
    keywords["ghost_batch_size"] = settings.ghost_batch_size
    if settings.groups is None:
        return GhostBatchNormalization(**keywords)
    return BatchGroupNormalization(settings.groups, **keywords)


class StochasticGroupNormalization(BatchGroupNormalization):
    """Group normalization with noise on the statistics, or with random groups.

    In training, the mean `m` and the variance `v` of an example and group become
    `m + noise * √v' * e` and `max(v + noise * v' * f, v / 4)`. Here `v'` is the moving
    variance, pooled within the group, and `e` and `f` are drawn for every example,
    group and step from the standard normal distribution.

    With random groups, every step deals the channels to groups of the same size.
    Only the statistics know of it: a channel keeps its γ and β, and its place.

    Inference is that of `BatchGroupNormalization`, with groups of neighbours and
    without noise.

    Args:
        groups: Integer that divides the number of channels.
        noise: Float, the strength of the noise.
        random_share: Float, the share of steps with random groups. The others have
            groups of neighbours.
        seed: Integer. Layers of one network need different ones.
        **kwargs: Arguments of `BatchGroupNormalization`.
    """

    def __init__(self, groups, *, noise=0.0, random_share=0.0, seed=0, **kwargs):
        super().__init__(groups, ghost_batch_size=1, **kwargs)
        self.noise = noise
        self.random_share = random_share
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        if not (training and self.trainable):
            return super().call(inputs, training=training)
        examples = example_moments(inputs, self._channel_axis)
        # Before the update, which on PyTorch changes the very tensors in place.
        moments = noisy_group_moments(
            examples,
            self._moving(inputs.dtype),
            self._channel_groups,
            *self.draw(ops.shape(inputs)[0]),
        )
        self._update_moving_statistics(batch_moments(examples))
        return normalize(inputs, moments, **self._affine(inputs))

    def draw(self, n):
        """Draws the last three arguments of `noisy_group_moments` for `n` examples."""
        order = to_mean = to_variance = None
        if self.random_share:
            channels = self.moving_mean.shape[0]
            order = ops.argsort(self._draw(keras.random.uniform, (channels,)))
            if self.random_share < 1:
                is_random = self._draw(keras.random.uniform, ()) < self.random_share
                neighbours = ops.arange(channels, dtype=order.dtype)
                order = ops.where(is_random, order, neighbours)
        if self.noise:
            shape = (n, self._channel_groups)
            to_mean, to_variance = (
                self.noise * self._draw(keras.random.normal, shape) for _ in range(2)
            )
        return order, to_mean, to_variance

    def _draw(self, distribution, shape):
        return distribution(shape, dtype="float32", seed=self.seed_generator)


def noisy_group_moments(examples, moving, groups, order, to_mean, to_variance):
    """The moments of groups, of any channels, with noise.

    Args:
        examples: `Moments` of shape `(n, C)`.
        moving: `Moments` of shape `(C,)`.
        groups: Integer that divides `C`.
        order: The channels in the order in which they are cut into groups, an integer
            tensor of shape `(C,)`, or `None`.
        to_mean: Tensor of shape `(n, groups)`, the noise on the means in moving
            standard deviations, or `None`.
        to_variance: The same on variances, in moving variances, or `None`.

    Returns:
        `Moments` of shape `(n, C)`, every channel carrying those of its group.
    """
    moments = group_moments(_take(examples, order), groups)
    if to_mean is not None:
        moving = _take(Moments(moving.mean[None], moving.variance[None]), order)
        scale = group_moments(moving, groups).variance
        size = examples.mean.shape[-1] // groups
        mean, variance, count = moments
        mean = mean + ops.repeat(to_mean, size, -1) * ops.sqrt(scale)
        noisy = variance + ops.repeat(to_variance, size, -1) * scale
        variance = ops.maximum(noisy, LEAST_SHARE * variance)
        moments = Moments(mean, variance, count)
    return _take(moments, None if order is None else ops.argsort(order))


def _take(moments, order):
    if order is None:
        return moments
    return Moments(*(None if t is None else ops.take(t, order, -1) for t in moments))


class EqualGroupNormalization(BatchGroupNormalization):
    """Group normalization with equally many elements a group in all layers.

    The elements of a group are height × width × channels, so that layers with small
    images have large groups of channels.

    Args:
        elements: Integer, the elements of a group. Groups have fewer where this number
            of channels does not divide those of the layer, and more where a single
            channel has more.
        **kwargs: Arguments of `BatchGroupNormalization`.
    """

    def __init__(self, elements, **kwargs):
        super().__init__(-1, ghost_batch_size=1, **kwargs)
        self.elements = elements

    def build(self, input_shape):
        _, height, width, channels = input_shape
        most = max(1, self.elements // (height * width))
        size = max(i for i in range(1, channels + 1) if channels % i == 0 and i <= most)
        self.groups = channels // size
        super().build(input_shape)

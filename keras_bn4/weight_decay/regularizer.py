"""The regularizer `CenteredL2` (Sec. 3.3)."""

import functools

import keras
from keras import ops

from keras_bn4.common.arguments import check_number
from keras_bn4.layers.arguments import Checked


@keras.saving.register_keras_serializable(package="keras_bn4")
class CenteredL2(keras.regularizers.Regularizer):
    """A regularizer that pulls weights towards a value: `l2 * sum((x - center) ** 2)`.

    It is meant for γ, which starts at 1. Like `keras.regularizers.L2`, and unlike
    TensorFlow's `l2_loss`, it has no factor of one half. The paper found no difference
    between pulling γ to 0 and pulling it to 1 (p = 0.46): what matters is that γ is
    decayed at all. Pulling γ to 1 leaves the scale of the network's activations where
    it was.

    Reference:

    - [Summers and Dinneen, 2020](https://arxiv.org/abs/1906.03548), Sec. 3.3.

    Args:
        l2: Non-negative float, the factor of the penalty.
        center: Float, the value at which the penalty is 0.

    Raises:
        ValueError: if an argument is not as above.

    Examples:
        >>> regularizer = CenteredL2(l2=0.1)
        >>> float(regularizer(keras.ops.ones(3)))
        0.0
        >>> layer = keras.layers.BatchNormalization(gamma_regularizer=regularizer)
    """

    l2 = Checked(functools.partial(check_number, "l2", least=0))
    center = Checked(functools.partial(check_number, "center"))

    def __init__(self, l2: float = 0.01, center: float = 1.0):
        self.l2 = l2
        self.center = center

    def __call__(self, x):
        return self.l2 * ops.sum(ops.square(x - self.center))

    def get_config(self):
        return {"l2": self.l2, "center": self.center}

"""A small network for handwritten digits, and its training."""

import keras
import numpy as np

from keras_bn4.common.models import BatchNormalization
from keras_bn4.datasets import non_iid_batches
from keras_bn4.demo import networks
from keras_bn4.demo.minibatches import minibatches
from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization
from keras_bn4.weight_decay import CenteredL2

BATCH_SIZE = 64
FILTERS, STRIDES = (16, 32, 64), (1, 2, 2)
LEARNING_RATE = 3e-3
MOMENTUM = 0.9


def build(ghost_batch_size=None, *, groups=None, l2=None):
    """Builds and compiles the network: three times convolution, normalization, ReLU.

    Args:
        ghost_batch_size: Positive integer, or `None` for the whole minibatch.
        groups: Positive integer for `BatchGroupNormalization`, or `None` for
            `GhostBatchNormalization`, and without ghosts
            `keras.layers.BatchNormalization`.
        l2: Float, the strength of the decay of γ to 1 and β to 0, or `None`.

    Returns:
        A `keras.Model` from images `(n, 8, 8, 1)` to logits `(n, 10)`.
    """

    def normalization():
        keywords = {"momentum": MOMENTUM}
        if l2 is not None:
            keywords["gamma_regularizer"] = CenteredL2(l2)
            keywords["beta_regularizer"] = CenteredL2(l2, center=0.0)
        if groups is not None:
            return BatchGroupNormalization(
                groups, ghost_batch_size=ghost_batch_size, **keywords
            )
        if ghost_batch_size is None:
            return BatchNormalization(**keywords)
        return GhostBatchNormalization(ghost_batch_size=ghost_batch_size, **keywords)

    model = networks.convolutional(FILTERS, STRIDES, normalization)
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(model, x, y, *, steps, batch_size=BATCH_SIZE, one_class=False, seed=0):
    """Trains a model of `build` from its initial weights, even if it was trained.

    Args:
        model: The model. It is not compiled, and so not traced, again.
        x: Array of images `(n, 8, 8, 1)`, at least `batch_size` of them.
        y: Array of labels `(n,)`.
        steps: Positive integer, the number of minibatches.
        batch_size: Positive integer.
        one_class: Whether each minibatch is of one class.
        seed: Integer, the seed of the initial weights and the order of the images.
    """
    keras.utils.set_random_seed(seed)
    model.set_weights(keras.models.clone_model(model).get_weights())
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    model.optimizer.learning_rate = LEARNING_RATE
    if one_class:
        pairs = non_iid_batches(x, y, batch_size, batches=steps, seed=seed)
        x, y = (np.concatenate(arrays) for arrays in zip(*pairs))
    else:
        rng = np.random.default_rng(seed)
        whole = len(x) // batch_size * batch_size
        epochs = -(-steps * batch_size // whole)
        order = [rng.permutation(len(x))[:whole] for _ in range(epochs)]
        order = np.concatenate(order)[: steps * batch_size]
        x, y = x[order], y[order]
    model.fit(**minibatches(x, y, batch_size=batch_size), shuffle=False, verbose=0)

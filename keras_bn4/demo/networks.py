"""Networks for small images. They return logits and are not compiled.

Their argument `normalization` is a function that makes a normalization layer.
"""

import keras
from keras import layers

from keras_bn4.common.models import BatchNormalization


def convolutional(filters, strides, normalization=BatchNormalization):
    """A chain of convolutions for scikit-learn's digits, each normalized, with ReLU."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 16)(inputs)
    for filters_here, strides_here in zip(filters, strides):
        x = _convolve(x, filters_here, 3, strides_here, normalization)
        x = layers.ReLU()(x)
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


def resnet(
    input_shape,
    classes,
    blocks,
    *,
    filters=(16, 32, 64),
    normalization=BatchNormalization,
    normalizes_shortcuts=False,
    residual=True,
):
    """A residual network for small images (He et al., 2016).

    Where a block halves the image, its shortcut is a 1×1 convolution.

    Args:
        input_shape: Tuple of integers `(height, width, channels)`.
        classes: Integer, the size of the logits.
        blocks: Integer, how many blocks of two convolutions each stage has. 1 makes a
            ResNet-8, 3 a ResNet-20.
        filters: Tuple of integers, the filters of each stage.
        normalization: Function without arguments that makes a normalization layer.
        normalizes_shortcuts: Whether the convolutions of shortcuts are normalized.
        residual: Whether there are shortcuts at all. Without them the network is the
            same chain of convolutions.

    Returns:
        A `keras.Model` from images of 0 to 255 to logits.
    """
    inputs = keras.Input(input_shape)
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.ReLU()(_convolve(x, filters[0], 3, 1, normalization))
    for stage, filters_here in enumerate(filters):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            y = layers.ReLU()(_convolve(x, filters_here, 3, strides, normalization))
            y = _convolve(y, filters_here, 3, 1, normalization)
            if not residual:
                x = layers.ReLU()(y)
                continue
            if strides > 1:
                shortcut = normalization if normalizes_shortcuts else None
                x = _convolve(x, filters_here, 1, strides, shortcut)
            x = layers.ReLU()(layers.Add()([x, y]))
    outputs = layers.Dense(classes)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


def _convolve(x, filters, size, strides, normalization):
    x = layers.Conv2D(filters, size, strides, "same", use_bias=False)(x)
    return x if normalization is None else normalization()(x)

"""Networks whose normalizers are of known kinds."""

import keras
from keras import layers, ops


def application(name, size):
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))


def cifar_resnet(blocks=3, filters=(4, 8, 16), normalization=layers.BatchNormalization):
    """He et al. 2016a, Sec. 4.2: identity shortcuts, strided and padded (option A)."""

    def convolution(x, filters, strides=1):
        return layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(normalization(name="stem")(convolution(inputs, filters[0])))
    for stage, width in enumerate(filters):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            name = f"{stage}_{block}"
            y = normalization(name=f"{name}_first")(convolution(x, width, strides))
            y = convolution(layers.ReLU()(y), width)
            y = normalization(name=f"{name}_second")(y)
            if strides > 1:
                x = x[:, ::2, ::2, :]
                x = ops.concatenate([x, ops.zeros_like(x)], axis=-1)
            x = layers.ReLU()(x + y)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, use_bias=False)(x))

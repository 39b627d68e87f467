"""The networks of the experiments are those that their descriptions name."""

import keras

from keras_bn4.demo import networks


def test_the_network_is_a_resnet_20():
    model = networks.resnet((32, 32, 3), 10, 3, normalizes_shortcuts=True)
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    # 19 convolutions and a dense layer, and two projections for shortcuts.
    assert [x.kernel.shape[0] for x in convolutions].count(3) == 19
    assert len(convolutions) == 21
    assert model.output_shape == (None, 10)

import copy

import pytest

from keras_bn4 import GhostBatchNormalization
from keras_bn4.common.attributes import Checked


def positive(value):
    if value <= 0:
        raise ValueError(f"Received: {value}.")
    return int(value)


def smaller(instance, value):
    if value >= instance.limit:
        raise ValueError(f"Received: {value} with limit={instance.limit}.")


class Thing:
    size = Checked(positive, smaller)

    def __init__(self, limit):
        self.limit = limit


def test_what_is_refused_is_not_kept():
    thing = Thing(10)
    assert not hasattr(thing, "size")
    thing.size = 3.0
    assert type(thing.size) is int
    for value, message in ((0, "Received: 0"), (10, "10 with limit=10")):
        with pytest.raises(ValueError, match=message):
            thing.size = value
    assert thing.size == vars(thing)["size"] == 3
    assert copy.copy(thing).size == 3
    del thing.size
    assert not hasattr(thing, "size")
    assert isinstance(Thing.size, Checked)


def test_attributes_of_a_layer_can_be_set_until_it_is_built():
    layer = GhostBatchNormalization()
    layer.axis, layer.center, layer.momentum, layer.renorm = 1, False, 0.5, True
    layer.build((None, 4, 3))
    assert len(layer.weights) == 1 + 2 + 3
    assert layer.moving_mean.shape == (4,)
    layer.momentum, layer.synchronized, layer.axis = 0.25, False, 1
    assert layer.get_config()["momentum"] == 0.25

import pytest

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization
from keras_bn4.common.argument_names import (
    FOREIGN_NAMES,
    check_keywords,
    check_positional,
    keras_arguments,
    meant,
)

LAYERS = [GhostBatchNormalization, BatchGroupNormalization]


@pytest.mark.parametrize("layer_class", LAYERS)
def test_what_keras_layer_takes_is_taken(layer_class):
    names = keras_arguments()
    assert {"momentum", "epsilon", "name", "dtype", "input_shape"} <= names
    assert not names & {"self", "kwargs", *layer_class.own_arguments}
    check_keywords(layer_class, dict.fromkeys(names))


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize("name", [*FOREIGN_NAMES, "momentun", "kernel_size"])
def test_other_names_are_refused(layer_class, name):
    with pytest.raises(ValueError, match=f"no argument `{name}`: .*{name}=8"):
        check_keywords(layer_class, {name: 8})


def test_foreign_names_are_none_of_keras():
    assert not FOREIGN_NAMES.keys() & keras_arguments()


def test_what_is_meant():
    allowed = ["ghost_batch_size", "momentum"]
    assert meant("fused", allowed) == FOREIGN_NAMES["fused"]
    assert meant("ghost_batchsize", allowed) == "perhaps `ghost_batch_size` is meant"
    assert meant("x", allowed) is None


def test_positional_arguments():
    check_positional(GhostBatchNormalization, ("axis",), ())
    message = "takes `axis` by position .* ghost_batch_size=.*besides: 8, 'a'"
    with pytest.raises(TypeError, match=message):
        check_positional(GhostBatchNormalization, ("axis",), (8, "a"))

"""Paths against counts that were derived by hand, and what shows them."""

import sys
import types

import keras
import numpy as np
import pytest
from helpers import slow_but
from keras import layers
from network_helpers import application, cifar_resnet

import keras_bn4
from keras_bn4 import convert, normalization_paths

BACKEND = keras.backend.backend()


# Open, residual by addition, residual by concatenation, closed; by hand:
# ResNet50: 16 blocks of 3, 4 projections, a stem. Open: the 3 block ends and the
#   projection of the last stage. Residual: the 13 and 3 others of these.
# ResNet50V2: 16 blocks of 3, and one after all of them, which is open. Residual: 16
#   times the last one of a block, whose convolution is added to the stream, and the
#   4 first ones that also feed a projection.
# InceptionV3: stem of 5; 3 blocks of 7 with 4 ends; one of 4 with 2; 4 of 10 with 4;
#   one of 6 with 2; 2 of 9 with 6. The ends of the last block are open, all other ends
#   are concatenated and convolved.
# MobileNetV2: the last one is open. Stages of 2, 3, 4, 3 and 3 bottlenecks: all of
#   their last ones are added, or are what is added to.
# DenseNet121: the last one is open. All others are followed by batch normalization,
#   through concatenations that it normalizes channel by channel.
# NASNetMobile: 12 normal cells in each of which 5 ends of separable convolutions and
#   2 adjusted inputs meet additions, and in the last of which they are open; 4
#   reduction cells with 5 ends and 1 adjusted input.
# CIFAR ResNet-20: the stem and the ends of all 9 blocks are open.
COUNTS = {
    "ResNet50": (lambda: application("ResNet50", 32), 4, 16, 0, 33),
    "ResNet50V2": (lambda: application("ResNet50V2", 32), 1, 20, 0, 28),
    "InceptionV3": (lambda: application("InceptionV3", 75), 6, 0, 38, 50),
    "MobileNetV2": (lambda: application("MobileNetV2", 32), 1, 15, 0, 36),
    "DenseNet121": (lambda: application("DenseNet121", 32), 1, 0, 0, 120),
    "NASNetMobile": (lambda: application("NASNetMobile", 224), 7, 101, 0, 84),
    "CIFAR ResNet-20": (cifar_resnet, 10, 0, 0, 9),
}


@pytest.mark.parametrize("name", slow_but(("MobileNetV2", "CIFAR ResNet-20"), COUNTS))
def test_counts(name):
    if (name, BACKEND) == ("NASNetMobile", "torch"):
        pytest.skip("keras.applications has none for PyTorch")
    build, *expected = COUNTS[name]
    paths = normalization_paths(build())
    by_kind = [(row.kind, row.merge) for row in paths]
    kinds = (
        ("open", None),
        ("residual", "addition"),
        ("residual", "concatenation"),
        ("closed", None),
    )
    assert [by_kind.count(kind) for kind in kinds] == expected
    assert len(paths) == sum(expected)
    assert sum(paths.counts.values()) == len(paths)


@pytest.mark.slow
def test_layers_and_evidence_of_resnet50():
    model = application("ResNet50", 32)
    paths = {row.name: row for row in normalization_paths(model)}
    assert [name for name, row in paths.items() if row.kind == "open"] == [
        "conv5_block1_0_bn",
        "conv5_block1_3_bn",
        "conv5_block2_3_bn",
        "conv5_block3_3_bn",
    ]
    assert paths["conv5_block2_3_bn"].path == (
        *("conv5_block2_3_bn", "conv5_block2_add", "conv5_block2_out"),
        *("conv5_block3_add", "conv5_block3_out", "avg_pool", "predictions"),
    )
    assert paths["conv2_block1_3_bn"].path == ("conv2_block1_3_bn", "conv2_block1_add")
    assert paths["conv5_block3_1_bn"].path == (
        *("conv5_block3_1_bn", "conv5_block3_1_relu", "conv5_block3_2_conv"),
        "conv5_block3_2_bn",
    )
    row = paths["conv5_block3_3_bn"]
    assert row.layer is model.get_layer("conv5_block3_3_bn")
    assert [v.name for v in row.variables] == ["gamma", "beta"]


def test_nested_wrapped_and_sequential_models():
    inner = keras.Sequential(name="inner")
    inner.add(keras.Input((8, 4)))
    inner.add(layers.BatchNormalization(name="a"))
    inner.add(layers.TimeDistributed(layers.BatchNormalization(name="b"), name="time"))
    inputs = keras.Input((8, 4))
    outer = keras.Model(inputs, layers.Add(name="add")([inner(inputs), inputs]))
    model = keras.Sequential(
        [keras.Input((8, 4)), outer, layers.BatchNormalization(name="c")]
    )
    rows = normalization_paths(model)
    names = [row.name.removeprefix(f"{outer.name}/") for row in rows]
    assert names == ["inner/a", "inner/time/b", "c"]
    assert [row.kind for row in rows] == ["closed", "residual", "open"]
    assert rows[1].path[-1] == f"{outer.name}/add"


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.normalization = layers.BatchNormalization()

    def call(self, x):
        return self.normalization(x)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(4, 3)
        self.normalization = layers.BatchNormalization()

    def call(self, x):
        return self.normalization(self.convolution(x))


def test_subclassed_models_are_refused_and_what_the_error_says_works():
    model = Subclassed()
    model(np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"Subclassed[\s\S]*subclassed\.call"):
        normalization_paths(model)
    inputs = keras.Input((8, 8, 3))
    functional = keras.Model(inputs, model.call(inputs))
    (row,) = normalization_paths(functional)
    assert (row.kind, row.layer) == ("open", model.normalization)

    outputs = Block()(inputs)
    with pytest.raises(ValueError, match="of class Block"):
        normalization_paths(keras.Model(inputs, outputs))


def test_text_html_and_data_frame(monkeypatch):
    paths, counts = normalization_paths(cifar_resnet()), "10 open, 0 residual, 9 closed"
    lines = str(paths).splitlines()
    assert lines[0].split() == ["layer", "kind", "path"]
    assert "... " in lines[1]
    assert lines[-1] == counts
    assert repr(paths) == f"<NormalizationPaths of 19 layers: {counts}>"
    shown = paths._repr_html_()
    assert shown.count("<tr>") == 1 + 19
    assert shown.endswith(f"<p>{counts}</p>")
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    rows = paths.to_dataframe()
    assert [row["layer"] for row in rows] == [row.name for row in paths]
    assert rows[0]["path"].split(" > ") == list(paths[0].path)
    inputs = keras.Input((4,))
    none = normalization_paths(keras.Model(inputs, layers.Dense(2)(inputs)))
    assert len(none) == 0
    assert "0 open" in str(none)


def test_kinds_pick_layers_to_convert():
    model = cifar_resnet()
    paths = normalization_paths(model)
    picked = paths.layers("open")
    assert len(picked) == 10
    regularizer = keras_bn4.CenteredL2(0.1)
    converted = convert(
        model, gamma_regularizer=regularizer, select=lambda x: x in picked
    )
    assert len(converted.losses) == 10
    with pytest.raises(ValueError, match="wide"):
        paths.layers("wide")

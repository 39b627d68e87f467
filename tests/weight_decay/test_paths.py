"""Paths against counts that were derived by hand, and against what scaling does."""

import sys
import types

import keras
import numpy as np
import pytest
from helpers import slow_but
from keras import layers, ops

import keras_bn4
from keras_bn4 import convert, normalization_paths

BACKEND = keras.backend.backend()
BATCH_NORMALIZATION = layers.BatchNormalization


def application(name, size):
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))


def cifar_resnet(blocks=3, filters=(4, 8, 16), normalization=BATCH_NORMALIZATION):
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


# What scaling the γ and β of a layer by 3 does to a network in training mode.


def scaled_change(model, row, x):
    """Change of the outputs, relative to the largest."""

    def run():
        outputs = keras.tree.flatten(model(x, training=True))
        return [keras.ops.convert_to_numpy(output) for output in outputs]

    before = run()
    values = [keras.ops.convert_to_numpy(v) for v in row.variables]
    for variable, value in zip(row.variables, values):
        variable.assign(3 * value)
    after = run()
    for variable, value in zip(row.variables, values):
        variable.assign(value)
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(after, before))


def homogeneous(**arguments):
    return layers.BatchNormalization(epsilon=1e-12, **arguments)


def without_biases(model):
    """The same graph with epsilon 1e-12, ReLU and no biases; random γ and β."""
    changes = {"use_bias": False, "epsilon": 1e-12, "center": True, "scale": True}

    def clone(layer):
        config = layer.get_config()
        config.update({k: v for k, v in changes.items() if k in config})
        if config.get("activation") not in (None, "linear"):
            config["activation"] = (
                "linear" if config["name"] == "predictions" else "relu"
            )
        if isinstance(layer, layers.ReLU):
            config["max_value"] = None
        return layer.__class__.from_config(config)

    return keras.models.clone_model(model, clone_function=clone)


def inception_block():
    """A block as in Inception: branches of different depth, concatenated; twice."""

    def branch(x, *sizes):
        for size in sizes:
            x = layers.Conv2D(4, size, padding="same", use_bias=False)(x)
            x = layers.ReLU()(homogeneous()(x))
        return x

    inputs = x = keras.Input((8, 8, 3))
    for _ in range(2):
        x = layers.Concatenate()([branch(x, 1), branch(x, 1, 3), branch(x, 3, 3)])
    return keras.Model(inputs, layers.Dense(3, use_bias=False)(layers.Flatten()(x)))


def gated():
    """A product: as in squeeze and excitation, with a gate that is homogeneous too."""
    inputs = keras.Input((8, 8, 3))
    x = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(inputs))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, use_bias=False, activation="relu")(gate)
    x = layers.Conv2D(4, 3, use_bias=False)(layers.Multiply()([x, gate]))
    x = homogeneous()(x)
    return keras.Model(inputs, layers.Flatten()(x))


def gated_sum():
    """A product next to its own factor: the two scale differently."""
    inputs = keras.Input((8, 8, 3))
    x = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(inputs))
    gate = layers.Conv2D(4, 1, use_bias=False, activation="relu")(x)
    x = layers.Add()([x, layers.Multiply()([x, gate])])
    x = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(x))
    return keras.Model(inputs, layers.Flatten()(x))


def shared():
    """One layer at two places, added: both summands scale."""
    layer = homogeneous()
    inputs = keras.Input((8, 8, 3))
    x, y = (layer(layers.Conv2D(4, 3, use_bias=False)(inputs)) for _ in range(2))
    x = layers.Conv2D(4, 3, use_bias=False)(layers.ReLU()(layers.Add()([x, y])))
    return keras.Model(inputs, layers.Flatten()(homogeneous()(x)))


def shared_with_another():
    """One layer at two places, one of which is added to something else."""
    layer, other = homogeneous(), homogeneous()
    inputs = keras.Input((8, 8, 3))
    x = layer(layers.Conv2D(4, 3, use_bias=False, padding="same")(inputs))
    x = other(layers.Conv2D(4, 3, use_bias=False, padding="same")(x))
    y = layer(layers.Conv2D(4, 3, use_bias=False, padding="same")(inputs))
    x = homogeneous()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Flatten()(x))


def two_outputs():
    inputs = keras.Input((8, 8, 3))
    x = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(inputs))
    y = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(layers.ReLU()(x)))
    head = layers.Dense(3, use_bias=False)
    return keras.Model(inputs, [layers.Flatten()(y), head(layers.Flatten()(x))])


def dense_block(last=homogeneous):
    """Concatenation right before a normalizer, as in DenseNet."""
    inputs = keras.Input((8, 8, 3))
    x = homogeneous()(layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(layers.ReLU()(x))
    y = homogeneous()(y)
    x = layers.ReLU()(last()(layers.Concatenate()([x, y])))
    x = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(x))
    return keras.Model(inputs, layers.Flatten()(x))


def dense_block_across_channels():
    return dense_block(lambda: layers.LayerNormalization(epsilon=1e-12))


NETWORKS = {
    "ResNet50": lambda: without_biases(application("ResNet50", 32)),
    "ResNet50V2": lambda: without_biases(application("ResNet50V2", 32)),
    "MobileNetV2": lambda: without_biases(application("MobileNetV2", 32)),
    "DenseNet121": lambda: without_biases(application("DenseNet121", 32)),
    "CIFAR ResNet-8": lambda: cifar_resnet(1, normalization=homogeneous),
    "Inception block": inception_block,
    "product": gated,
    "product and factor": gated_sum,
    "shared": shared,
    "shared with another": shared_with_another,
    "two outputs": two_outputs,
    "dense block": dense_block,
    "dense block, layer normalization": dense_block_across_channels,
}


@pytest.fixture
def double():
    """Deep networks multiply float32's rounding to more than what is looked for."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="in float64, and slow elsewhere")
@pytest.mark.parametrize("name", slow_but(list(NETWORKS)[-4:], NETWORKS))
@pytest.mark.usefixtures("double")
def test_scaling_acts_on_the_output_unless_closed(name, rng):
    model = NETWORKS[name]()
    paths = normalization_paths(model)
    for row in paths:
        gamma, beta = row.variables
        gamma.assign(rng.uniform(0.5, 1.5, gamma.shape))
        beta.assign(rng.normal(0, 0.3, beta.shape))
    # The deepest networks have too many layers to try them all.
    rows = list(paths)
    if len(rows) > 30:
        picked = {kind: [r for r in rows if r.kind == kind] for kind in paths.counts}
        rows = [r for of in picked.values() for r in of[:: max(1, len(of) // 4)]]
    x = rng.normal(size=(8, *model.input_shape[1:]))
    for row in rows:
        change = scaled_change(model, row, x)
        if row.kind == "closed":
            assert change < 1e-6, (row.name, change)
        else:
            assert change > 1e-3, (row.name, row.kind, change)


KINDS_OF_SMALL_NETWORKS = {
    "product": "closed open",
    "product and factor": "residual open",
    "shared": "closed open",
    "shared with another": "residual residual open",
    "two outputs": "open open",
    "dense block": "closed closed closed open",
    "dense block, layer normalization": "residual residual closed open",
}


@pytest.mark.parametrize("name", KINDS_OF_SMALL_NETWORKS)
def test_kinds_of_small_networks(name):
    paths = normalization_paths(NETWORKS[name]())
    assert " ".join(row.kind for row in paths) == KINDS_OF_SMALL_NETWORKS[name]


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


def test_every_normalizer_stops_a_path():
    for normalizer in (
        layers.BatchNormalization(),
        layers.GroupNormalization(2),
        layers.LayerNormalization(),
        layers.RMSNormalization(),
        layers.UnitNormalization(),
        keras_bn4.GhostBatchNormalization(ghost_batch_size=4),
        keras_bn4.BatchGroupNormalization(2),
    ):
        inputs = keras.Input((8, 8, 4))
        x = layers.BatchNormalization()(inputs)
        model = keras.Model(inputs, normalizer(layers.ReLU()(x)))
        paths = normalization_paths(model)
        assert [row.kind for row in paths] == ["closed", "open"], normalizer
        count = {"UnitNormalization": 0, "RMSNormalization": 1}
        expected = count.get(type(normalizer).__name__, 2)
        assert len(paths[1].variables) == expected


def test_groups_of_channels_do_not_undo_the_scale_of_parts():
    kinds = []
    for groups in (4, -1):
        model = dense_block(lambda g=groups: keras_bn4.BatchGroupNormalization(g))
        kinds.append(normalization_paths(model)[0].kind)
    assert kinds == ["residual", "closed"]


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


def test_models_that_are_no_models_or_not_built():
    with pytest.raises(ValueError, match=r"Expected a keras\.Model"):
        normalization_paths(layers.BatchNormalization())
    with pytest.raises(ValueError, match="isn't built"):
        normalization_paths(keras.Sequential([layers.BatchNormalization()]))


def test_none_and_table():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    assert len(normalization_paths(model)) == 0
    assert "0 open" in str(normalization_paths(model))
    lines = str(normalization_paths(cifar_resnet())).splitlines()
    assert lines[0].split() == ["layer", "kind", "path"]
    assert lines[-1] == "10 open, 0 residual, 9 closed"
    assert "... " in lines[1]


def test_notebooks_and_data_frames(monkeypatch):
    paths = normalization_paths(cifar_resnet())
    counts = "10 open, 0 residual, 9 closed"
    assert repr(paths) == f"<NormalizationPaths of 19 layers: {counts}>"
    shown = paths._repr_html_()
    assert shown.startswith(
        "<table>\n<tr><th>layer</th><th>kind</th><th>path</th></tr>"
    )
    assert shown.count("<tr>") == 1 + 19
    assert shown.endswith(f"<p>{counts}</p>")
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    rows = paths.to_dataframe()
    assert [row["layer"] for row in rows] == [row.name for row in paths]
    assert rows[0]["path"].split(" > ") == list(paths[0].path)


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

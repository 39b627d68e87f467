"""Kinds of normalizers against what scaling their γ and β does to the outputs."""

import keras
import numpy as np
import pytest
from helpers import slow_but
from keras import layers, ops
from network_helpers import application, cifar_resnet

import keras_bn4
from keras_bn4 import normalization_paths

BACKEND = keras.backend.backend()


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


def quotient():
    """By its own size: the quotient does not scale."""
    inputs = keras.Input((8, 8, 3))
    x = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(inputs))
    size = ops.mean(ops.abs(x), axis=-1, keepdims=True)
    return keras.Model(inputs, layers.Flatten()(ops.divide(x, size)))


def quotient_and_divisor():
    """A quotient next to its divisor: one grows where the other falls."""
    inputs = keras.Input((8, 8, 3))
    x = homogeneous()(layers.Conv2D(4, 3, use_bias=False)(inputs))
    x = layers.Add()([x, ops.divide(layers.Conv2D(4, 3)(inputs), x)])
    return keras.Model(inputs, layers.Flatten()(homogeneous()(x)))


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
    "quotient": quotient,
    "quotient and divisor": quotient_and_divisor,
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
@pytest.mark.parametrize(
    "name",
    slow_but([*list(NETWORKS)[-4:], "quotient", "quotient and divisor"], NETWORKS),
)
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
    "quotient": "closed",
    "quotient and divisor": "residual open",
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


def test_what_leads_to_an_output_that_is_not_used_is_closed():
    inner_inputs = keras.Input((4,))
    first, second = (
        layers.BatchNormalization(name=name)(inner_inputs) for name in ("used", "aux")
    )
    inner = keras.Model(inner_inputs, [layers.Dense(2)(first), layers.ReLU()(second)])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inputs)[0])
    paths = {row.layer.name: row for row in normalization_paths(model)}
    assert {name: row.kind for name, row in paths.items()} == {
        "used": "open",
        "aux": "closed",
    }
    assert len(paths["aux"].path) == 2
    optimizer = keras.optimizers.SGD(weight_decay=0.1)
    excluded = keras_bn4.exclude_from_weight_decay(optimizer, model, decay="open")
    assert len(excluded) == 2


def test_groups_of_channels_do_not_undo_the_scale_of_parts():
    kinds = []
    for groups in (4, -1):
        model = dense_block(lambda g=groups: keras_bn4.BatchGroupNormalization(g))
        kinds.append(normalization_paths(model)[0].kind)
    assert kinds == ["residual", "closed"]

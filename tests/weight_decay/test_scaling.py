"""Kinds of normalizers against what scaling their γ and β does to the outputs."""

import keras
import numpy as np
import pytest
from helpers import slow_but
from keras import layers, ops

import keras_bn4
from keras_bn4 import normalization_paths

BACKEND = keras.backend.backend()


def normalized(x):
    return layers.BatchNormalization(epsilon=1e-12)(x)


def convolved(x, size=3, **arguments):
    return layers.Conv2D(4, size, use_bias=False, **arguments)(x)


# Each makes the outputs of a network from its inputs, images of 8 x 8 pixels.


def inception_block(x):
    """Branches of different depth, concatenated; twice."""

    def branch(x, *sizes):
        for size in sizes:
            x = layers.ReLU()(normalized(convolved(x, size, padding="same")))
        return x

    for _ in range(2):
        x = layers.Concatenate()([branch(x, 1), branch(x, 1, 3), branch(x, 3, 3)])
    return layers.Dense(3, use_bias=False)(layers.Flatten()(x))


def pre_activation(inputs):
    """As in ResNet50V2: normalized before convolutions, and after the last addition."""
    x = convolved(inputs)
    for _ in range(2):
        y = normalized(convolved(layers.ReLU()(normalized(x)), 1))
        depthwise = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
        x = layers.Add()([x, convolved(layers.ReLU()(depthwise(y)), 1)])
    return normalized(x)


def gated(inputs):
    """A product: as in squeeze and excitation, with a gate that is homogeneous too."""
    x = normalized(convolved(inputs))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = convolved(gate, 1, activation="relu")
    return normalized(convolved(layers.Multiply()([x, gate])))


def gated_sum(inputs):
    """A product next to its own factor: the two scale differently."""
    x = normalized(convolved(inputs))
    gate = convolved(x, 1, activation="relu")
    x = layers.Add()([x, layers.Multiply()([x, gate])])
    return normalized(convolved(x))


def quotient(inputs):
    """By its own size: the quotient does not scale."""
    x = normalized(convolved(inputs))
    return ops.divide(x, ops.mean(ops.abs(x), axis=-1, keepdims=True))


def quotient_and_divisor(inputs):
    """A quotient next to its divisor: one grows where the other falls."""
    x = normalized(convolved(inputs))
    x = layers.Add()([x, ops.divide(layers.Conv2D(4, 3)(inputs), x)])
    return normalized(x)


def shared(inputs):
    """One layer at two places, added: both summands scale."""
    layer = layers.BatchNormalization(epsilon=1e-12)
    x, y = (layer(convolved(inputs)) for _ in range(2))
    return normalized(convolved(layers.ReLU()(layers.Add()([x, y]))))


def shared_with_another(inputs):
    """One layer at two places, one of which is added to something else."""
    layer = layers.BatchNormalization(epsilon=1e-12)
    x = layer(convolved(inputs, padding="same"))
    x = normalized(convolved(x, padding="same"))
    y = layer(convolved(inputs, padding="same"))
    return normalized(layers.Add()([x, y]))


def two_outputs(inputs):
    x = normalized(convolved(inputs))
    y = normalized(convolved(layers.ReLU()(x)))
    return [y, layers.Dense(3, use_bias=False)(layers.Flatten()(x))]


def dense_block(inputs, last=normalized):
    """Concatenation right before a normalizer, as in DenseNet."""
    x = normalized(convolved(inputs, padding="same"))
    y = normalized(convolved(layers.ReLU()(x), padding="same"))
    x = layers.ReLU()(last(layers.Concatenate()([x, y])))
    return normalized(convolved(x))


def dense_block_across_channels(inputs):
    return dense_block(inputs, layers.LayerNormalization(epsilon=1e-12))


# The kinds of their normalizers, by hand.
NETWORKS = {
    inception_block: "residual closed residual closed residual"
    " open closed open closed open",
    pre_activation: "closed residual closed residual open",
    gated: "closed open",
    gated_sum: "residual open",
    quotient: "closed",
    quotient_and_divisor: "residual open",
    shared: "closed open",
    shared_with_another: "residual residual open",
    two_outputs: "open open",
    dense_block: "closed closed closed open",
    dense_block_across_channels: "residual residual closed open",
}
QUICK = (quotient_and_divisor, two_outputs, dense_block_across_channels)


def model_of(network, *arguments):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, network(inputs, *arguments))


@pytest.mark.parametrize("network", NETWORKS)
def test_kinds_are_those_derived_by_hand(network):
    kinds = [row.kind for row in normalization_paths(model_of(network))]
    expected = NETWORKS[network].split()
    # Branches may come in another order.
    order = sorted if network is inception_block else list
    assert order(kinds) == order(expected)


@pytest.fixture
def double():
    """Deep networks multiply float32's rounding to more than what is looked for."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="in float64, and slow elsewhere")
@pytest.mark.parametrize("network", slow_but(QUICK, NETWORKS))
@pytest.mark.usefixtures("double")
def test_tripling_acts_on_the_output_unless_closed(network, rng):
    model = model_of(network)
    paths = normalization_paths(model)
    for row in paths:
        gamma, beta = row.variables
        gamma.assign(rng.uniform(0.5, 1.5, gamma.shape))
        beta.assign(rng.normal(0, 0.3, beta.shape))
    x = rng.normal(size=(8, 8, 8, 3))

    def run():
        outputs = keras.tree.flatten(model(x, training=True))
        return [ops.convert_to_numpy(output) for output in outputs]

    before, weights = run(), model.get_weights()
    for row in paths:
        for variable in row.variables:
            variable.assign(3 * variable)
        pairs = zip(run(), before)
        change = max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
        assert change < 1e-6 if row.kind == "closed" else change > 1e-3, row.name
        model.set_weights(weights)


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
        model = model_of(dense_block, keras_bn4.BatchGroupNormalization(groups))
        kinds.append(normalization_paths(model)[0].kind)
    assert kinds == ["residual", "closed"]

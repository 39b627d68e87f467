import copy

import keras
import numpy as np
import pytest
from conversion_helpers import normalizers, predict
from helpers import keras_hub_backbone, slow_but
from keras import layers

from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    convert,
    revert,
    set_example_weight,
)

# Graph optimizers regroup additions; in TensorFlow eager nothing may move at all.
EXACT = keras.backend.backend() == "tensorflow"
IMAGES = (2, 16, 16, 3)


def application(name, size):
    return getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=7
    )


def nested():
    inner = keras.Sequential(
        [keras.Input((16, 16, 4)), layers.BatchNormalization(), layers.ReLU()]
    )
    inputs = keras.Input(IMAGES[1:])
    hidden = inner(layers.Conv2D(4, 3, padding="same")(inputs))
    return keras.Model(inputs, layers.BatchNormalization()(hidden))


def shared():
    normalization = layers.BatchNormalization()
    inputs = keras.Input(IMAGES[1:])
    outputs = normalization(layers.Conv2D(3, 3)(normalization(inputs)))
    return keras.Model(inputs, outputs)


def time_distributed():
    # The images stand for sequences of rows.
    return keras.Sequential(
        [
            keras.Input(IMAGES[1:]),
            layers.TimeDistributed(layers.Conv1D(4, 3)),
            layers.TimeDistributed(layers.BatchNormalization()),
        ]
    )


@keras.saving.register_keras_serializable("test_convert")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolution = layers.Conv2D(4, 3)
        self.normalization = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.normalization(self.convolution(inputs), training=training)


def subclassed():
    model = Subclassed()
    model(np.zeros(IMAGES, "float32"))
    return model


# How to build it, the size of its images, and the number of its normalizers.
MODELS = {
    # Without γ. Its least input is 75 pixels.
    "InceptionV3": (lambda: application("InceptionV3", 75), 75, 94),
    "MobileNetV2": (lambda: application("MobileNetV2", 32), 32, 52),
    "hub ResNet": (lambda: keras_hub_backbone().layers[0], 8, 3),
    "nested": (nested, 16, 2),
    "shared": (shared, 16, 1),
    "TimeDistributed": (time_distributed, 16, 1),
    "subclassed": (subclassed, 16, 1),
}


QUICK = ("nested", "shared", "TimeDistributed", "subclassed")


def trained(model, rng):
    """Moving statistics and parameters as after some training."""
    for layer in normalizers(model):
        shape = layer.moving_mean.shape
        layer.moving_mean.assign(rng.normal(0, 0.2, shape))
        layer.moving_variance.assign(rng.uniform(0.5, 2, shape))
        for variable in (layer.gamma, layer.beta):
            if variable is not None:
                variable.assign(variable + rng.normal(0, 0.2, shape))
    return model


def assert_same_predictions(actual, expected):
    tolerance = 0 if EXACT else 1e-6
    scale = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=scale)
    np.testing.assert_array_equal(actual.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("name", slow_but(QUICK, MODELS))
def test_converted_model_predicts_the_same_and_goes_back(name, rng):
    build, size, count = MODELS[name]
    model = trained(build(), rng)
    x = rng.uniform(0, 1, (2, size, size, 3)).astype("float32")
    expected = predict(model, x)

    converted = convert(model, ghost_batch_size=2)

    found = normalizers(converted)
    assert all(type(layer) is GhostBatchNormalization for layer in found)
    assert len(found) == len(normalizers(model)) == count
    assert len(converted.conversion_report.converted) == len(found)
    assert not converted.conversion_report.skipped
    # Where it creates its layers itself, its class is a subclass of the same name.
    assert type(converted).__name__ == type(model).__name__
    assert isinstance(converted, type(model))
    creates_layers = name in ("subclassed", "hub ResNet")
    assert creates_layers or type(converted) is type(model)
    assert converted.name == model.name
    if name != "subclassed":  # Layers that a class names by itself get new names.
        names = [[x.name for x in normalizers(m)] for m in (model, converted)]
        assert names[0] == names[1]
    assert_same_predictions(predict(converted, x), expected)
    assert all(type(x) is layers.BatchNormalization for x in normalizers(model))
    set_example_weight(converted, 0.1)
    assert not np.allclose(predict(converted, x), expected, rtol=1e-5, atol=0)

    set_example_weight(converted, 0)
    reverted = revert(converted)

    assert type(reverted) is type(model)
    assert all(type(x) is layers.BatchNormalization for x in normalizers(reverted))
    assert len(reverted.conversion_report.converted) == len(found)
    assert_same_predictions(predict(reverted, x), expected)


def test_converted_model_trains_saves_and_loads(tmp_path, rng):
    converted = convert(nested(), groups=2, ghost_batch_size=3, example_weight=0.25)
    assert not converted.compiled
    converted.compile("adam", "mse")
    x = rng.normal(size=(7, *IMAGES[1:])).astype("float32")
    converted.fit(x, np.zeros((7, 16, 16, 4)), batch_size=5, verbose=0)
    converted.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert {type(layer) for layer in normalizers(loaded)} == {BatchGroupNormalization}
    assert {layer.example_weight for layer in normalizers(loaded)} == {0.25}
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), converted.predict(x, verbose=0), rtol=1e-6
    )


def test_in_place_keeps_identity_optimizer_slots_and_compiles_again(rng):
    model = subclassed()
    model.compile("adam", "mse")
    x, y = rng.normal(size=(4, *IMAGES[1:])), np.zeros((4, 14, 14, 4))
    model.fit(x, y, verbose=0)
    before = model.predict(x, verbose=0)
    layer, optimizer = model.normalization, model.optimizer
    iterations = int(optimizer.iterations)
    slots = [keras.ops.convert_to_numpy(v) for v in optimizer.variables]

    assert convert(model, in_place=True) is model
    assert model.normalization is layer
    assert type(layer) is GhostBatchNormalization
    assert model.optimizer is optimizer
    for slot, variable in zip(slots, optimizer.variables):
        np.testing.assert_array_equal(slot, keras.ops.convert_to_numpy(variable))
    np.testing.assert_allclose(model.predict(x, verbose=0), before, atol=1e-5)
    set_example_weight(model, 0.5)
    assert np.abs(model.predict(x, verbose=0) - before).max() > 1e-3
    model.fit(x, y, verbose=0)
    assert int(optimizer.iterations) == iterations + 1


def test_copy_keeps_optimizer_slots(rng):
    model = nested()
    model.compile("adam", "mse", metrics=["mae"], weighted_metrics=["mse"])
    x = rng.normal(size=(4, *IMAGES[1:]))
    model.fit(x, np.zeros((4, 16, 16, 4)), verbose=0)
    converted = convert(model)
    assert converted.compiled
    assert type(converted.optimizer) is type(model.optimizer)
    assert int(converted.optimizer.iterations) == 1
    for ours, theirs in zip(converted.optimizer.variables, model.optimizer.variables):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        )


def test_what_keras_can_not_rebuild_needs_in_place():
    class Widened(Subclassed):
        def __init__(self, width):
            super().__init__()

    model = Widened(3)
    model(np.zeros(IMAGES, "float32"))
    with pytest.raises(ValueError, match=r"(?s)override `get_config.*in_place=True"):
        convert(model)
    assert type(model.normalization) is layers.BatchNormalization
    convert(model, in_place=True)
    assert type(model.normalization) is GhostBatchNormalization
    revert(model, in_place=True)
    assert type(model.normalization) is layers.BatchNormalization


def test_select_overrides_and_groups_by_layer():
    inputs = keras.Input((8, 8, 6))
    hidden = layers.BatchNormalization(name="first", trainable=False)(inputs)
    hidden = layers.Conv2D(4, 3)(hidden)
    model = keras.Model(inputs, layers.BatchNormalization(name="second")(hidden))
    converted = convert(
        model,
        groups=lambda layer: layer.gamma.shape[0] // 2,
        select=lambda layer: layer.trainable,
        momentum=0.9,
        gamma_regularizer=keras.regularizers.L2(0.1),
        variance_tracking="variance",
    )
    assert type(converted.get_layer("first")) is layers.BatchNormalization
    second = converted.get_layer("second")
    assert (second.groups, second.momentum) == (2, 0.9)
    assert second.variance_tracking == "variance"
    np.testing.assert_allclose(
        [keras.ops.convert_to_numpy(loss) for loss in converted.losses], [0.4], 1e-6
    )
    assert converted.conversion_report.skipped == (
        ("first", "`select` did not pick it"),
    )
    assert not model.losses


@pytest.mark.skipif(
    keras.__version__ < "3.15", reason="Keras 3.14 takes no function as a regularizer"
)
def test_trainable_dtype_and_regularizers_stay():
    def unregistered(beta):
        return keras.ops.sum(beta) + 3.0

    inputs = keras.Input((4,))
    layer = layers.BatchNormalization(
        trainable=False, dtype="mixed_bfloat16", beta_regularizer=unregistered
    )
    model = keras.Model(inputs, layer(inputs))
    convert(model, in_place=True)
    assert type(layer) is GhostBatchNormalization
    assert not layer.trainable
    assert layer.dtype_policy.name == "mixed_bfloat16"
    assert float(layer.beta_regularizer(layer.beta)) == 3.0


def plain(**arguments):
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.BatchNormalization(**arguments)(inputs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 3}, "3.*4"),
        ({"groups": lambda layer: 2.5}, "groups=2.5"),
        ({"example_weight": float("nan")}, "nan"),
        ({"momentun": 0.9}, "momentun"),
        ({"select": lambda layer: False}, "select"),
    ],
)
def test_bad_arguments_change_nothing(arguments, message):
    model = plain()
    with pytest.raises(ValueError, match=message):
        convert(model, in_place=True, **arguments)
    assert type(model.layers[-1]) is layers.BatchNormalization


def test_revert_changes_predictions_only_where_it_is_forced_to():
    weighed, grouped = convert(plain(), example_weight=0.1), convert(plain(), groups=2)
    for model, reason in ((weighed, r"example_weight=0\.1"), (grouped, "groups=2")):
        with pytest.raises(ValueError, match=reason):
            revert(model)
        reverted = revert(model, force=True)
        assert type(reverted.layers[-1]) is layers.BatchNormalization
        assert reverted.layers[-1].autocast
    # As many groups as channels.
    assert type(revert(convert(plain(), groups=4)).layers[-1]) is (
        layers.BatchNormalization
    )


def test_weights_files_of_the_plain_model_load_before_conversion(tmp_path, rng):
    model = trained(nested(), rng)
    model.save_weights(tmp_path / "plain.weights.h5")
    fresh = nested()
    fresh.load_weights(tmp_path / "plain.weights.h5")
    for ours, theirs in zip(convert(fresh).get_weights(), model.get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    copied = copy.deepcopy(convert(fresh, example_weight=0.5))
    assert {x.example_weight for x in normalizers(copied)} == {0.5}

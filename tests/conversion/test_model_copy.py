"""Copies have all that Keras saves, and leave the given model alone."""

import concurrent.futures
import copy
import pathlib
import pickle
import threading

import keras
import numpy as np
import pytest
from conversion_helpers import Block, Subclassed, called, normalizers
from helpers import slow_but
from keras import layers

from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    convert,
    exclude_from_weight_decay,
    revert,
    set_example_weight,
)
from keras_bn4.conversion import replacement


def network(loss="mse"):
    inputs = keras.Input((4, 4, 3))
    x = layers.BatchNormalization(name="first")(inputs)
    x = layers.BatchNormalization(name="second")(layers.Conv2D(4, 3)(x))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    model.compile("adam", loss, metrics=["mae"])
    return model


@keras.saving.register_keras_serializable("test_model_copy")
class Holder(layers.Layer):
    """Uses a layer that another one made."""

    def __init__(self, part, **kwargs):
        super().__init__(**kwargs)
        self.part = part

    def build(self, input_shape):
        if not self.part.built:
            self.part.build(input_shape)

    def call(self, inputs, training=None):
        return self.part(inputs, training=training)


@keras.saving.register_keras_serializable("test_model_copy")
class SharingSubclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        part = layers.BatchNormalization()
        self.first, self.second = Holder(part), Holder(part)

    def call(self, inputs, training=None):
        return self.second(self.first(inputs, training), training)


@keras.saving.register_keras_serializable("test_model_copy")
class WithGhosts(keras.Model):
    """Creates layers of this package itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = GhostBatchNormalization(name="first")
        self.second = GhostBatchNormalization(name="second")

    def call(self, inputs):
        return self.second(self.first(inputs))


def random_statistics(model, rng):
    for layer in filter(lambda x: x.built, normalizers(model)):
        layer.moving_mean.assign(rng.normal(size=layer.moving_mean.shape))
    return model


def test_copies_have_what_was_set_after_a_subclassed_model_made_its_layers(rng):
    model = WithGhosts()
    x = rng.normal(size=(5, 3, 4)).astype("float32")
    model(x)
    random_statistics(model, rng)
    set_example_weight(model, 0.4)
    expected = model.predict(x, verbose=0)
    copied = convert(model, ghost_batch_size=2, select=lambda x: x.name == "first")
    assert copied.second.example_weight == 0.4
    again = convert(revert(model, force=True), example_weight=0.4)
    for other in (copied, again):
        np.testing.assert_allclose(other.predict(x, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("part", slow_but(["first"], ["block", "first", "dense"]))
def test_copies_are_frozen_where_the_model_is(part, rng):
    model = called(Subclassed())
    model.compile("sgd", "mse")
    x = rng.normal(size=(5, 3)).astype("float32")
    block = model.blocks[0]
    (block if part == "block" else getattr(block, part)).trainable = False
    for copied in (convert(model), revert(convert(model))):
        other = copied.blocks[0]
        for name in ("dense", "first", "second"):
            trainable = getattr(block, name).trainable
            assert getattr(other, name).trainable == trainable
        assert other.trainable == block.trainable
        assert copied.trainable
        assert len(copied.trainable_weights) == len(model.trainable_weights)
        assert len(copied.optimizer.variables) == len(model.optimizer.variables)
        copied.fit(x, x, verbose=0)
        moved = keras.ops.convert_to_numpy(other.first.moving_mean)
        assert (np.abs(moved).max() > 0) == (part == "dense")


def test_layers_that_frozen_and_other_layers_share_train_where_they_do(rng):
    model = SharingSubclassed()
    x = rng.normal(size=(5, 4)).astype("float32")
    model(x)
    model.second.trainable = False
    model.first.part.trainable = True
    copied = convert(model)
    for name in ("first", "second"):
        layer, other = getattr(model, name), getattr(copied, name)
        assert other.trainable == layer.trainable
        assert other.part.trainable == layer.part.trainable
    assert copied.second.part is copied.first.part
    assert copied.first.part.trainable
    assert not copied.second.trainable


@keras.saving.register_keras_serializable("test_model_copy")
class OwnCompile(keras.Model):
    """Compiles in a way that Keras can't repeat, as many networks with two losses."""

    def compile(self, optimizer, other_loss, **kwargs):
        super().compile(optimizer=optimizer, loss="mse", **kwargs)
        self.other_loss = other_loss


@pytest.mark.filterwarnings("ignore:.*overrides.*compile")
@pytest.mark.filterwarnings("ignore:.*compile_from_config")
def test_models_that_compile_in_their_own_way_are_copied_uncompiled():
    inputs = keras.Input((4,))
    model = OwnCompile(inputs, layers.BatchNormalization()(inputs))
    model.compile("sgd", other_loss="mae")
    copied = convert(model)
    assert type(copied.layers[-1]) is GhostBatchNormalization
    assert not copied.compiled
    (note,) = copied.conversion_report.notes
    assert "compile it" in note


def test_copies_exclude_the_same_from_weight_decay():
    model = network()
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    exclude_from_weight_decay(optimizer, model)
    optimizer.exclude_from_weight_decay(
        var_list=[model.get_layer("first").gamma], var_names=["bias"]
    )
    model.compile(optimizer, "mse")
    copied = convert(model)
    decays = [
        [m.optimizer._use_weight_decay(v) for v in m.trainable_weights]
        for m in (model, copied)
    ]
    assert decays[0] == decays[1]
    assert decays[1].count(False) == 3  # γ of the first, and two biases.


@keras.saving.register_keras_serializable("test_model_copy")
class WithUnused(WithGhosts):
    """Has a layer that it never calls, and so never builds."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.unused = BatchGroupNormalization(2)


@pytest.mark.filterwarnings("ignore:.*it looks like it has unbuilt state")
@pytest.mark.parametrize("in_place", [False, True])
def test_layers_that_are_not_built_stay(in_place, rng):
    model = WithUnused()
    x = rng.normal(size=(5, 3, 4)).astype("float32")
    model(x)
    random_statistics(model, rng)
    set_example_weight(model, 0)
    expected = model.predict(x, verbose=0)
    converted = convert(model, ghost_batch_size=2, in_place=in_place)
    assert not converted.unused.built
    plain = revert(converted, in_place=in_place)
    assert type(plain.unused) is BatchGroupNormalization
    assert type(plain.first) is layers.BatchNormalization
    np.testing.assert_allclose(plain.predict(x, verbose=0), expected, atol=1e-6)


def test_state_trees_of_a_converted_and_a_loaded_model_are_alike(tmp_path):
    converted = convert(network(), example_weight=0.25)
    converted.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    trees = [
        model.get_state_tree(value_format="numpy_array")
        for model in (converted, loaded)
    ]
    tree = trees[0]["non_trainable_variables"]["first"]
    on_torch = keras.backend.backend() == "torch"
    assert tree.get("example_weight", 0) == (0 if on_torch else 0.25)
    keras.tree.assert_same_structure(
        *(tree["non_trainable_variables"] for tree in trees)
    )
    set_example_weight(loaded, 0.0)
    loaded.set_state_tree(trees[0])
    assert loaded.get_layer("second").example_weight == (0 if on_torch else 0.25)


def squared_error(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), -1)


@pytest.mark.parametrize(
    "loss", [squared_error, lambda y, p: keras.ops.mean((y - p) ** 2, -1)]
)
def test_losses_that_are_functions_survive(loss, rng):
    x, y = rng.normal(size=(6, 4, 4, 3)), rng.normal(size=(6, 2))
    model = network(loss)
    expected = model.evaluate(x, y, verbose=0)
    converted = convert(model)
    assert converted.conversion_report.notes == ()
    np.testing.assert_allclose(converted.evaluate(x, y, verbose=0), expected, 1e-5)


def test_a_conversion_in_place_that_fails_leaves_the_model_as_it_was(monkeypatch, rng):
    model = network()
    x = rng.normal(size=(5, 4, 4, 3)).astype("float32")
    expected, calls = model.predict(x, verbose=0), []
    replace = replacement.replace

    def failing(layer, new):
        calls.append(layer.name)
        replace(layer, new)
        if len(calls) == 2:
            raise MemoryError

    monkeypatch.setattr(replacement, "replace", failing)
    with pytest.raises(MemoryError):
        convert(model, in_place=True, example_weight=0.3, gamma_regularizer="l2")
    assert calls == ["first", "second"]
    for name in calls:
        layer = model.get_layer(name)
        assert type(layer) is layers.BatchNormalization
        assert layer.gamma.regularizer is layer.gamma_regularizer is None
        assert not vars(layer).keys() & set(replacement.OWN_ATTRIBUTES)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="Keras' own predict takes the variables away from other threads on JAX",
)
def test_other_threads_predict_as_before_while_a_copy_is_converted(rng):
    model = convert(network(), example_weight=0.5)
    x = rng.normal(3, 2, size=(5, 4, 4, 3)).astype("float32")
    expected, ended = model.predict(x, verbose=0), threading.Event()

    def predict(_):
        calls = 0
        while calls < 5 or not ended.is_set():
            got = model.predict(x, verbose=0)
            np.testing.assert_allclose(got, expected, atol=1e-5)
            calls += 1

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        predicting = threads.map(predict, range(4))
        for _ in range(5):
            convert(model, ghost_batch_size=2)
            revert(model, force=True)
        ended.set()
        list(predicting)


def doubled(x):
    return 2 * x


class Unregistered(Block):
    pass


def ends_in(*parts):
    inputs = outputs = keras.Input((3,))
    for part in parts:
        outputs = part(outputs)
    return keras.Model(inputs, outputs)


def quantized(mode):
    model = ends_in(layers.Dense(8), layers.BatchNormalization())
    model.quantize(mode, filters=lambda layer: isinstance(layer, layers.Dense))
    return model


def of_functions():
    # Both lambdas need what stands in this module.
    first = layers.Lambda(lambda x: keras.ops.abs(x) + 1, output_shape=(3,))
    # Keras 3.14 takes no function as a regularizer.
    takes_functions = keras.__version__ >= "3.15"
    regularizer = (lambda w: keras.ops.sum(w**2)) if takes_functions else None
    dense = layers.Dense(4, doubled, kernel_regularizer=regularizer)
    return ends_in(first, layers.BatchNormalization(), dense)


def of_a_local_class():
    class Local(Unregistered):
        pass

    return ends_in(layers.BatchNormalization(), Local(4), Unregistered(3))


def adapted():
    layer = layers.Normalization()
    layer.adapt(np.arange(12.0).reshape(4, 3))
    return ends_in(layer, layers.BatchNormalization())


@pytest.mark.parametrize(
    "make",
    [
        lambda: quantized("int8"),
        lambda: quantized("float8"),
        of_functions,
        of_a_local_class,
        adapted,
        lambda: keras.Sequential(
            [keras.Input((3,)), layers.Dense(2), layers.BatchNormalization()]
        ),
    ],
)
def test_copies_of_what_keras_can_copy(make, rng, monkeypatch):
    # As where the folder for temporary files is full.
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    model = make()
    random_statistics(model, rng)
    x = rng.normal(1, 2, (5, 3)).astype("float32")
    copied = convert(model, ghost_batch_size=2)
    np.testing.assert_allclose(
        copied.predict(x, verbose=0), model.predict(x, verbose=0), 1e-5, 1e-5
    )
    assert len(copied.losses) == len(model.losses)
    paths = [{w.path for w in m.weights} for m in (copied, model)]
    if make is not of_a_local_class:  # It names layers by itself.
        assert paths[0] == paths[1]
    for again in (convert(copied), revert(copied)):
        assert len(again.weights) == len(model.weights)


class WithAsset(layers.Layer):
    """Has a number that is neither a weight nor in its configuration."""

    number = 0.0

    def call(self, inputs):
        return inputs + self.number

    def save_assets(self, folder):
        pathlib.Path(folder, "number.txt").write_text(str(self.number))

    def load_assets(self, folder):
        self.number = float(pathlib.Path(folder, "number.txt").read_text())


def test_copies_have_assets_or_say_what_the_disk_says(monkeypatch):
    model = ends_in(WithAsset(name="asset"), layers.BatchNormalization())
    model.get_layer("asset").number = 3.0
    copied = convert(model)
    assert copied.get_layer("asset").number == 3.0
    assert revert(copied).get_layer("asset").number == 3.0
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        convert(model)


def test_classes_of_one_name_are_not_mistaken_for_each_other():
    one, other = (type("Same", (Block,), {}) for _ in range(2))
    model = ends_in(one(3), other(3))
    with pytest.raises(ValueError, match=r"two of its classes.*'Same'"):
        convert(model)
    assert len(convert(model, in_place=True).conversion_report.converted) == 4


@pytest.mark.parametrize("autocast", [False, True])
def test_autocast_of_the_user_comes_back(autocast):
    model = ends_in(layers.BatchNormalization(autocast=autocast), layers.Dense(2))
    model.layers[2].autocast = autocast
    converted = convert(convert(model), ghost_batch_size=2)
    assert not converted.layers[1].autocast
    assert [x.autocast for x in revert(converted).layers[1:]] == [autocast] * 2
    revert(convert(model, in_place=True), in_place=True)
    assert model.layers[1].autocast is autocast


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="of PyTorch")
def test_state_dicts_are_those_of_keras_model_whatever_the_history():
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(name="bn")])
    converted = convert(model, ghost_batch_size=2, example_weight=0.3)
    for other, plain in (
        (converted, model),
        (convert(converted, momentum=0.5), model),
        (revert(converted, force=True), model),
        # Keras itself drops the name of the model from the paths of these.
        (copy.deepcopy(converted), copy.deepcopy(model)),
        (pickle.loads(pickle.dumps(converted)), pickle.loads(pickle.dumps(model))),
    ):
        plain.load_state_dict(other.state_dict())
        other.load_state_dict(plain.state_dict())
    assert converted.layers[-1].example_weight == 0.3

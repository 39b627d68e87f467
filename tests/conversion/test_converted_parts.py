"""Models whose parts create their layers themselves are saved as they are converted."""

import concurrent.futures
import copy
import pickle
import zipfile

import keras
import numpy as np
import pytest
from conversion_helpers import (
    Block,
    Subclassed,
    Unregistered,
    called,
    functional,
    predict,
    trained,
)
from helpers import keras_hub_backbone, slow_but
from keras import layers

from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    convert,
    revert,
    set_example_weight,
)

register = keras.saving.register_keras_serializable("test_converted_parts")


@register
class Holder(layers.Layer):
    """Its configuration holds a part that creates layers, and it creates one more."""

    def __init__(self, part, **kwargs):
        super().__init__(**kwargs)
        self.part, self.own = part, layers.BatchNormalization()

    def build(self, input_shape):
        if not self.part.built:
            self.part.build(input_shape)
        self.own.build(input_shape)

    def call(self, inputs, training=None):
        return self.own(self.part(inputs, training=training), training=training)

    def get_config(self):
        part = keras.saving.serialize_keras_object(self.part)
        return {**super().get_config(), "part": part}

    @classmethod
    def from_config(cls, config):
        part = keras.saving.deserialize_keras_object(config.pop("part"))
        return cls(part, **config)


def shared_part():
    block = Block(name="block")
    return functional(block, Holder(block, name="holder"), block)


MODELS = {
    "Sequential": lambda: keras.Sequential([keras.Input((3,)), Block(), Block()]),
    "subclassed": lambda: called(Subclassed()),
    "unregistered": lambda: called(Unregistered()),
    "around a model": lambda: functional(layers.Dense(3), Subclassed()),
    "shared part": shared_part,
}
# Keras itself doesn't load `.h5` files of these.
NOT_IN_H5 = ("subclassed", "unregistered")


def loaded(model, path, save=keras.saving.save_model, **arguments):
    save(model, path, **arguments)
    return keras.models.load_model(path, {"Unregistered": Unregistered})


def clone_of(model):
    clone = called(keras.models.clone_model(model))
    clone.set_weights(model.get_weights())
    return clone


@pytest.mark.parametrize("name", slow_but(["subclassed", "shared part"], MODELS))
def test_every_way_keeps_what_was_converted(name, tmp_path, rng):
    model = trained(MODELS[name](), rng)
    x = rng.normal(1, 2, (6, 3)).astype("float32")
    plain = predict(model, x)
    converted = convert(model, ghost_batch_size=2, example_weight=0.1)
    # What is set later is saved, too.
    set_example_weight(converted, lambda layer: 0.4 if "first" in layer.path else 0.2)
    expected = predict(converted, x)
    assert np.abs(expected - plain).max() > 1e-2

    def check(other):
        np.testing.assert_allclose(predict(other, x), expected, 1e-6, 1e-6)
        return other

    with keras.saving.custom_object_scope({"Unregistered": Unregistered}):
        again = check(loaded(converted, tmp_path / "model.keras"))
        check(loaded(again, tmp_path / "again.keras", keras.Model.save))
        check(loaded(converted, tmp_path / "folder", zipped=False))
        check(pickle.loads(pickle.dumps(converted)))
        check(copy.deepcopy(converted))
    if name not in NOT_IN_H5:
        check(loaded(converted, tmp_path / "model.h5"))
    if name != "shared part":  # Keras clones it twice.
        check(clone_of(converted))
        check(clone_of(again))
    ghosts = {x.ghost_batch_size for x in again._flatten_layers() if is_ours(x)}
    assert ghosts == {2}
    changed = check(convert(again, ghost_batch_size=3))
    assert changed.count_params() == model.count_params()

    reverted = revert(changed, force=True)
    assert type(reverted) is getattr(type(model), "original_class", type(model))
    other = loaded(reverted, tmp_path / "plain.keras")
    np.testing.assert_allclose(predict(other, x), plain, 1e-6, 1e-6)
    with zipfile.ZipFile(tmp_path / "plain.keras") as file:
        assert b"keras_bn4" not in file.read("config.json")


def is_ours(layer):
    return isinstance(layer, GhostBatchNormalization)


def test_a_converted_part_keeps_its_class_and_is_saved_in_another_model(tmp_path, rng):
    model = trained(MODELS["subclassed"](), rng)
    converted = convert(model, groups=-1, example_weight=0.3)
    for part, original in ((converted, model), (converted.blocks[0], model.blocks[0])):
        assert isinstance(part, type(original))
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            assert getattr(type(part), name) == getattr(type(original), name)
    x = rng.normal(1, 2, (6, 3)).astype("float32")
    whole = functional(layers.Dense(3), converted)
    other = loaded(whole, tmp_path / "whole.keras")
    expected = predict(whole, x)
    np.testing.assert_allclose(predict(other, x), expected, 1e-6)
    kinds = {type(x) for x in other._flatten_layers() if is_ours(x)}
    assert kinds == {BatchGroupNormalization}


def test_parts_that_hold_their_layers_keep_their_class(tmp_path):
    model = convert(functional(layers.BatchNormalization(), layers.Dense(2)))
    assert type(model) is type(functional(layers.Dense(1)))
    holding = convert(functional(Holder(Block(name="block"), name="holder")))
    assert type(holding) is type(model)
    assert type(holding.get_layer("holder").part) is not Block


def test_a_class_that_creates_other_layers_than_in_the_file_is_an_error(
    tmp_path, monkeypatch, rng
):
    converted = convert(trained(functional(Block()), rng), example_weight=0.3)
    converted.save(tmp_path / "model.keras")
    monkeypatch.setattr(Block, "build", lambda self, shape: self.first.build(shape))
    monkeypatch.setattr(Block, "call", lambda self, x, training=None: self.first(x))
    with pytest.raises(ValueError, match=r"saved with 2 batch.*creates 1"):
        keras.models.load_model(tmp_path / "model.keras")


def test_what_keras_refuses_to_save_stays_refused(tmp_path):
    class Unsaved(Subclassed):
        def get_config(self):
            raise NotImplementedError("Unsaved")

    model = convert(called(Unsaved()), in_place=True)
    with pytest.raises(NotImplementedError, match="Unsaved"):
        model.save(tmp_path / "model.keras")


@pytest.mark.filterwarnings("error:.*compile")
def test_models_of_keras_hub_are_saved_whole_without_a_word(tmp_path, rng):
    import keras_hub

    [backbone] = keras_hub_backbone().layers
    model = keras_hub.models.ImageClassifier(trained(backbone, rng), num_classes=3)
    x = rng.normal(size=(2, 8, 8, 3)).astype("float32")
    converted = convert(model, ghost_batch_size=2, example_weight=0.3)
    expected = predict(converted, x)
    converted.compiled = False  # Keras warns where it loads a compiled one.
    other = loaded(converted, tmp_path / "model.keras")
    np.testing.assert_allclose(predict(other, x), expected, 1e-6, 1e-6)


def test_threads_convert_and_load_at_once(tmp_path, rng):
    x = rng.normal(1, 2, (6, 3)).astype("float32")
    converted = convert(trained(functional(Block()), rng), example_weight=0.3)
    converted.save(tmp_path / "model.keras")

    def work(_):
        # A class of its own, so that each thread makes a subclass of it.
        convert(functional(type("Own", (Block,), {})()), example_weight=0.1)
        return keras.models.load_model(tmp_path / "model.keras")

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for model in threads.map(work, range(4)):
            expected = predict(converted, x)
            np.testing.assert_allclose(predict(model, x), expected, 1e-6, 1e-6)

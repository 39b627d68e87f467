"""Weights, copies, files and exports of both layers.

The parameter `groups` says which layer it is, as in `test_training.py`.
"""

import copy
import pathlib
import pickle
import re

import keras
import numpy as np
import pytest
from helpers import (
    array,
    check_inference,
    close,
    example_batch,
    layer_and_keras_layer,
    layer_of,
    model_to_save,
    on_tensorflow,
    on_torch,
    randomize,
)

import keras_bn4
from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    convert,
    revert,
    set_example_weight,
)


def save_and_load(model, directory):
    model.save(directory / "model.keras")
    return keras.saving.load_model(directory / "model.keras")


@pytest.mark.parametrize("groups", [None, -1])
@pytest.mark.parametrize(
    ("again", "with_weights"),
    [
        (save_and_load, True),
        (lambda model, _: pickle.loads(pickle.dumps(model)), True),
        (lambda model, _: copy.deepcopy(model), True),
        (lambda model, _: keras.models.clone_model(model), False),
    ],
    ids=["keras", "pickle", "deepcopy", "clone"],
)
def test_copies_keep_the_example_weight(rng, tmp_path, again, with_weights, groups):
    model, x = model_to_save(rng, groups)
    copied = again(model, tmp_path)
    if not with_weights:
        copied.set_weights(model.get_weights())
    assert copied.layers[-1].example_weight == 0.3
    assert copied.layers[-1].get_config() == model.layers[-1].get_config()
    close(array(copied(x)), array(model(x)), rtol=1e-6, atol=1e-6)
    # A copy is another layer, not another name for the same one.
    copied.layers[-1].example_weight = 0.0
    assert model.layers[-1].example_weight == 0.3


@keras.saving.register_keras_serializable("test_files")
class Block(keras.layers.Layer):
    """Creates its normalization itself, so that no configuration holds it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.normalization = BatchGroupNormalization(2, example_weight=0.1)

    def build(self, input_shape):
        self.normalization.build(input_shape)

    def call(self, inputs):
        return self.normalization(inputs)


@pytest.mark.parametrize(
    "again",
    [
        save_and_load,
        lambda model, _: pickle.loads(pickle.dumps(model)),
        lambda model, _: copy.deepcopy(model),
    ],
    ids=["keras", "pickle", "deepcopy"],
)
def test_files_hold_the_example_weight_that_no_configuration_does(rng, tmp_path, again):
    model = keras.Sequential([keras.Input((3, 4)), Block()])
    randomize(model.layers[0].normalization, (3, 4), rng)
    x, _ = example_batch(rng, 5, (3, 4))
    set_example_weight(model, 0.7)
    other = again(model, tmp_path)
    assert other.layers[0].normalization.example_weight == 0.7
    close(array(other(x)), array(model(x)), rtol=1e-6, atol=1e-6)


def test_files_of_earlier_versions_hold_it_in_the_configuration(rng, tmp_path):
    layer = model_to_save(rng)[0].layers[-1]
    for folder in (None, str(tmp_path)):
        layer.load_assets(folder)
        assert layer.example_weight == 0.3


def test_weights_file(rng, tmp_path):
    model, x = model_to_save(rng)
    model.save_weights(tmp_path / "model.weights.h5")
    other, _ = model_to_save(np.random.default_rng(1))
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(array(other(x)), array(model(x)))


@pytest.mark.parametrize("renorm", [False, True])
def test_weights_are_those_of_keras(rng, renorm):
    layer, keras_layer = layer_and_keras_layer(rng, (3, 6), renorm=renorm)
    assert [w.name for w in layer.weights] == [w.name for w in keras_layer.weights]
    assert [w.shape for w in layer.weights] == [w.shape for w in keras_layer.weights]
    fresh = keras.layers.BatchNormalization(renorm=renorm)
    fresh.build((None, 3, 6))
    fresh.set_weights(layer.get_weights())
    x, _ = example_batch(rng, 4, (3, 6))
    close(array(fresh(x)), array(layer(x)), rtol=1e-6, atol=1e-6)
    grouped = BatchGroupNormalization(2)
    grouped.build((None, 3, 6))
    assert [w.path.split("/")[-1] for w in grouped.weights] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]


@on_tensorflow
def test_checkpoints_fit_both_this_layer_and_that_of_keras(rng, tmp_path):
    import tensorflow as tf

    layer, keras_layer = layer_and_keras_layer(rng, (3, 6))
    for saved, loaded in (
        (layer, keras.layers.BatchNormalization()),
        (keras_layer, GhostBatchNormalization(ghost_batch_size=2)),
    ):
        loaded.build((None, 3, 6))
        path = tf.train.Checkpoint(layer=saved).save(str(tmp_path / "checkpoint"))
        status = tf.train.Checkpoint(layer=loaded).restore(path)
        status.assert_existing_objects_matched()
        for weight, expected in zip(loaded.get_weights(), saved.get_weights()):
            np.testing.assert_array_equal(weight, expected)


@on_tensorflow
@pytest.mark.parametrize("example_weight", [0.0, 0.3])
@pytest.mark.parametrize("groups", [None, 2])
def test_export(rng, tmp_path, groups, example_weight):
    import tensorflow as tf

    model, x = model_to_save(rng, groups)
    set_example_weight(model, example_weight)
    model.export(tmp_path / "exported", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    check_inference(model.layers[-1], x, groups or -1, array(loaded.serve(x)))


HISTORIES = {
    "made": lambda model, _: model,
    "converted": lambda model, _: convert(model, ghost_batch_size=2),
    "in place": lambda model, _: convert(model, ghost_batch_size=2, in_place=True),
    "converted twice": lambda model, _: convert(convert(model), example_weight=0.7),
    "cloned": lambda model, _: keras.models.clone_model(model),
    "loaded": save_and_load,
    "pickled": lambda model, _: pickle.loads(pickle.dumps(model)),
    "deepcopied": lambda model, _: copy.deepcopy(model),
    "reverted": lambda model, _: revert(convert(model)),
}


@on_torch
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("groups", [None, "of Keras"])
@pytest.mark.parametrize("history", HISTORIES)
def test_state_dict_is_that_of_keras_whatever_the_history(
    tmp_path, history, groups, wrapped
):
    import torch

    def model_of(layer):
        inputs = keras.Input((3, 6))
        return keras.Model(inputs, layer(inputs))

    keras_model = model_of(keras.layers.BatchNormalization(name="norm"))
    if groups == "of Keras":
        layer = keras.layers.BatchNormalization(name="norm")
    else:
        layer = layer_of(groups, name="norm")
    model = HISTORIES[history](model_of(layer), tmp_path)
    own, layer = layer.variables, model.layers[-1]
    assert len(own) == len(layer.variables) == 4
    if wrapped:
        model, keras_model = model_of(model), model_of(keras_model)
    keys = [key.replace("norm_1/", "norm/") for key in keras_model.state_dict()]
    assert list(model.state_dict()) == keys
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    assert set(averaged.state_dict()) == {"n_averaged", *(f"module.{k}" for k in keys)}
    if history != "reverted" and groups != "of Keras":
        before, layer.example_weight = dict(model.state_dict()), 0.25
        model.load_state_dict(before)
        assert layer.example_weight == 0.25


@on_torch
def test_state_dict_is_that_of_keras(rng):
    layer, keras_layer = layer_and_keras_layer(rng, (3, 6))
    assert len(layer.state_dict()) == len(keras_layer.state_dict()) == 4
    state = zip(keras_layer.state_dict(), layer.state_dict().values())
    keras_layer.load_state_dict(dict(state))
    x, _ = example_batch(rng, 4, (3, 6))
    layer.example_weight = 0.0
    close(array(keras_layer(x)), array(layer(x)))


def test_a_file_of_tf_keras_with_virtual_batches_is_read_as_the_page_shows(
    rng, tmp_path
):
    h5py = pytest.importorskip("h5py")
    # Weights as tf_keras writes them: with an axis for virtual batches.
    layer = randomize(GhostBatchNormalization(name="norm"), (3, 6), rng)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        group = file.create_group("model_weights/norm")
        names = [f"norm/{weight.name}:0" for weight in layer.weights]
        for name, value in zip(names, layer.get_weights()):
            group[name] = value.reshape(1, 1, 1, 6)
        group.attrs["weight_names"] = names
    other = GhostBatchNormalization(ghost_batch_size=4, name="norm")
    model = keras.Sequential([keras.Input((3, 6)), other])
    page = (pathlib.Path(keras_bn4.layers.__file__).parent / "README.md").read_text()
    (block,) = (
        b for b in re.findall(r"```python\n(.*?)```", page, re.S) if "h5py" in b
    )
    exec(block.replace("old.h5", str(tmp_path / "old.h5")), {"model": model})
    for weight, expected in zip(other.get_weights(), layer.get_weights()):
        np.testing.assert_array_equal(weight, expected)

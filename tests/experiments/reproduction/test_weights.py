"""Weights of one training from which another one starts."""

import keras
import numpy as np
import pytest

from keras_bn4.experiments.reproduction import training, weights
from keras_bn4.experiments.reproduction.settings import Settings

SETTINGS = Settings(filters=(4,))


def build(classes=5, **changes):
    return training.build(SETTINGS.replace(**changes), (8, 8, 1), classes)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A network with weights that no initializer gives, and the file of them."""
    model, rng = build(), np.random.default_rng(1)
    model.set_weights([rng.uniform(1, 2, w.shape) for w in model.get_weights()])
    path = tmp_path_factory.mktemp("results") / "weights.npz"
    weights.keep(model, path)
    return model, path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"groups": 2, "ghost_batch_size": 1, "affine_decay": "to 0"},
    ],
    ids=str,
)
@pytest.mark.parametrize("classes", [5, 3])
def test_all_weights_are_moved_but_those_of_the_head(classes, changes, kept):
    source, path = kept
    model = build(classes, seed=4, **changes)
    kernel, bias = build(classes, seed=4).get_weights()[-2:]
    weights.start_from(path, model)
    *moved, own_kernel, own_bias = model.get_weights()
    assert len(moved) == len(source.weights) - 2
    for ours, theirs in zip(moved, source.get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(own_kernel, kernel)
    np.testing.assert_array_equal(own_bias, bias)
    assert isinstance(model.layers[-1], keras.layers.Dense)


def test_weights_of_another_network(kept):
    with pytest.raises(ValueError, match=r"has no weights to start from"):
        weights.start_from(kept[1], build(filters=(8,)))


@pytest.mark.parametrize("content", [None, b"", b"PK", b"\x93NUMPY"])
def test_weights_that_are_gone_or_broken(content, tmp_path):
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights/source.npz"
    if content is not None:
        path.write_bytes(content)
    model = build()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"Remove .*records/source\.json, so that"):
        weights.start_from(path, model)
    for ours, theirs in zip(model.get_weights(), before):
        np.testing.assert_array_equal(ours, theirs)

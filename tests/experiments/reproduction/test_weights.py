"""Weights of one training from which another one starts."""

import numpy as np
import pytest

from keras_bn4.experiments.reproduction import training, weights
from keras_bn4.experiments.reproduction.settings import Settings


def build(classes=5, **changes):
    settings = Settings(**{"filters": (4,), **changes})
    return training.build(settings, (8, 8, 1), classes)


def test_all_weights_are_moved_but_those_of_the_head(tmp_path, rng):
    source, path = build(), tmp_path / "weights.npz"
    source.set_weights([rng.uniform(1, 2, w.shape) for w in source.get_weights()])
    weights.keep(source, path)
    model = build(3, seed=4, groups=2, ghost_batch_size=1, affine_decay="to 0")
    expected = [*source.get_weights()[:-2], *model.get_weights()[-2:]]
    weights.start_from(path, model)
    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, value)
    with pytest.raises(ValueError, match=r"has no weights to start from"):
        weights.start_from(path, build(filters=(8,)))


@pytest.mark.parametrize("content", [None, b"", b"PK", b"\x93NUMPY"])
def test_weights_that_are_gone_or_broken(content, tmp_path):
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights/source.npz"
    if content is not None:
        path.write_bytes(content)
    model = build()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"Remove .*records/source\.json to repeat"):
        weights.start_from(path, model)
    for ours, theirs in zip(model.get_weights(), before):
        np.testing.assert_array_equal(ours, theirs)

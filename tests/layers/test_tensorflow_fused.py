"""TensorFlow's fused kernel: what it serves, and how often it is started.

That training by it is right is tested wherever `helpers.with_kernels` is used.
"""

import numpy as np
import pytest
from helpers import (
    BACKEND,
    EPSILON,
    example_batch,
    layer_of,
    on_tensorflow,
    run,
)

from keras_bn4.layers.kernels import tensorflow_fused


def supports(x, mask=None, axis=1, groups=None, epsilon=EPSILON):
    groups = x.shape[axis] if groups is None else groups
    return tensorflow_fused.supports(x, mask, groups, axis, epsilon, False)


class KernelStarted(Exception):
    pass


@pytest.fixture
def without_kernel(monkeypatch):
    """Makes every layer fail that is about to start the fused kernel."""

    def fail(*_, **__):
        raise KernelStarted

    monkeypatch.setattr(tensorflow_fused, "normalize_batch", fail)


def execute(rng, how, masked=False, training=True, **arguments):
    """One step of a layer with these arguments."""
    layer = layer_of(**arguments)
    x, upstream = (a.astype(layer.dtype) for a in example_batch(rng, 6, (3, 6)))
    layer.build((None, 3, 6))
    mask = rng.random(np.delete(x.shape, layer.axis)) < 0.6 if masked else None
    return run(layer, x, upstream, mask, training, how)


@on_tensorflow
@pytest.mark.usefixtures("without_kernel")
@pytest.mark.parametrize(
    "options",
    [
        {"training": False, "example_weight": 0.3},
        {"trainable": False},
        {"masked": True},
        {"renorm": True, "ghost_batch_size": None},
        {"groups": 2},
        {"axis": 1},
        {"dtype": "float64"},
    ],
    ids=str,
)
def test_what_never_meets_the_kernel(rng, options):
    """So that the tests of these need not be repeated for every kernel."""
    execute(rng, "eager", **{"ghost_batch_size": 2, **options})


@on_tensorflow
@pytest.mark.slow
@pytest.mark.usefixtures("without_kernel")
def test_what_xla_compiles_never_meets_the_kernel(rng):
    execute(rng, "xla", ghost_batch_size=2)


@on_tensorflow
@pytest.mark.usefixtures("without_kernel")
@pytest.mark.parametrize("how", ["eager", "graph"])
@pytest.mark.parametrize("groups", [None, -1])
def test_training_without_a_mask_meets_the_kernel(rng, how, groups):
    with pytest.raises(KernelStarted):
        execute(rng, how, groups=groups, ghost_batch_size=2)


@pytest.mark.parametrize(
    ("shape", "dtype", "axis", "expected"),
    [
        ((7, 3, 6), "float32", 2, True),
        ((None, 3, 6), "float16", 2, True),
        ((None, 6), "bfloat16", 1, True),
        ((7, 3, 6), "float64", 2, False),
        ((7, 3, 6), "float32", 1, False),
        ((7, None, 6), "float32", 2, False),
        ((0, 3, 6), "float32", 2, False),
        ((7, 0, 6), "float32", 2, False),
    ],
)
@on_tensorflow
def test_supports(shape, dtype, axis, expected):
    import tensorflow as tf

    spec = tf.TensorSpec(shape, dtype)
    assert supports(spec, axis=axis) == expected
    assert not supports(spec, "a mask", axis)
    assert not supports(spec, axis=axis, groups=2)


@on_tensorflow
def test_cudnn_takes_no_smaller_epsilon(monkeypatch):
    import tensorflow as tf

    spec = tf.TensorSpec((7, 6))
    assert supports(spec, epsilon=1e-6)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert not supports(spec, epsilon=1e-6)
    assert supports(spec, epsilon=1e-3)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has the kernel.")
def test_other_backends_have_no_such_kernel():
    assert not supports(np.ones((7, 6), "float32"))


@on_tensorflow
@pytest.mark.parametrize(
    ("n", "ghost_batch_size", "least", "known", "unknown"),
    [
        # A ghost of 3 examples has 54 elements. In a loop the kernel appears once.
        (12, 3, 54, 4, 0),
        (12, 3, 27, 4, "loop"),
        (12, 3, 55, 0, 0),
        # One ghost of 4 examples and three of 3.
        (13, 3, 54, 4, 0),
        # A single ghost.
        (12, None, 0, 1, 1),
        (12, None, 10**9, 0, 0),
        (12, 100, 0, 1, "loop"),
        (12, 100, 10**9, 0, 0),
    ],
)
def test_how_often_the_kernel_is_started(
    monkeypatch, n, ghost_batch_size, least, known, unknown
):
    """Once for each large ghost, and never for small ones."""
    import tensorflow as tf

    monkeypatch.setattr(tensorflow_fused, "LEAST_ELEMENTS", least)
    for size, expected in ((n, known), (None, unknown)):
        function = tf.function(
            lambda x: tensorflow_fused.normalize_batch(
                x, None, None, None, ghost_batch_size, 6, 2, EPSILON
            )[0],
            [tf.TensorSpec((size, 3, 6))],
        )
        operations = function.get_concrete_function().graph.get_operations()
        types = [operation.type for operation in operations]
        if expected == "loop":
            assert any("While" in each for each in types)
            assert "FusedBatchNormV3" not in types
        else:
            assert types.count("FusedBatchNormV3") == expected

"""The moments that TensorFlow selects on a CPU: when they are taken, and that they fit.

That inference by them is right, `test_inference.py` tests as well.
"""

import gc
import re

import keras
import numpy as np
import pytest
import reference
from helpers import BACKEND, array, close, layer_of, randomize, run, weights

import keras_bn4
from keras_bn4.layers.kernels import tensorflow_selected
from keras_bn4.layers.moments import example_moments

if BACKEND != "tensorflow":
    pytest.skip("TensorFlow's own", allow_module_level=True)

import tensorflow as tf

SHAPE = (2, 16, 8, 2)  # Two parts of 64 positions.


def inference(layer, x, how="graph"):
    """A compiled call of a layer, of which no gradient is taken."""
    signature = [tf.TensorSpec((None, *x.shape[1:]), x.dtype)]
    call = tf.function(lambda x: layer(x), signature, jit_compile=how == "xla")
    return lambda x: array(call(x))


@pytest.fixture
def marked(monkeypatch):
    """Gives what may be selected another result, that of a mean of 100."""

    def other(x, *_):
        ones = tf.ones((tf.shape(x)[0], x.shape[-1]))
        return 100 * ones, ones

    monkeypatch.setattr(tensorflow_selected, "_by_norm", other)
    return lambda outputs: array(outputs).max() < -0.1


@pytest.mark.parametrize("shape", [(16, 3), (4, 4, 3), (2, 4, 2, 3)])
def test_it_is_selected_when_a_compiled_function_infers(rng, marked, shape):
    layer = layer_of(example_weight=0.3)
    x = rng.normal(size=(3, *shape)).astype("float32")
    assert marked(inference(layer, x)(x))
    layer.example_weight = 0.0
    model = keras.Sequential([keras.Input(shape), layer])
    assert not marked(model.predict(x, verbose=0))
    layer.example_weight = 0.1
    assert marked(model.predict(x, verbose=0))
    assert not marked(layer(x))


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (3, 5, 3)},
        {"axis": 1, "shape": (3, 4, 4)},
        {"dtype": "float64"},
        {"how": "xla"},
        {"gradient": True},
        {"training": True},
    ],
    ids=str,
)
def test_it_is_not_selected_otherwise(rng, marked, options):
    shape, dtype = options.pop("shape", (4, 4, 3)), options.pop("dtype", "float32")
    how, training = options.pop("how", "graph"), options.pop("training", False)
    gradient = options.pop("gradient", False)
    layer = layer_of(example_weight=0.3, dtype=dtype, **options)
    x = rng.normal(size=(3, *shape)).astype(dtype)
    if gradient or training:
        layer.build(x.shape)
        outputs, _, _ = run(layer, x, np.ones_like(x), None, training, how)
    else:
        outputs = inference(layer, x, how)(x)
    assert not marked(outputs)


def test_it_is_not_selected_with_a_mask_or_with_positions_of_unknown_size(rng, marked):
    layer = layer_of(example_weight=0.3)
    x = rng.normal(size=(3, 16, 3)).astype("float32")
    signature = [tf.TensorSpec((None, None, 3))]
    assert not marked(tf.function(lambda x: layer(x), signature)(x))
    masked = tf.function(lambda x, mask: layer(x, mask=mask))
    assert not marked(masked(x, np.ones((3, 16), bool)))


@pytest.mark.parametrize("example_weight", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("mean", [0, 3, 10, 100, 1e3, 1e4])
@pytest.mark.parametrize("moving_mean_is_near", [False, True])
def test_outputs_are_as_precise_as_the_usual_ones(
    rng, mean, moving_mean_is_near, example_weight
):
    """Means are in standard deviations. Eagerly, layers compute the usual way."""
    layer = layer_of(example_weight=example_weight)
    x = (mean + rng.normal(0, 1, SHAPE)).astype("float32")
    randomize(layer, SHAPE[1:], rng)
    layer.moving_mean.assign(np.array([0.3, -0.2]) + moving_mean_is_near * mean)
    expected = reference.infer(
        reference.rows(x, -1),
        epsilon=layer.epsilon,
        example_weight=example_weight,
        **weights(layer),
    )

    def error(outputs):
        return np.abs(reference.rows(outputs, -1) - expected).max()

    usual = error(array(layer(x)))
    assert error(inference(layer, x)(x)) <= max(1.5 * usual, 3e-6)
    assert usual <= 1e-4 or mean >= 1e3


def test_moments_far_from_0_are_the_usual_ones(rng):
    x = (1e3 + rng.normal(0, 1, SHAPE)).astype("float32")
    got = tf.function(
        lambda x: tensorflow_selected.selected_moments(x, tf.ones((1, 2)), 0.1)
    )(x)
    usual = example_moments(tf.constant(x), 3, training=False)
    np.testing.assert_array_equal(array(got.variance), array(usual.variance))
    close(array(got.mean), x.mean((1, 2), dtype="float64"), rtol=3e-7, atol=0)


def test_batch_mates_far_from_0_change_no_more_than_rounding(rng):
    layer = layer_of(example_weight=0.2)
    randomize(layer, SHAPE[1:], rng)
    x = rng.normal(1, 1, (6, *SHAPE[1:])).astype("float32")
    infer = inference(layer, x)
    alone = infer(x)
    x[-1] += 1e4
    close(infer(x)[:-1], alone[:-1], rtol=1e-6, atol=1e-6)
    x[-1] = np.nan
    close(infer(x)[:-1], alone[:-1], rtol=1e-6, atol=1e-6)


def test_layers_of_several_shapes_in_one_model(rng):
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 4)), layer_of(example_weight=0.3)])
    model.add(layers.AveragePooling2D(2))
    model.add(layer_of(2, example_weight=0.2))
    model.add(layers.Conv2D(4, 1))
    model.add(layer_of(example_weight=0.1))
    x = rng.normal(1, 2, (5, 16, 16, 4)).astype("float32")
    close(model.predict(x, verbose=0), array(model(x)), rtol=1e-5, atol=2e-6)


def names_of(text):
    return set(re.findall(rb"keras_bn4_[0-9.]+_moments_[0-9x]+", text))


def test_an_export_holds_names_that_depend_on_shape_and_version_alone(rng, tmp_path):
    for i in range(2):
        model = keras.Sequential(
            [keras.Input((16, 8, 2)), layer_of(example_weight=0.3), layer_of(2)]
        )
        model.export(tmp_path / str(i), verbose=False)
        text = (tmp_path / str(i) / "saved_model.pb").read_bytes()
        name = f"keras_bn4_{keras_bn4.__version__}_moments_16x8x2"
        assert names_of(text) == {name.encode()}
        # As the docstring says, both computations are in the file.
        assert b"EuclideanNorm" in text
    x = rng.normal(1, 2, (5, 16, 8, 2)).astype("float32")
    # Functions of one name from two files.
    one, other = (tf.saved_model.load(tmp_path / str(i)) for i in range(2))
    expected = model(model(x))
    found = tf.function(lambda x: other.serve(one.serve(x)))(x)
    close(array(found), array(expected), rtol=1e-5, atol=2e-6)


def test_a_function_that_is_gone_leaves_no_graph_behind(rng):
    layer = layer_of(example_weight=0.3)
    randomize(layer, SHAPE[1:], rng)
    x = rng.normal(1, 2, SHAPE).astype("float32")

    def graphs_after_calls():
        for size in (8, 12, 16):
            inference(layer, x[:, :size])(x[:, :size])
        gc.collect()
        return sum(isinstance(each, tf.Graph) for each in gc.get_objects())

    graphs_after_calls()  # What other tests have left goes as well.
    before = graphs_after_calls()
    assert graphs_after_calls() <= before


def test_layers_of_one_shape_share_the_functions_of_their_graph(monkeypatch):
    made = []
    trace = tensorflow_selected._trace
    monkeypatch.setattr(
        tensorflow_selected, "_trace", lambda shape: made.append(shape) or trace(shape)
    )
    model = keras.Sequential([keras.Input((16, 4)), layer_of(), layer_of(), layer_of()])
    tf.function(lambda x: model(x))(np.ones((2, 16, 4), "float32"))
    assert made == [(16, 4)]


def test_an_empty_batch(rng):
    layer = layer_of(example_weight=0.3)
    x = np.zeros((0, *SHAPE[1:]), "float32")
    assert inference(layer, x)(x).shape == x.shape


def test_a_function_that_was_called_can_be_exported_and_compiled(rng, tmp_path):
    """XLA and LiteRT lack the Euclidean norm."""
    layer = layer_of(example_weight=0.3)
    x = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    module = tf.Module()
    module.layer = layer
    module.call = tf.function(lambda x: layer(x), [tf.TensorSpec((2, 4, 4, 3))])
    expected = array(module.call(x))
    close(array(tf.function(module.call, jit_compile=True)(x)), expected)
    tf.saved_model.save(module, tmp_path)
    # Two models from one file, whose functions have the same names.
    one, other = (tf.saved_model.load(tmp_path) for _ in range(2))
    close(array(tf.function(lambda x: other.call(one.call(x)))(x)), layer(expected))
    function = module.call.get_concrete_function()
    lite = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    assert lite.convert()

"""Recalibration against moments in NumPy, and on networks that were really trained."""

import copy
import subprocess
import sys
import textwrap
import threading

import keras
import numpy as np
import pytest
import reference
from keras import layers, ops

import keras_bn4
from keras_bn4 import GhostBatchNormalization, convert, recalibrate

BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own")


def moving(model):
    return [
        np.stack([np.asarray(keras.ops.convert_to_numpy(v)) for v in pair])
        for pair in (
            (layer.moving_mean, layer.moving_variance)
            for layer in model._flatten_layers()
            if isinstance(layer, layers.BatchNormalization)
        )
    ]


def close(actual, expected, tolerance=1e-6):
    """Equal to a tolerance relative to the largest deviation, or square, of a layer."""
    for a, b in zip(actual, expected, strict=True):
        mean_scale = np.sqrt(b[1].max())
        assert np.abs(a[0] - b[0]).max() <= tolerance * max(
            mean_scale, np.abs(b[0]).max()
        )
        assert np.abs(a[1] - b[1]).max() <= tolerance * b[1].max()


def network(dtype=None, **ghosts):
    """Two normalizers, the first of which sees what no other has normalized."""
    make = GhostBatchNormalization if ghosts else layers.BatchNormalization
    inputs = keras.Input((6, 6, 3))
    x = make(dtype=dtype, **ghosts)(layers.Conv2D(4, 3, dtype=dtype)(inputs))
    x = layers.Dropout(0.5)(layers.ReLU()(x))
    x = make(dtype=dtype, **ghosts)(layers.Conv2D(5, 3, dtype=dtype)(x))
    outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


@pytest.fixture
def images(rng):
    # Examples of very different levels, so that wrong pooling shows.
    return (rng.normal(size=(96, 6, 6, 3)) + rng.normal(0, 5, (96, 1, 1, 3))).astype(
        "float32"
    )


def cut(x, sizes):
    ends = np.cumsum(sizes)
    assert ends[-1] == len(x)
    return np.split(x, ends[:-1])


def moments(x):
    """Mean and variance by channel of an array, in float64."""
    x = np.asarray(ops.convert_to_numpy(x), "float64").reshape(-1, x.shape[-1])
    return np.stack([x.mean(0), x.var(0)])


SPLITS = [[64, 0, 32], [4, 64, 6, 2, 20], [2] * 48]


def test_the_first_normalizer_has_the_moments_of_all_examples(images):
    model, deeper = network(), []
    expected = moments(model.layers[1](images))
    for sizes in SPLITS:
        recalibrate(model, iter(cut(images, sizes)), verbose=0)
        close(moving(model)[:1], [expected])
        deeper.append(moving(model)[1])
    # The inputs of the second were normalized batch by batch.
    assert np.abs(deeper[-1] / deeper[0] - 1).max() > 1e-3


@pytest.mark.parametrize("groups", [None, 1])
def test_ghosts_that_divide_every_batch_make_all_layers_independent(images, groups):
    model = convert(network(), ghost_batch_size=2, groups=groups)
    recalibrate(model, images, batch_size=48, verbose=0)
    whole = moving(model)
    for sizes in SPLITS:
        recalibrate(model, iter(cut(images, sizes)), verbose=0)
        close(moving(model), whole)


def test_nothing_else_changes(images, rng):
    model = convert(network(), ghost_batch_size=4, example_weight=0.1)
    model.compile(keras.optimizers.Adam(), "mse", metrics=["mae"])
    y = rng.normal(size=(96, 2))
    model.fit(images, y, batch_size=32, verbose=0)

    def state():
        variables = [*model.variables, *model.optimizer.variables]
        variables += [v for metric in model.metrics for v in metric.variables]
        kept = [v for v in variables if not v.name.startswith("moving_")]
        assert len(variables) - len(kept) == 4
        return [ops.convert_to_numpy(v) for v in kept]

    before, predict_function = state(), model.predict_function
    old = moving(model)
    recalibrate(model, images, verbose=0)
    for a, b in zip(state(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(moving(model)[0], old[0])
    assert model.predict_function is predict_function
    assert "call" not in vars(model.layers[2])
    assert model.layers[2].example_weight == 0.1


def test_dropout_is_off(images):
    model = network()
    recalibrate(model, images, verbose=0)
    once = moving(model)
    recalibrate(model, images, verbose=0)
    close(moving(model), once, 1e-7)


def test_a_shared_layer_pools_over_its_places(rng):
    shared = layers.BatchNormalization(epsilon=1e-12)
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], layers.Add()([shared(a), shared(b)]))
    x = [rng.normal(m, 1, (20, 3)).astype("float32") for m in (0, 4)]
    recalibrate(model, x, batch_size=6, verbose=0)
    close(moving(model), [moments(np.concatenate(x))])


def test_masked_steps_do_not_count(rng):
    inputs = keras.Input((5, 2))
    masked = layers.Masking(mask_value=9.0)(inputs)
    model = keras.Model(inputs, layers.BatchNormalization()(masked))
    x = rng.normal(size=(11, 5, 2)).astype("float32")
    x[rng.random((11, 5)) < 0.4] = 9
    recalibrate(model, x, batch_size=4, verbose=0)
    close(moving(model), [moments(x[(x != 9).any(-1)])])


def test_wrapped_nested_and_subclassed_models(rng):
    x = rng.normal(3, 2, (12, 5, 4)).astype("float32")

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential([keras.Input((5, 4))])
            self.inner.add(layers.TimeDistributed(layers.BatchNormalization()))

        def call(self, inputs, training=None):
            # As in transfer learning: not to be trained by `fit`.
            return self.inner(inputs, training=False)

    model = Subclassed()
    model(x)
    recalibrate(model, x, batch_size=5, verbose=0)
    close(moving(model), [moments(x)])


def test_frozen_layers_stay(images):
    model = network()
    model.layers[2].trainable = False
    before = moving(model)
    recalibrate(model, images, verbose=0)
    np.testing.assert_array_equal(moving(model)[0], before[0])
    assert not np.allclose(moving(model)[1], before[1])


def test_renormalization(images):
    inputs = keras.Input((6, 6, 3))
    hidden = layers.BatchNormalization(renorm=True, name="a")(inputs)
    model = keras.Model(inputs, layers.BatchNormalization(renorm=True)(hidden))
    plain = keras.Sequential([keras.Input((6, 6, 3))])
    plain.add(layers.BatchNormalization())
    plain.add(layers.BatchNormalization())
    for layer in (model.layers[1], model.layers[2]):
        ones = [np.ones(3), np.zeros(3)]
        layer.set_weights([*ones, *(np.full(3, 50.0) for _ in range(5))])
    for each in (model, plain):
        recalibrate(each, images, verbose=0)
    close(moving(model), moving(plain))
    layer = model.layers[1]
    assert layer.renorm
    deviation = np.sqrt(moving(plain)[0][1] + layer.epsilon)
    for variable in (layer.moving_stddev, layer.renorm_stddev):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), deviation)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer.renorm_mean), moving(model)[0][0]
    )


def test_mixed_precision(images):
    models = [network(), network("mixed_float16")]
    models[1].set_weights(models[0].get_weights())
    for each in models:
        recalibrate(each, images, verbose=0)
    close(moving(models[1]), moving(models[0]), 2e-2)


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (np.zeros((0, 1), "float32"), {}, "empty"),
        (np.ones((1, 1), "float32"), {}, "fewer than two numbers"),
        (np.ones((40, 1), "float32"), {"steps": 3}, "after 2 of steps=3"),
        (np.full((4, 1), np.nan, "float32"), {}, "NaN"),
        (np.ones((4, 5), "float32"), {}, r"cannot be called .*\(4, 5\)"),
        *(
            (np.ones((4, 1), "float32"), {"prior": prior}, "prior")
            for prior in (0, -1, np.inf, "16", True)
        ),
    ],
)
def test_bad_data_change_nothing(data, arguments, message):
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layers.BatchNormalization()(inputs))
    with pytest.raises(ValueError, match=message):
        recalibrate(model, data, **arguments, verbose=0)
    np.testing.assert_array_equal(moving(model), [[[0], [1]]])
    assert "call" not in vars(model.layers[1])


def test_an_error_in_the_data_leaves_the_model_as_it_was(images):
    model = network()
    before = moving(model)

    def broken():
        yield images[:32]
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        recalibrate(model, broken(), verbose=0)
    for a, b in zip(moving(model), before):
        np.testing.assert_array_equal(a, b)


@on_tensorflow
def test_data_sets_and_labels(images):
    import tensorflow as tf

    model = network()
    recalibrate(model, images, batch_size=32, verbose=0)
    expected = moving(model)
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(96))).batch(32)
    recalibrate(model, data.repeat(), steps=3, verbose=0)
    close(moving(model), expected, 1e-7)
    with pytest.raises(ValueError, match="no end"):
        recalibrate(model, data.repeat(), verbose=0)


def test_it_mends_a_network_of_digits(digits_network):
    (x, _), (x_test, y_test) = keras_bn4.datasets.load("digits", ("train", "test"))
    model = copy.deepcopy(digits_network)
    before = model.evaluate(x_test, y_test, verbose=0)[1]
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(np.full(layer.moving_mean.shape, 3))
            layer.moving_variance.assign(np.full(layer.moving_mean.shape, 50))
    destroyed = model.evaluate(x_test, y_test, verbose=0)[1]
    recalibrate(model, x, batch_size=50, verbose=0)
    after = model.evaluate(x_test, y_test, verbose=0)[1]
    assert destroyed < 0.5 < 0.8 < before
    assert after > before - 0.02


MIRRORED = """
    import contextlib
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers
    from keras_bn4 import GhostBatchNormalization, recalibrate

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    x = np.random.default_rng(0).normal(3, 2, (50, 6, 6, 3)).astype("float32")

    def build(make):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6, 6, 3))
        hidden = make()(layers.Conv2D(4, 3)(inputs))
        return keras.Model(inputs, make()(layers.Conv2D(2, 3)(hidden)))

    def replicas(variable):
        return [v.numpy() for v in variable.value.values]

    for make in (
        lambda: GhostBatchNormalization(ghost_batch_size=4),
        lambda: layers.BatchNormalization(synchronized=True),
    ):
        alone = build(make)
        recalibrate(alone, x, batch_size=16, verbose=0)
        with strategy.scope():
            model = build(make)
            model.compile("sgd", "mse")
        model.fit(x[:40], np.zeros((40, 2, 2, 2)), batch_size=20, verbose=0)
        model.set_weights(build(make).get_weights())
        for scope in (contextlib.nullcontext(), strategy.scope()):
            for layer in (model.layers[2], model.layers[4]):
                layer.moving_mean.assign(np.full(layer.moving_mean.shape, 7.0))
            with scope:
                recalibrate(model, x, batch_size=16, verbose=0)
            for i in (2, 4):
                for name in ("moving_mean", "moving_variance"):
                    expected = getattr(alone.layers[i], name).numpy()
                    values = replicas(getattr(model.layers[i], name))
                    assert len(values) == 2
                    for value in values:
                        np.testing.assert_allclose(value, expected, rtol=1e-5)
                    np.testing.assert_array_equal(*values)
                    gamma = replicas(model.layers[i].gamma)
                    np.testing.assert_array_equal(gamma, np.ones_like(gamma))
    print("all replicas agree")
"""


@pytest.mark.slow
@on_tensorflow
def test_a_mirrored_model_gets_the_same_statistics_on_all_replicas():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MIRRORED)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "all replicas agree" in done.stdout, done.stderr[-3000:]


def mixed_by_the_reference(x, model, prior):
    """The statistics of a chain of normalizers on dense inputs, in float64.

    Every layer gets the mixture of Eq. 3, and normalizes what the next one receives.
    """
    share = len(x) / (prior + len(x))
    expected = []
    for layer in (layer for layer in model.layers if layer.weights):
        old = [np.asarray(ops.convert_to_numpy(v), "float64") for v in layer.variables]
        mixed = np.zeros((2, x.shape[1]))
        y = np.zeros(x.shape)
        for c in range(x.shape[1]):
            batch = reference.moments(x, [(i, c) for i in range(len(x))])
            mixed[:, c] = reference.mix(batch, (old[2][c], old[3][c]), share)
            for i in range(len(x)):
                affine = old[0][c], old[1][c], layer.epsilon
                y[i, c] = reference.normalize(x[i, c], *mixed[:, c], *affine)
        expected.append(mixed)
        x = y
    return expected


@pytest.mark.parametrize(("n", "prior"), [(1, 16), (5, 2.5), (40, 1)])
def test_a_prior_mixes_as_eq_3(n, prior, rng):
    model = keras.Sequential(
        [keras.Input((3,)), *(layers.BatchNormalization() for _ in range(3))]
    )
    model(np.zeros((1, 3)))
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(rng.uniform(0.5, 2, variable.shape))
    x = rng.normal(3, 2, (n, 3)).astype("float32")
    expected = mixed_by_the_reference(x.astype("float64"), model, prior)
    recalibrate(model, x, prior=prior, verbose=0)
    close(moving(model), expected)
    # It moved, and neither to the data alone nor without the spread of the means.
    first = np.stack([x.mean(0), x.var(0)])
    assert np.abs(expected[0] - first).max() > 0.05


def test_a_prior_counts_examples_over_all_batches(images):
    whole, in_batches = network(), network()
    in_batches.set_weights(whole.get_weights())
    recalibrate(whole, images, prior=50, verbose=0)
    recalibrate(in_batches, images, prior=50, batch_size=20, verbose=0)
    close(moving(whole)[:1], moving(in_batches)[:1])
    # What the second layer receives depends on how the data are cut.
    assert np.abs(moving(whole)[1] - moving(in_batches)[1]).max() > 1e-4


def test_a_prior_composes_with_the_example_weight(images):
    model = convert(network(), example_weight=0.2)
    recalibrate(model, images, prior=50, verbose=0)
    assert model.layers[2].example_weight == 0.2
    # The second layer received what the first one gives at its example weight.
    part = keras.Model(model.input, model.layers[5].output)
    share = len(images) / (50 + len(images))
    old = np.stack([np.zeros(5), np.ones(5)])
    expected = np.stack(reference.mix(moments(part(images)), old, share))
    close(moving(model)[1:], [expected], 1e-5)


def test_one_example_is_enough_with_a_prior_and_masked_ones_change_nothing(rng):
    inputs = keras.Input((4, 2))
    masked = layers.Masking()(inputs)
    model = keras.Model(inputs, layers.BatchNormalization()(masked))
    before = moving(model)
    with pytest.raises(ValueError, match="fewer than one number per channel"):
        recalibrate(model, np.zeros((3, 4, 2)), prior=4, verbose=0)
    close(moving(model), before)
    recalibrate(model, rng.normal(5, 1, (1, 4, 2)), prior=4, verbose=0)
    assert (moving(model)[0][0] > 0.5).all()


@pytest.mark.parametrize(("value", "spoiled"), [(np.nan, 2), (np.inf, 6), (-0.5, 6)])
def test_statistics_that_can_not_be_mixed(value, spoiled, images):
    model = network()
    layer = model.layers[spoiled]
    layer.moving_variance.assign(np.full(layer.moving_variance.shape, value))
    before = moving(model)
    message = rf"below 0: '{layer.path}'.*without a `prior`"
    with pytest.raises(ValueError, match=message):
        recalibrate(model, images, prior=4, verbose=0)
    with pytest.raises(ValueError, match=message):
        keras_bn4.discrepancy(model, images, verbose=0)
    # A frozen layer keeps its statistics, and runs with them.
    layer.trainable = False
    with pytest.raises(ValueError, match=message):
        recalibrate(model, images, verbose=0)
    np.testing.assert_equal(moving(model), before)
    layer.trainable = True
    recalibrate(model, images, verbose=0)
    assert all(np.isfinite(m).all() for m in moving(model))


def test_weights_that_are_not_finite_are_not_blamed_on_the_data_alone(images):
    model = network()
    model.layers[1].bias.assign(np.full(4, np.nan))
    with pytest.raises(ValueError, match=f"weights before '{model.layers[2].path}'"):
        recalibrate(model, images, verbose=0)


class Slow(layers.Layer):
    """Counts its calls, and lets other threads do something meanwhile."""

    calls = 0
    meanwhile = staticmethod(lambda: None)

    def call(self, x):
        self.calls += 1
        self.meanwhile()
        return x


def slow_model(**options):
    inputs = keras.Input((3,))
    slow = Slow()
    hidden = slow(layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, layers.BatchNormalization(renorm=True)(hidden))
    model.compile(loss="mse", **options)
    slow.calls = 0
    return model, slow


@pytest.mark.parametrize(
    ("run", "traces"),
    [
        (lambda model, x, n: recalibrate(model, x, verbose=0), 1),
        (lambda model, x, n: recalibrate(model, x, prior=4 + n, verbose=0), 1),
        (lambda model, x, n: keras_bn4.discrepancy(model, x, verbose=0).rows, 2),
    ],
    ids=["replacing", "mixing", "discrepancy"],
)
def test_a_stream_traces_a_model_once(run, traces, rng):
    model, slow = slow_model()
    other, _ = slow_model()
    for n in range(4):
        x = rng.normal(3, 2, (2, 3)).astype("float32")
        other.set_weights(model.get_weights())
        # The other one is traced each time.
        other.compile(loss="mse", run_eagerly=n % 2)
        found, expected = (run(each, x, n) for each in (model, other))
        close(moving(model), moving(other), 1e-6)
        for row, expected_row in zip(found or (), expected or ()):
            ends = (r["inference_maximum"] for r in (row, expected_row))
            np.testing.assert_allclose(*ends, rtol=1e-5)
    assert slow.calls == (4 * traces if BACKEND == "torch" else traces)


def test_what_changes_a_model_is_traced_anew(images):
    model = convert(network(), ghost_batch_size=2)
    recalibrate(model, images, verbose=0)
    for change in (
        lambda x: setattr(x.layers[2], "ghost_batch_size", 32),
        lambda x: setattr(x.layers[2], "trainable", False),
        lambda x: keras_bn4.revert(x, in_place=True),
        lambda x: x.compile(run_eagerly=True),
    ):
        change(model)
        fresh = copy.deepcopy(model)
        fresh.layers[2].trainable = model.layers[2].trainable
        for each in (model, fresh):
            recalibrate(each, images, verbose=0)
        close(moving(model), moving(fresh), 1e-7)


@pytest.mark.parametrize("run", [recalibrate, keras_bn4.discrepancy])
def test_other_threads_use_the_model_meanwhile(run, rng):
    model, slow = slow_model(run_eagerly=True)
    x = rng.normal(3, 2, (6, 3)).astype("float32")
    expected = ops.convert_to_numpy(model(x))
    found = []

    def predict():
        found.append(ops.convert_to_numpy(model(x)))

    def in_another_thread():
        slow.meanwhile = lambda: None
        thread = threading.Thread(target=predict)
        thread.start()
        thread.join()

    slow.meanwhile = in_another_thread
    run(model, x, batch_size=6, verbose=0)
    (predictions,) = found
    np.testing.assert_array_equal(predictions, expected)
    assert "call" not in vars(model.layers[1])


def test_two_at_once_both_finish(rng):
    model, slow = slow_model(run_eagerly=True)
    data = [rng.normal(mean, 2, (6, 3)).astype("float32") for mean in (0, 9)]
    second = threading.Thread(target=recalibrate, args=(model, data[1]))

    def begin():
        slow.meanwhile = lambda: None
        second.start()

    slow.meanwhile = begin
    recalibrate(model, data[0], verbose=0)
    second.join()
    assert slow.calls == 2
    np.testing.assert_allclose(moving(model)[0][0], data[1].mean(0), rtol=1e-5)
    assert model.layers[-1].renorm
    assert "call" not in vars(model.layers[1])

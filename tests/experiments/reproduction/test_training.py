"""The networks of the reproduction, and the loss that they are trained by."""

import keras
import numpy as np
import pytest

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization, recalibrate
from keras_bn4.common.models import layers_of
from keras_bn4.experiments.reproduction import images, training
from keras_bn4.experiments.reproduction.normalizations import (
    EqualGroupNormalization,
    StochasticGroupNormalization,
)
from keras_bn4.experiments.reproduction.settings import Settings

SETTINGS = Settings(
    dataset="digits",
    train_images=40,
    validation_images=20,
    filters=(4, 8),
    epochs=2,
    batch_size=16,
    example_weights=(0.0, 0.5),
)


def build(**changes):
    return training.build(SETTINGS.replace(**changes), (8, 8, 1), 10)


def kernels(model):
    found = layers_of(model, (keras.layers.Conv2D, keras.layers.Dense))
    return [keras.ops.convert_to_numpy(layer.kernel) for layer in found]


def norms(model):
    return layers_of(model, GhostBatchNormalization)


@pytest.mark.parametrize(
    "changes",
    [{"ghost_batch_size": 4, "affine_decay": "to 1"}, {"groups": 2}, {"renorm": True}],
    ids=str,
)
def test_rows_of_a_seed_begin_with_the_same_kernels(changes):
    for ours, theirs in zip(kernels(build()), kernels(build(**changes))):
        np.testing.assert_array_equal(ours, theirs)


def test_kernels_are_drawn_as_keras_draws_them():
    model = build(filters=(32, 64))
    keras.utils.set_random_seed(0)
    keras_own = keras.models.clone_model(model)
    for ours, theirs in zip(kernels(model), kernels(keras_own)):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(np.abs(ours).max(), np.abs(theirs).max(), rtol=0.1)
        np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.15)
    first, second = (kernels(build(seed=seed))[0] for seed in (0, 1))
    assert (first != second).all()


@pytest.mark.parametrize("decay", ["none", "to 0", "to 1"])
def test_decay_is_half_the_factor_times_squares(decay):
    model = build(weight_decay=0.5, affine_decay=decay)
    for layer in norms(model):
        layer.gamma.assign(layer.gamma + 2)
        layer.beta.assign(layer.beta - 3)
    expected = sum(0.25 * np.square(kernel).sum() for kernel in kernels(model))
    channels = sum(layer.gamma.shape[0] for layer in norms(model))
    # γ is 3 and β is -3.
    of_a_channel = {"none": 0, "to 0": 9 + 9, "to 1": 4 + 9}[decay]
    expected += 0.25 * of_a_channel * channels
    loss = keras.ops.convert_to_numpy(sum(model.losses))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_layers_normalize_as_the_settings_say():
    (layer, *_) = norms(build())
    assert type(layer) is GhostBatchNormalization
    assert (layer.ghost_batch_size, layer.momentum) == (None, 0.99)
    (layer, *_) = norms(build(ghost_batch_size=4, variance_tracking="variance"))
    assert (layer.ghost_batch_size, layer.variance_tracking) == (4, "variance")
    (layer, *_) = norms(build(groups=2, ghost_batch_size=1, statistics_momentum=0.5))
    assert type(layer) is BatchGroupNormalization
    assert (layer.groups, layer.ghost_batch_size, layer.momentum) == (2, 1, 0.5)
    (layer, *_) = norms(build(groups=2, statistics_noise=0.2, random_groups=0.5))
    assert type(layer) is StochasticGroupNormalization
    assert (layer.groups, layer.noise, layer.random_share) == (2, 0.2, 0.5)
    (first, *_, last) = norms(build(elements_per_group=32))
    assert type(first) is EqualGroupNormalization
    # 8 × 8 and 4 × 4 positions.
    assert (first.channels_per_group, last.channels_per_group) == (1, 2)
    (layer, *_) = norms(build(renorm=True))
    assert layer.renorm
    assert layer.renorm_clipping == {"rmin": 1 / 3, "rmax": 3, "dmax": 5}


def test_the_network_without_residual_connections_is_the_same_chain():
    residual, plain = build(), build(residual=False)
    assert not layers_of(plain, keras.layers.Add)
    assert len(norms(plain)) == len(norms(residual))
    # The convolution of the one shortcut is all that it lacks.
    assert len(kernels(residual)) == len(kernels(plain)) + 1


def test_the_learning_rate_ends_at_zero():
    model = build()
    steps = 2 * images.steps_per_epoch(SETTINGS)
    rates = []
    for step in (0, steps // 2, steps):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.1, 0.05, 0], atol=1e-6)


@pytest.mark.slow
def test_results_of_outputs_and_with_moving_statistics_of_other_images(tmp_path):
    names = ("augmented training images", "test images")
    settings = SETTINGS.replace(
        filters=(4,), recalibrations=names, measures_outputs=True, ghost_batch_size=2
    )
    trained = training.Training(settings, tmp_path / "state.npz")
    before = trained.model.get_weights()
    results = trained.evaluate()
    assert set(results) == {"validation", "test", "outputs", *names}
    for weight, value in zip(trained.model.get_weights(), before):
        np.testing.assert_array_equal(weight, value)
    outputs = results["outputs"]
    # 8 by 8 positions, and two examples.
    assert outputs["elements"] == 128
    np.testing.assert_allclose(outputs["bound"], np.sqrt(127), rtol=1e-6)
    assert outputs["layer"] == norms(trained.model)[-1].path
    assert -outputs["bound"] <= outputs["training_minimum"] < -1
    assert 1 < outputs["training_maximum"] <= outputs["bound"]
    x, y = trained.test
    for name in names:
        data = images.of_statistics(trained.train, trained.test, settings, name)
        recalibrate(trained.model, data, batch_size=16, verbose=0)
        found = trained.model.evaluate(x, y, verbose=0, return_dict=True)
        for metric in training.METRICS:
            (value,) = results[name][metric]
            np.testing.assert_allclose(value, found[metric], rtol=1e-4)
        (loss,) = results[name]["cross_entropy"]
        assert abs(loss - results["test"]["cross_entropy"][0]) > 0.01

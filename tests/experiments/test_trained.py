"""Halves of data: always the same, apart, and whole."""

import keras
import numpy as np
from scipy import stats

from keras_bn4.experiments import trained


def test_halves_of_a_file_and_of_a_data_set(tmp_path, rng):
    x = np.arange(31)[:, None] * np.ones((1, 4))
    np.savez(tmp_path / "some.npz", x=x, y=np.arange(31))
    first, second = trained.load_halves(tmp_path / "some.npz")
    assert [len(y) for _, y in (first, second)] == [16, 15]
    assert sorted([*first[1], *second[1]]) == list(range(31))
    for images, labels in (first, second):
        assert np.array_equal(images[:, 0], labels)
    assert not np.array_equal(first[1], np.sort(first[1]))
    again, _ = trained.load_halves(tmp_path / "some.npz")
    assert np.array_equal(again[1], first[1])
    assert [len(y) for _, y in trained.load_halves("digits")] == [400, 399]


def test_files_are_told_apart_by_what_they_hold(tmp_path):
    for folder, value in (("a", 1), ("b", 2), ("c", 1)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.keras").write_text(str(value))
    a, b, c = (trained.identity(tmp_path / f / "model.keras") for f in "abc")
    assert a == c != b
    assert a.startswith("model ")
    assert trained.identity("digits") == "digits"


def test_the_interval_of_a_mean(rng):
    values = rng.normal(size=1000)
    interval = stats.ttest_1samp(values, 0).confidence_interval()
    half = (interval.high - interval.low) / 2
    np.testing.assert_allclose(trained.half_width(values), half, rtol=2e-3)


def test_networks_are_compiled_for_loss_and_accuracy(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss)
    model.save(tmp_path / "model.keras")
    loaded = trained.load_network(tmp_path / "model.keras")
    data = np.ones((2, 4)), np.array([0, 1])
    found = loaded.evaluate(*data, verbose=0, return_dict=True)
    expected = model.evaluate(*data, verbose=0)
    assert set(found) == {"loss", "accuracy"}
    assert abs(found["loss"] - expected) < 1e-6

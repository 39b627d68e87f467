"""Halves of data: always the same, apart, and whole."""

import keras
import numpy as np

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
    assert trained.name_of_dataset(tmp_path / "some.npz") == "some"
    assert [len(y) for _, y in trained.load_halves("digits")] == [400, 399]
    assert trained.name_of_dataset("digits") == "digits"


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

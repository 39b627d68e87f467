"""Advice: what changes it, and that it says why and where."""

import keras
import pytest
from keras import layers

from keras_bn4 import convert
from keras_bn4.commands.advice import advise


def chain():
    inputs = x = keras.Input((8, 8, 3))
    for _ in range(6):
        x = layers.Conv2D(12, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(12, 3, padding="same")(x)
    for _ in range(3):
        y = layers.Conv2D(12, 3, padding="same")(x)
        x = layers.Add()([x, layers.BatchNormalization()(y)])
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def said(advice, word):
    return [item for item in advice if word in item.what]


def test_every_advice_has_its_reason_and_section():
    for model in (chain(), residual()):
        for batch_size in (None, 1, 2, 3, 16, 128):
            for overfits in (None, True, False):
                advice = advise(model, batch_size=batch_size, overfits=overfits)
                assert len(advice) == 3
                for item in advice:
                    assert item.why
                    assert item.section.startswith("Sec. ")
                    assert item.section in str(item)


@pytest.mark.parametrize(
    ("batch_size", "overfits", "words", "section"),
    [
        (128, True, "try 8, 16, 32", "Sec. 3.2"),
        (16, True, "try 8.", "Sec. 3.2"),
        (4, None, "try 2.", "Sec. 3.2"),
        (None, None, "try 8, 16, 32", "Sec. 3.2"),
        (128, False, "Leave ghosts out", "Sec. 3.2"),
        (2, True, "[1, 2, 3, 4, 6, 12]", "Sec. 3.4"),
        (2, False, "Compare with group normalization", "Sec. 3.4"),
        (1, True, "ghost_batch_size=1", "Sec. 4.2"),
    ],
)
def test_statistics_by_batch_size_and_overfitting(batch_size, overfits, words, section):
    advice = advise(chain(), batch_size=batch_size, overfits=overfits)
    (item,) = said(advice, words)
    assert item.section == section


def test_decay_by_paths_and_overfitting():
    for model, overfits, word in (
        (chain(), True, "Leave"),
        (residual(), True, "Decay"),
        (residual(), None, "Decay"),
        (residual(), False, "Leave"),
    ):
        (item,) = said(advise(model, overfits=overfits), "γ and β")
        assert item.what.startswith(word)
        assert item.section == "Sec. 3.3"


def test_what_is_done_already_is_not_advised():
    model = convert(chain(), ghost_batch_size=8, example_weight=0.1)
    advice = advise(model, batch_size=64, overfits=True)
    assert [item.section for item in advice] == ["Sec. 3.3"]


def test_other_normalizers_and_none():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.LayerNormalization()(inputs))
    assert [item.section for item in advise(model)] == ["Sec. 3.3"]
    assert advise(keras.Model(inputs, layers.Dense(2)(inputs))) == []
    with pytest.raises(ValueError, match="batch_size=0"):
        advise(model, batch_size=0)

"""The experiment of Sec. 3.1 on a small network that has hardly been trained."""

import keras
import numpy as np
import pytest

from keras_bn4 import demo
from keras_bn4.datasets import load
from keras_bn4.experiments import pretrained


@pytest.fixture
def path(tmp_path):
    model = demo.build()
    x, y = keras.random.uniform((64, 8, 8, 1)), np.arange(64) % 10
    demo.train(model, np.asarray(16 * x), y, steps=2)
    model.save(tmp_path / "small.keras")
    return tmp_path / "small.keras"


@pytest.mark.slow
def test_the_weight_is_chosen_on_one_half_and_reported_on_the_other(
    path, tmp_path, monkeypatch
):
    arguments = {"dataset": "digits", "output_dir": tmp_path}
    results = pretrained.run([path], **arguments)
    (result,) = results
    assert result["examples"] == 399
    assert result["difference_at_zero"] < 1e-5
    for metric, pick in (("loss", np.argmin), ("accuracy", np.argmax)):
        chosen = result["chosen_on"]
        best = chosen[pick([row[metric] for row in chosen])]["example_weight"]
        assert result[metric]["example_weight"] == best
    # The halves are not the same images.
    assert result["at_zero"]["loss"] != result["chosen_on"][0]["loss"]
    scaled = result["scaled"]
    # On the half that they were fitted on, a temperature lowers the loss; here it may
    # not, but the two losses are of the same images.
    assert scaled["lower"] <= scaled["difference"] <= scaled["upper"]
    difference = scaled["loss_of_both"] - scaled["loss"]
    assert scaled["difference"] == pytest.approx(difference)
    assert scaled["both"][0] in pretrained.WITH_TEMPERATURE
    header, _, line = pretrained.table(results).splitlines()
    assert header.startswith("| network | loss at 0 |")
    assert line.startswith(f"| small | {result['at_zero']['loss']:.3f} |")

    # A network that is finished isn't even loaded again, but another one of its name.
    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "load_network", None)
        assert pretrained.run([path], **arguments) == results
    other = demo.build()
    demo.train(other, *load("digits", "train"), steps=1)
    other.save(path)
    assert pretrained.run([path], **arguments)[0]["at_zero"] != result["at_zero"]

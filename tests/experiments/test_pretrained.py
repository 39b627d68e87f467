"""The experiment of Sec. 3.1 on a small network that is not trained."""

import re

import numpy as np
import pytest

from keras_bn4 import demo
from keras_bn4.experiments import pretrained


@pytest.fixture
def path(tmp_path):
    demo.build().save(tmp_path / "small.keras")
    return tmp_path / "small.keras"


@pytest.mark.slow
def test_the_weight_is_chosen_on_one_half_and_reported_on_the_other(
    path, tmp_path, monkeypatch
):
    monkeypatch.setattr(pretrained, "EXAMPLE_WEIGHTS", (0.0, 0.02, 0.1))
    monkeypatch.setattr(pretrained, "WITH_TEMPERATURE", (0.0, 0.1))
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
    assert scaled["lower"] <= scaled["difference"] <= scaled["upper"]
    difference = scaled["loss_of_both"] - scaled["loss"]
    assert scaled["difference"] == pytest.approx(difference)
    header, _, line = pretrained.table(results).splitlines()
    assert header.startswith("| network | loss at 0 |")
    assert line.startswith(f"| small | {result['at_zero']['loss']:.3f} |")
    # A network that is finished isn't even loaded again, but another one of its name.
    monkeypatch.setattr(pretrained, "load_network", None)
    assert pretrained.run([path], **arguments) == results
    demo.build(4).save(path)
    with pytest.raises(TypeError):
        pretrained.run([path], **arguments)


def test_errors_have_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert pretrained.main(["none.keras", "--dataset", "digits"]) == 1
    assert re.fullmatch(r"error: .*none\.keras.*\n", capsys.readouterr().err)

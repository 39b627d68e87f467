"""`experiments.tune` as a command: what it prints, draws, and does when run again."""

import re

import keras
import pytest
import tuner_helpers
from tuner_helpers import completed_trials, keep_few_images

from keras_bn4.experiments.tune import repeats as tune_repeats
from keras_bn4.experiments.tune.__main__ import main

pytestmark = [pytest.mark.slow, tuner_helpers.quiet, tuner_helpers.quiet_again]


def test_it_searches_compares_and_draws(tmp_path, capsys, monkeypatch):
    keep_few_images(monkeypatch)
    search = tmp_path / "search"

    def tune(trials):
        arguments = ("--trials", trials, "--epochs", 1, "--repeats", 2)
        assert main([*map(str, arguments), "--output-dir", str(tmp_path)]) == 0
        printed = capsys.readouterr().out
        return printed[printed.index("trial  kind") :]

    table = tune(trials=3)
    assert len(re.findall(r"^\d +(batch|ghost|batch_group) ", table, re.M)) == 3
    for name in tune_repeats.ROWS:
        assert f"\n{name} " in table
    assert "n = 2 seeds" in table
    assert (tmp_path / "trials.csv").read_text().count("\n") == 4
    assert (tmp_path / "trials.png").stat().st_size > 1000
    before = completed_trials(search)
    assert len(before) == 3

    # Again: nothing is trained, and the same comes out.
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", None)
        assert tune(trials=3) == table
    assert completed_trials(search) == before

    # With more trials only the new ones are trained.
    tune(trials=4)
    assert len(completed_trials(search)) == 4
    assert before.items() <= completed_trials(search).items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "trials=0"),
        (["--epochs", "-1"], "epochs=-1"),
        (["--objective", "val_recall"], "val_cross_entropy.*'val_recall'"),
        (["--dataset", "digitz"], "Unknown data set 'digitz'"),
        (["--dataset", "cifar100:9.9.9", "--data-dir", "."], "no such version"),
        (["--dataset", "cifar100", "--data-dir", "."], "not on disk"),
        (["--output-dir", ""], "--output-dir must be a folder"),
        (["--output-dir", "file"], "--output-dir must be a folder"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(f"(?s){message}", error), error

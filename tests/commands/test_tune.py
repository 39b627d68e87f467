"""`keras_bn4 tune`: what it prints and draws, and what it does when it is run again."""

import re

import keras
import pytest
import tuner_helpers
from garbage import earlier_objects_are_not_collected  # noqa: F401 - for all tests here
from tuner_helpers import completed_trials, keep_few_images

from keras_bn4.experiments.tune import repeats as tune_repeats

pytestmark = [pytest.mark.slow, tuner_helpers.quiet, tuner_helpers.quiet_again]


def test_it_searches_compares_and_draws(tmp_path, run, monkeypatch):
    keep_few_images(monkeypatch)
    search = tmp_path / "search"

    def tune(trials):
        status, printed, _ = run(
            *("tune", "--trials", trials, "--epochs", 1, "--repeats", 2),
            *("--output-dir", tmp_path),
        )
        assert status == 0
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

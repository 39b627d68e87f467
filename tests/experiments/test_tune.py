"""The search of all four things, in Python and as a command."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tuner_helpers
from helpers import SHARED, needs_shared
from scipy import stats
from tuner_helpers import completed_trials, keep_few_images

from keras_bn4.experiments.tune import repeats as tune_repeats
from keras_bn4.experiments.tune import search as tune
from keras_bn4.experiments.tune.__main__ import main

pytestmark = [tuner_helpers.quiet, tuner_helpers.quiet_again]
SMALL = {"trials": 1, "epochs": 1, "repeats": 0, "verbose": 0}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a search of one trial, and the rows that it found."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        keep_few_images(patch)
        found, _ = tune.run(**SMALL, output_dir=folder)
    return folder, found.rows


@pytest.fixture
def folder(searched, tmp_path, monkeypatch):
    """A copy of that folder."""
    keep_few_images(monkeypatch)
    return shutil.copytree(searched[0], tmp_path, dirs_exist_ok=True)


def test_repeats_are_compared_by_seed():
    rng = np.random.default_rng(0)
    accuracy, cross_entropy = rng.normal(size=(2, 3, 5))
    repeats = [
        {
            "test": {
                name: {
                    "example_weight": 0.1 * i,
                    "accuracy": accuracy[i, seed],
                    "cross_entropy": cross_entropy[i, seed],
                }
                for i, name in enumerate(tune_repeats.ROWS)
            }
        }
        for seed in range(5)
    ]
    lines = tune_repeats.table(repeats).splitlines()
    expected = ["best", "of", "the", "search", "0.2"]
    for values in (accuracy, cross_entropy):
        changes = values[2] - values[0]
        interval = stats.ttest_rel(values[2], values[0]).confidence_interval()
        expected += [
            f"{values[2].mean():.4f}",
            f"{changes.mean():+.4f}",
            f"[{interval.low:+.4f},",
            f"{interval.high:+.4f}]",
        ]
    assert lines[3].split() == expected
    assert "n = 5 seeds" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "trials=0"),
        (["--repeats", "-1"], "repeats=-1"),
        (["--executions", "0"], "executions=0"),
        (["--objective", "val_recall"], "val_cross_entropy.*'val_recall'"),
        (["--dataset", "digitz"], "Unknown data set 'digitz'"),
        (["--dataset", "cifar100", "--data-dir", "."], "not on disk"),
        (["--output-dir", "file"], "--output-dir must be a folder"),
    ],
)
def test_wrong_arguments_leave_nothing(
    arguments, message, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["--output-dir", "new", *arguments]) == 1
    assert re.search(f"(?s)^error: .*{message}", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_the_command_goes_on_compares_and_draws(folder, capsys, monkeypatch):
    before = completed_trials(folder / "search")

    def search():
        arguments = ("--trials", 2, "--epochs", 1, "--repeats", 1)
        assert main([*map(str, arguments), "--output-dir", str(folder)]) == 0
        printed = capsys.readouterr().out
        return printed[printed.index("trial  kind") :]

    table = search()
    assert len(re.findall(r"^\d +(batch|ghost|batch_group) ", table, re.M)) == 2
    for name in tune_repeats.ROWS:
        assert f"\n{name} " in table
    assert (folder / "trials.csv").read_text().count("\n") == 3
    assert (folder / "trials.png").stat().st_size > 1000
    assert before.items() < completed_trials(folder / "search").items()
    # Again: nothing is trained, and the same comes out.
    monkeypatch.setattr(keras.Model, "fit", None)
    assert search() == table


@pytest.mark.slow
def test_another_search_in_the_same_folder(folder):
    (folder / "mine.txt").write_text("mine")
    # What was compared on test data.
    (folder / "repeats.json").write_text("[]")
    other = {**SMALL, "objective": "val_accuracy", "output_dir": folder}
    with pytest.raises(ValueError, match=r"'objective': 'val_cross_entropy'.*--fresh"):
        tune.run(**other)
    trials, _ = tune.run(**other, fresh=True)
    assert trials.objective == "val_accuracy"
    assert not (folder / "repeats.json").exists()
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_files_that_a_killed_search_left(folder, searched):
    arguments = {**SMALL, "output_dir": folder}
    for name in ("tuner0", "chief"):
        (folder / f"search/{name}.json").write_text("")
    assert tune.run(**arguments)[0].rows == searched[1]
    (folder / "search/oracle.json").write_text('{"ongo')
    with pytest.raises(ValueError, match=r"oracle.json is empty or truncated.*--fresh"):
        tune.run(**arguments)
    (trial,) = (folder / "search").glob("trial_*/trial.json")
    (folder / "search/oracle.json").write_text("{}")
    trial.write_text("")
    with pytest.raises(ValueError, match=f"Remove {trial.parent} to repeat its trial"):
        tune.run(**arguments)


@pytest.mark.slow
def test_executions_have_seeds_of_their_own(searched, tmp_path, monkeypatch):
    keep_few_images(monkeypatch)
    twice, _ = tune.run(**SMALL, executions=2, output_dir=tmp_path)
    trial = next((tmp_path / "search").glob("trial_*/trial.json")).read_text()
    metrics = json.loads(trial)["metrics"]["metrics"]
    first, second = (
        metrics[f"execution_{i}/val_cross_entropy"]["observations"][0]["value"][0]
        for i in range(2)
    )
    assert first == searched[1][0]["val_cross_entropy"]
    assert second != first
    assert twice.rows[0]["val_cross_entropy"] == pytest.approx((first + second) / 2)


@pytest.mark.slow
def test_a_chief_and_a_worker_search(tmp_path, monkeypatch):
    """By Keras Tuner's own variables; one process goes on with what they have found."""
    keep_few_images(monkeypatch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "keras_bn4.experiments.tune", "--trials", "1"]
    command += ["--epochs", "1", "--output-dir", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        patch.setenv("KERASTUNER_ORACLE_PORT", port)
        patch.setenv("KERASTUNER_TUNER_ID", "worker0")
        chief = subprocess.Popen(
            command, env={**os.environ, "KERASTUNER_TUNER_ID": "chief"}
        )
        try:
            assert tune.run(**SMALL, output_dir=tmp_path) is None
        finally:
            # It would wait for half a minute.
            chief.kill()
            chief.wait()
    before = completed_trials(tmp_path / "search")
    assert len(before) == 1
    found, _ = tune.run(**{**SMALL, "trials": 2}, output_dir=tmp_path)
    assert len(found.rows) == 2
    assert before.items() <= completed_trials(tmp_path / "search").items()


@pytest.mark.slow
@needs_shared
def test_images_of_a_data_set(tmp_path, monkeypatch):
    keep_few_images(monkeypatch)
    arguments = {**SMALL, "data_dir": SHARED / "tfds", "examples": 100}
    trials, _ = tune.run("cifar100", **arguments, output_dir=tmp_path)
    assert trials.rows[0]["val_cross_entropy"] > 0

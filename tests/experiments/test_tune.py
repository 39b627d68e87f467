"""The search of all four things: repeats, folders, seeds, several processes."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tuner_helpers
from helpers import SHARED, needs_shared
from scipy import stats
from tuner_helpers import completed_trials, keep_few_images

from keras_bn4.experiments.tune import repeats as tune_repeats
from keras_bn4.experiments.tune import search as tune

pytestmark = [tuner_helpers.quiet, tuner_helpers.quiet_again]
SMALL = {"trials": 2, "epochs": 1, "repeats": 0, "verbose": 0}


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
        ({"trials": 0}, "trials=0"),
        ({"repeats": -1}, "repeats=-1"),
        ({"executions": 0}, "executions=0"),
        ({"objective": "val_mae"}, "val_mae"),
        ({"dataset": "digitz"}, "digitz"),
    ],
)
def test_bad_arguments_leave_nothing(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tune.run(**{**SMALL, **arguments}, output_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_another_search_in_the_same_folder(tmp_path, monkeypatch):
    keep_few_images(monkeypatch)
    (tmp_path / "mine.txt").write_text("mine")
    tune.run(**{**SMALL, "trials": 1}, output_dir=tmp_path)
    with pytest.raises(ValueError, match=r"'objective': 'val_cross_entropy'.*--fresh"):
        tune.run(**SMALL, objective="val_accuracy", output_dir=tmp_path)
    trials, _ = tune.run(
        **{**SMALL, "trials": 1},
        objective="val_accuracy",
        output_dir=tmp_path,
        fresh=True,
    )
    assert trials.objective == "val_accuracy"
    # What was compared on test data before is discarded, too.
    (tmp_path / "repeats.json").write_text("[]")
    tune.run(
        **{**SMALL, "trials": 1},
        objective="val_accuracy",
        output_dir=tmp_path,
        fresh=True,
    )
    assert not (tmp_path / "repeats.json").exists()
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_files_that_a_killed_search_left(tmp_path, monkeypatch):
    keep_few_images(monkeypatch)
    arguments = {**SMALL, "trials": 1, "repeats": 0, "output_dir": tmp_path}
    before = tune.run(**arguments)[0].rows
    for name in ("tuner0", "chief"):
        (tmp_path / f"search/{name}.json").write_text("")
    assert tune.run(**arguments)[0].rows == before
    (tmp_path / "search/oracle.json").write_text('{"ongo')
    with pytest.raises(ValueError, match=r"oracle.json is empty or truncated.*--fresh"):
        tune.run(**arguments)
    (trial,) = (tmp_path / "search").glob("trial_*/trial.json")
    (tmp_path / "search/oracle.json").write_text("{}")
    trial.write_text("")
    with pytest.raises(ValueError, match=f"Remove {trial.parent}, so that its trial"):
        tune.run(**arguments)


@pytest.mark.slow
def test_executions_have_seeds_of_their_own(tmp_path, monkeypatch):
    keep_few_images(monkeypatch)
    once, _ = tune.run(**{**SMALL, "trials": 1}, output_dir=tmp_path / "once")
    twice, _ = tune.run(
        **{**SMALL, "trials": 1, "executions": 2}, output_dir=tmp_path / "twice"
    )
    trial = next((tmp_path / "twice/search").glob("trial_*/trial.json")).read_text()
    metrics = json.loads(trial)["metrics"]["metrics"]
    first, second = (
        metrics[f"execution_{i}/val_cross_entropy"]["observations"][0]["value"][0]
        for i in range(2)
    )
    assert first == once.rows[0]["val_cross_entropy"]
    assert second != first
    assert twice.rows[0]["val_cross_entropy"] == pytest.approx((first + second) / 2)


@pytest.mark.slow
def test_a_chief_and_a_worker_search(tmp_path):
    """By Keras Tuner's own variables; one process goes on with what they have found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "keras_bn4.experiments.tune", "--trials", "2"]
    command += ["--epochs", "1", "--repeats", "0", "--output-dir", str(tmp_path)]
    oracle = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}

    def start(name):
        variables = {**os.environ, **oracle, "KERASTUNER_TUNER_ID": name}
        return subprocess.Popen(command, env=variables)

    processes = [start("chief"), start("worker0")]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    before = completed_trials(tmp_path / "search")
    assert len(before) == 2
    found, _ = tune.run(**{**SMALL, "trials": 3}, output_dir=tmp_path)
    assert len(found.rows) == 3
    assert before.items() <= completed_trials(tmp_path / "search").items()


@pytest.mark.slow
@needs_shared
def test_images_of_a_data_set(tmp_path, monkeypatch):
    keep_few_images(monkeypatch)
    trials, repeats = tune.run(
        "cifar100",
        data_dir=SHARED / "tfds",
        examples=100,
        **{**SMALL, "trials": 1, "repeats": 1},
        output_dir=tmp_path,
    )
    assert len(trials.rows) == 1
    assert repeats[0]["test"]["Keras"]["loss"] > 0

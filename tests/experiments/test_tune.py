"""The search of all four things: repeats, folders, seeds, workers, interruptions."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tuner_helpers
from garbage import earlier_objects_are_not_collected  # noqa: F401 - for all tests here
from helpers import SHARED, needs_shared
from scipy import stats
from tuner_helpers import completed_trials, keep_few_images

from keras_bn4.experiments.tune import repeats as tune_repeats
from keras_bn4.experiments.tune import search as tune

pytestmark = [tuner_helpers.quiet, tuner_helpers.quiet_again]
SMALL = {"trials": 2, "epochs": 1, "repeats": 0, "verbose": 0}
COMMAND = ["tune", "--trials", "4", "--epochs", "1", "--repeats", "0"]


def started(*arguments):
    # In a group of its own, as a job of a shell is.
    return subprocess.Popen(
        [sys.executable, "-m", "keras_bn4", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


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
        ({"workers": 1.5}, "workers=1.5"),
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


@pytest.mark.slow
def test_workers_find_what_one_process_finds(tmp_path):
    one, _ = tune.run(**SMALL, output_dir=tmp_path / "one")
    several, _ = tune.run(**SMALL, workers=2, output_dir=tmp_path / "several")
    by_trial = [
        sorted(found.rows, key=lambda row: row["trial"]) for found in (one, several)
    ]
    assert list(map(len, by_trial)) == [2, 2]
    for a, b in zip(*by_trial):
        for name in ("val_cross_entropy", "val_cross_entropy_at_0"):
            np.testing.assert_allclose(a.pop(name), b.pop(name), rtol=1e-4)
        assert a == b
    # What several have found, one goes on with, and the other way round.
    for folder, workers in (("several", 0), ("one", 1)):
        before = completed_trials(tmp_path / folder / "search")
        more = {**SMALL, "trials": 3, "workers": workers}
        trials, _ = tune.run(**more, output_dir=tmp_path / folder)
        assert len(trials.rows) == 3
        assert before.items() <= completed_trials(tmp_path / folder / "search").items()


def children(process):
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def environment(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_text()
    except OSError:
        return ""


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds=200):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/environ").exists(), reason="no /proc")
def test_killed_workers_and_killed_parents(tmp_path):
    command = [*COMMAND, "--workers", 2, "--output-dir", tmp_path]
    process = started(*command)
    wait_for(lambda: len(completed_trials(tmp_path / "search")) >= 1)
    (worker,) = [p for p in children(process) if "TUNER_ID=worker1" in environment(p)]
    os.kill(worker, signal.SIGKILL)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "error: The worker1 of the search failed with status -9" in printed

    before = completed_trials(tmp_path / "search")
    process = started(*command)
    wait_for(lambda: len(children(process)) == 3)
    pids = children(process)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(is_running, pids)))

    done = subprocess.run(
        [sys.executable, "-m", "keras_bn4", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(completed_trials(tmp_path / "search")) == 4
    assert before.items() <= completed_trials(tmp_path / "search").items()

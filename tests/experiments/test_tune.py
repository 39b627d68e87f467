import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from scipy import stats

from keras_bn4.commands import main as command_line

pytest.importorskip("keras_tuner")

from keras_bn4.experiments.tune import repeats as tune_repeats
from keras_bn4.experiments.tune import search as tune

pytestmark = [
    # Keras Tuner's.
    pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The use case of calling:DeprecationWarning"),
]
SHARED = pathlib.Path(__file__).parents[2] / "shared"
SMALL = {"trials": 3, "epochs": 1, "repeats": 0, "verbose": 0}
COMMAND = ["tune", "--trials", "3", "--epochs", "1", "--repeats", "0"]


def started(*arguments):
    # Its own group, as of a shell's job.
    return subprocess.Popen(
        [sys.executable, "-m", "keras_bn4", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def completed(folder):
    files = folder.glob("search/trial_*/trial.json")
    return {f: text for f in files if "COMPLETED" in (text := f.read_text())}


def test_the_command_searches_compares_and_draws(tmp_path, capsys):
    command = [*COMMAND[:-1], "2", "--output-dir", str(tmp_path)]
    assert command_line.main(command) == 0
    printed = capsys.readouterr().out
    table = printed[printed.index("trial  kind") :]
    assert len(re.findall(r"^\d +(batch|ghost|batch_group) ", table, re.M)) == 3
    for name in tune_repeats.ROWS:
        assert f"\n{name} " in table
    assert "n = 2 seeds" in table
    assert (tmp_path / "trials.csv").read_text().count("\n") == 4
    assert (tmp_path / "trials.png").stat().st_size > 1000
    before = completed(tmp_path)
    assert len(before) == 3

    # Again: nothing is trained, and the same comes out.
    fit, keras.Model.fit = keras.Model.fit, None
    try:
        assert command_line.main(command) == 0
    finally:
        keras.Model.fit = fit
    again = capsys.readouterr().out
    assert again[again.index("trial  kind") :] == table
    assert completed(tmp_path) == before

    # More of them: only the new are.
    more = [*command[:2], "4", *command[3:]]
    assert command_line.main(more) == 0
    assert len(completed(tmp_path)) == 4
    assert before.items() <= completed(tmp_path).items()


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


def test_another_search_in_the_same_folder(tmp_path):
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
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_executions_have_seeds_of_their_own(tmp_path):
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


@pytest.mark.skipif(not SHARED.exists(), reason=f"no CIFAR-100 in {SHARED}")
def test_images_of_a_data_set(tmp_path):
    trials, repeats = tune.run(
        "cifar100",
        data_dir=SHARED / "tfds",
        examples=100,
        **{**SMALL, "trials": 1, "repeats": 1},
        output_dir=tmp_path,
    )
    assert len(trials.rows) == 1
    assert repeats[0]["test"]["Keras"]["loss"] > 0


def test_workers_find_what_one_process_finds(tmp_path):
    one, _ = tune.run(**SMALL, output_dir=tmp_path / "one")
    several, _ = tune.run(**SMALL, workers=2, output_dir=tmp_path / "several")
    by_trial = [
        sorted(found.rows, key=lambda row: row["trial"]) for found in (one, several)
    ]
    assert list(map(len, by_trial)) == [3, 3]
    for a, b in zip(*by_trial):
        for name in ("val_cross_entropy", "val_cross_entropy_at_0"):
            np.testing.assert_allclose(a.pop(name), b.pop(name), rtol=1e-4)
        assert a == b
    # What several have found, one goes on with, and the other way round.
    for folder, workers in (("several", 0), ("one", 2)):
        before = completed(tmp_path / folder)
        more = {**SMALL, "trials": 4, "workers": workers}
        trials, _ = tune.run(**more, output_dir=tmp_path / folder)
        assert len(trials.rows) == 4
        assert before.items() <= completed(tmp_path / folder).items()


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


@pytest.mark.skipif(not pathlib.Path("/proc/self/environ").exists(), reason="no /proc")
def test_killed_workers_and_killed_parents(tmp_path):
    command = [*COMMAND, "--workers", 2, "--output-dir", tmp_path]
    command[2] = "6"
    process = started(*command)
    wait_for(lambda: len(completed(tmp_path)) >= 1)
    (worker,) = [p for p in children(process) if "TUNER_ID=worker1" in environment(p)]
    os.kill(worker, signal.SIGKILL)
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "error: The worker1 of the search failed with status -9" in printed

    before = completed(tmp_path)
    process = started(*command)
    wait_for(lambda: len(children(process)) == 3)
    pids = children(process)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(is_running, pids)), 60)

    done = subprocess.run(
        [sys.executable, "-m", "keras_bn4", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(completed(tmp_path)) == 6
    assert before.items() <= completed(tmp_path).items()

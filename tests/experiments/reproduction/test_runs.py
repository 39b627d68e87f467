"""Trainings of the reproduction: interrupted anywhere, and shared among workers."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_bn4.experiments.reproduction import claims, runs, training
from keras_bn4.experiments.reproduction.settings import Settings

PROCESS = pathlib.Path(__file__).parents[2] / "processes" / "on_reproduction.py"
TINY = Settings(
    dataset="digits",
    train_images=40,
    validation_images=20,
    filters=(4,),
    epochs=3,
    batch_size=16,
    example_weights=(0.0, 0.5),
)
STOCHASTIC = TINY.replace(groups=2, statistics_noise=0.1, random_groups=0.5)


class Killed(Exception):
    """Stands for what ends a process."""


def start(folder, expires):
    return subprocess.Popen(
        [sys.executable, str(PROCESS), str(folder), str(expires)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def records(folder):
    """What records say, but for how long it took and with what."""
    found = {}
    for path in (folder / "records").iterdir():
        record = json.loads(path.read_text())
        found[path.name] = [record[k] for k in ("settings", "history", "results")]
    return found


@pytest.mark.slow
def test_a_training_is_recorded_and_not_done_again(tmp_path, monkeypatch):
    runs.work([TINY], tmp_path, verbose=0)
    run = runs.Run(TINY, tmp_path)
    record = run.record()
    assert Settings.from_record(record["settings"]) == TINY
    assert {k: len(v) for k, v in record["history"].items()} == dict.fromkeys(
        ("loss", "cross_entropy", "accuracy"), 3
    )
    for split in ("validation", "test"):
        assert set(record["results"][split]) == set(training.METRICS)
        assert np.isfinite(list(record["results"][split].values())).all()
        assert all(len(v) == 2 for v in record["results"][split].values())
    assert record["seconds"] > 0
    assert {"keras_bn4", "keras", "backend"} <= set(record["versions"])
    assert runs.records_of([TINY, TINY.replace(seed=1)], tmp_path) == [record]
    assert not list((tmp_path / "unfinished").iterdir())
    assert not list((tmp_path / "claims").iterdir())
    monkeypatch.setattr(training, "build", None)
    runs.work([TINY], tmp_path, verbose=0)


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {"depth": 3}}'])
def test_a_file_that_is_no_record(text, tmp_path):
    run = runs.Run(TINY, tmp_path)
    run.path.parent.mkdir()
    run.path.write_text(text)
    with pytest.raises(ValueError, match=r"is no record.*Remove it"):
        run.record()


def test_the_record_of_other_settings(tmp_path):
    run = runs.Run(TINY, tmp_path)
    run.path.parent.mkdir()
    run.path.write_text(json.dumps({"settings": TINY.replace(seed=1).to_dict()}))
    with pytest.raises(ValueError, match=r"other settings.*Remove it"):
        run.record()


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_a_file_that_is_no_state(content, tmp_path):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"state\.npz is no state.*Remove it"):
        training.Training(TINY, path)


def test_the_state_of_another_training(tmp_path):
    path = tmp_path / "state.npz"
    training.Training(TINY.replace(filters=(8,)), path)._keep()
    with pytest.raises(ValueError, match=r"state\.npz is no state.*Remove it"):
        training.Training(TINY, path)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [TINY, STOCHASTIC], ids=["usual", "stochastic"])
def test_a_training_goes_on_with_the_same_numbers(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_FILES", -1)
    # Two steps an epoch, so that it ends within one, too.
    monkeypatch.setattr(training, "STEPS", 1)

    def kill(epochs):
        if epochs == 2:
            raise Killed

    def train(name, on_progress=None):
        made = training.Training(settings, tmp_path / name)
        made.run(on_progress)
        return made

    alone = train("alone.npz")
    with pytest.raises(Killed):
        train("killed.npz", kill)
    resumed = training.Training(settings, tmp_path / "killed.npz")
    assert len(resumed.history["loss"]) == 1
    assert int(resumed.model.optimizer.iterations) == 3
    resumed.run()
    assert int(resumed.model.optimizer.iterations) == 6
    for name, values in alone.history.items():
        np.testing.assert_allclose(resumed.history[name], values, rtol=1e-4)
    for ours, theirs in zip(alone.model.weights, resumed.model.weights):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def of_a_pair():
    """A training, and one that starts from its weights."""
    source = TINY.replace(classes="first half", train_images=30, epochs=1)
    return source, source.replace(classes="second half", epochs=3, source=source)


@pytest.mark.slow
def test_a_training_starts_from_the_weights_of_its_source(tmp_path, monkeypatch):
    source, transfer = of_a_pair()
    runs.work([transfer], tmp_path, verbose=0)
    assert len(runs.records_of([source, transfer], tmp_path)) == 2
    path = runs.Run(source, tmp_path).weights
    assert list((tmp_path / "weights").iterdir()) == [path]
    started = training.Training(transfer, tmp_path / "none.npz", source_weights=path)
    with np.load(path) as kept:
        for i, weight in enumerate(started.model.get_weights()[:-2]):
            np.testing.assert_array_equal(weight, kept[f"arr_{i}"])
    monkeypatch.setattr(training, "build", None)
    # Weights are kept for nothing but what isn't trained yet.
    path.unlink()
    runs.work([source, transfer], tmp_path, verbose=0)


@pytest.mark.slow
def test_weights_of_a_source_that_are_gone(tmp_path):
    source, transfer = of_a_pair()
    run = runs.Run(source, tmp_path)
    runs.work([source], tmp_path, verbose=0)
    assert not run.weights.exists()
    with pytest.raises(ValueError, match=rf"Remove .*{source.name}\.json"):
        runs.work([transfer], tmp_path, verbose=0)
    assert not list((tmp_path / "claims").iterdir())
    run.path.unlink()
    runs.work([transfer], tmp_path, verbose=0)
    assert len(runs.records_of([source, transfer], tmp_path)) == 2


def test_nothing_starts_before_its_source_is_finished(tmp_path):
    (tmp_path / "claims").mkdir()
    source, transfer = of_a_pair()
    todo = [runs.Run(s, tmp_path) for s in (source, transfer)]
    with claims.take(tmp_path / "claims", source.name):
        for run in todo:
            assert not runs._try(run, todo, None, 60, 0)


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 3], ids=["in training", "in the evaluation"])
def test_a_worker_stops_when_another_has_taken_over(at, tmp_path):
    seen = []

    def take_over(epochs):
        seen.append(epochs)
        if epochs == at:
            (tmp_path / "claims" / f"{TINY.name}.1").touch()

    for name in ("claims", "records", "unfinished"):
        (tmp_path / name).mkdir()
    claim = claims.take(tmp_path / "claims", TINY.name)
    with claim, pytest.raises(claims.ClaimLost):
        runs.Run(TINY, tmp_path).do(claim, on_progress=take_over)
    assert seen[-1] == at
    assert not list((tmp_path / "records").iterdir())


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_numbers(tmp_path, rng):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    finish(start(alone, 60))
    expected = records(alone)
    assert len(expected) == 4
    kills = int(os.environ.get("KILLS", 3))
    while kills:
        process = start(killed, 1)
        unfinished = killed / "unfinished"
        while process.poll() is None and not list(unfinished.glob("*.npz")):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 4))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills -= 1
    finish(start(killed, 1))
    assert records(killed) == expected
    assert not list((killed / "unfinished").iterdir())


@pytest.mark.slow
def test_two_workers_share_the_trainings(tmp_path):
    workers = [start(tmp_path, 60) for _ in range(2)]
    for worker in workers:
        finish(worker)
    found = [json.loads(p.read_text()) for p in (tmp_path / "records").iterdir()]
    assert len(found) == 4
    assert len({record["process"] for record in found}) == 2

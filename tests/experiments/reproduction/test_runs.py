"""Trainings of the reproduction: recorded once, interrupted anywhere, sharded."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from keras_bn4.experiments.reproduction import runs, training
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


def start(folder):
    return subprocess.Popen(
        [sys.executable, str(PROCESS), str(folder)],
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
    (record,) = runs.records_of([TINY, TINY.replace(seed=1)], tmp_path)
    assert Settings.from_record(record["settings"]) == TINY
    assert {k: len(v) for k, v in record["history"].items()} == dict.fromkeys(
        ("loss", "cross_entropy", "accuracy"), 3
    )
    for split in ("validation", "test"):
        assert set(record["results"][split]) == set(training.METRICS)
        assert np.isfinite(list(record["results"][split].values())).all()
    assert record["seconds"] > 0
    assert {"keras_bn4", "keras", "backend"} <= set(record["versions"])
    assert not list((tmp_path / "unfinished").iterdir())
    monkeypatch.setattr(training, "build", None)
    runs.work([TINY], tmp_path, verbose=0)


HOSTILE = {
    "nothing": "",
    "a list": "[]",
    "no results": '{"settings": {}, "seconds": 1}',
    "an unknown setting": '{"settings": {"depth": 3}}',
    "lists without end": "[" * 100_000,
    "a number for values": '{"settings": {}, "seconds": 1, "results": '
    '{"validation": {"cross_entropy": 1}}}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_no_record(text, tmp_path):
    path = runs.path_of(TINY, tmp_path)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is no record.*Remove it") as raised:
        runs.record_of(TINY, tmp_path)
    assert "\n" not in str(raised.value)


def test_the_record_of_other_settings(tmp_path):
    path, published = (
        runs.path_of(TINY, tmp_path),
        next(iter(runs.published().values())),
    )
    path.parent.mkdir()
    path.write_text(json.dumps(published))
    with pytest.raises(ValueError, match=r"other settings.*Remove it"):
        runs.record_of(TINY, tmp_path)


def test_published_records_are_read_from_a_zip(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as file:
        for name in ("table1.json", "figure2.json", "figure2.png"):
            file.writestr(f"records/{name}", (runs.PUBLISHED / name).read_bytes())
    found = zipfile.Path(tmp_path / "package.zip") / "records"
    monkeypatch.setattr(runs, "PUBLISHED", found)
    zipped = runs.published.__wrapped__()
    assert len(zipped) == 30
    assert zipped.items() <= runs.published().items()


def test_shards_have_every_training_once_with_its_source(tmp_path, monkeypatch):
    source, transfer = of_a_pair()
    others = [TINY.replace(seed=seed) for seed in range(4)]
    transfers = [transfer, transfer.replace(ghost_batch_size=2)]
    trained = []
    monkeypatch.setattr(runs, "_train", lambda s, *rest: trained.append(s))
    shards = []
    for i in (1, 2, 3):
        runs.work([*others, *transfers], tmp_path, shard=(i, 3), verbose=0)
        shards.append(list(trained))
        trained.clear()
    assert shards == [
        [others[0], others[3]],
        [others[1], source, *transfers],
        [others[2]],
    ]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", None])
def test_a_file_that_is_no_state_of_this_training(content, tmp_path):
    path = tmp_path / "state.npz"
    if content is None:
        training.Training(TINY.replace(filters=(8,)), path)._keep()
    else:
        path.write_bytes(content)
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
def test_a_training_starts_from_the_weights_of_its_source(tmp_path):
    source, transfer = of_a_pair()
    runs.work([source], tmp_path, verbose=0)
    # Nothing started from them yet, so that they were not kept.
    assert not list((tmp_path / "weights").iterdir())
    with pytest.raises(ValueError, match=rf"Remove .*{source.name}\.json"):
        runs.work([transfer], tmp_path, verbose=0)
    runs.path_of(source, tmp_path).unlink()
    runs.work([transfer], tmp_path, verbose=0)
    assert len(runs.records_of([source, transfer], tmp_path)) == 2
    (path,) = (tmp_path / "weights").iterdir()
    started = training.Training(transfer, tmp_path / "none.npz", source_weights=path)
    with np.load(path) as kept:
        for i, weight in enumerate(started.model.get_weights()[:-2]):
            np.testing.assert_array_equal(weight, kept[f"arr_{i}"])
    # They are needed for nothing but what isn't trained yet.
    path.unlink()
    runs.work([source, transfer], tmp_path, verbose=0)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_numbers(tmp_path, rng):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    finish(start(alone))
    expected = records(alone)
    assert len(expected) == 3
    kills = int(os.environ.get("KILLS", 2))
    while kills:
        process = start(killed)
        unfinished = killed / "unfinished"
        while process.poll() is None and not list(unfinished.glob("*.npz")):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 4))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills -= 1
    finish(start(killed))
    assert records(killed) == expected
    assert not list((killed / "unfinished").iterdir())

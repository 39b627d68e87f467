"""Trainings of the reproduction: recorded once, interrupted anywhere, sharded."""

import json
import os
import time

import numpy as np
import pytest
from helpers import finish_processes, start_process
from processes.on_reproduction import SOURCE, TINY, TRANSFER

from keras_bn4.experiments.reproduction import runs, training
from keras_bn4.experiments.reproduction.settings import Settings


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


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"settings": {"depth": 3}}',
        "[" * 100_000,
        '{"settings": {}, "seconds": 1, "results": {"validation": {"accuracy": 1}}}',
    ],
    ids=["a list", "an unknown setting", "lists without end", "a number for values"],
)
def test_a_file_that_is_no_record(text, tmp_path):
    path = runs.path_of(TINY, tmp_path)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is no record.*Remove it") as raised:
        runs.record_of(TINY, tmp_path)
    assert "\n" not in str(raised.value)


def test_the_record_of_other_settings(tmp_path):
    path = runs.path_of(TINY, tmp_path)
    path.parent.mkdir()
    path.write_text(json.dumps(next(iter(runs.published().values()))))
    with pytest.raises(ValueError, match=r"other settings.*Remove it"):
        runs.record_of(TINY, tmp_path)


def test_shards_have_every_training_once_with_its_source(tmp_path, monkeypatch):
    others = [TINY.replace(seed=seed) for seed in range(4)]
    transfers = [TRANSFER, TRANSFER.replace(ghost_batch_size=2)]
    trained = []
    monkeypatch.setattr(runs, "_train", lambda s, *rest: trained.append(s))
    shards = []
    for i in (1, 2, 3):
        runs.work([*others, *transfers], tmp_path, shard=(i, 3), verbose=0)
        shards.append(list(trained))
        trained.clear()
    assert shards == [
        [others[0], others[3]],
        [others[1], SOURCE, *transfers],
        [others[2]],
    ]


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_a_file_that_is_no_state_of_this_training(content, tmp_path):
    path = tmp_path / "state.npz"
    if content is None:
        training.Training(TINY.replace(filters=(8,)), path)._keep()
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"state\.npz is no state.*Remove it"):
        training.Training(TINY, path)


@pytest.mark.slow
def test_a_training_goes_on_with_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_FILES", -1)
    # Two steps an epoch, so that it ends within one, too.
    monkeypatch.setattr(training, "STEPS", 1)
    # With a state of its own.
    settings = TINY.replace(groups=2, statistics_noise=0.1, random_groups=0.5)
    alone = training.Training(settings, tmp_path / "alone.npz")
    alone.run()

    def interrupt(epochs):
        if epochs == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.Training(settings, tmp_path / "other.npz").run(interrupt)
    resumed = training.Training(settings, tmp_path / "other.npz")
    assert len(resumed.history["loss"]) == 1
    assert int(resumed.model.optimizer.iterations) == 3
    resumed.run()
    assert int(resumed.model.optimizer.iterations) == 6
    for name, values in alone.history.items():
        np.testing.assert_allclose(resumed.history[name], values, rtol=1e-4)
    for ours, theirs in zip(alone.model.weights, resumed.model.weights):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_a_training_starts_from_the_weights_of_its_source(tmp_path):
    source = SOURCE.replace(epochs=1)
    transfer = TRANSFER.replace(source=source)
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
def test_killed_at_a_random_moment_it_ends_with_the_same_numbers(tmp_path, rng):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    for _ in range(int(os.environ.get("KILLS", 1))):
        process = start_process("on_reproduction.py", killed)
        while process.poll() is None and not list(killed.glob("unfinished/*.npz")):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 4))
        process.kill()
        process.communicate()
    finish_processes(start_process("on_reproduction.py", killed, alone))
    # All but how long it took, and with what.
    found = [
        {
            path.name: [json.loads(path.read_text())[k] for k in ("history", "results")]
            for path in (folder / "records").iterdir()
        }
        for folder in (alone, killed)
    ]
    assert len(found[0]) == 2
    assert found[0] == found[1]
    assert not list((killed / "unfinished").iterdir())

"""Replicas and workers, each in processes of their own."""

import pytest
from helpers import SECONDS_OF_A_PROCESS, on_tensorflow

from keras_bn4.experiments import distributed, multi_worker

pytestmark = [on_tensorflow, pytest.mark.slow]


def test_experiment_of_replicas(monkeypatch):
    monkeypatch.delitem(distributed.LAYERS, "Keras, synchronized")
    rows = distributed.run((1, 2), timeout=SECONDS_OF_A_PROCESS)
    by_name = {(row["layer"], row["replicas"]): row for row in rows}
    assert distributed.table(rows).count("\n") == len(rows) + 1
    keras_row = by_name["Keras", 2]
    assert keras_row["replicas_differ"] > 1e-3
    assert keras_row["reloaded"] > 1e-3
    assert not keras_row["finite"]
    for name in ("ghosts of 8", "ghosts of 8, synchronized"):
        assert by_name[name, 2]["replicas_differ"] == 0
        assert by_name[name, 2]["reloaded"] < 1e-6
        assert by_name[name, 2]["finite"]
    assert by_name["ghosts of 8, synchronized", 2]["from_one_device"] < 1e-5


def test_two_workers():
    differences = multi_worker.run(timeout=SECONDS_OF_A_PROCESS)
    assert differences["between_workers"] == 0
    assert differences["from_one_device"] < 1e-5

"""The layers on several replicas and workers of `tf.distribute`.

Every strategy has a process of its own: TensorFlow can't change its devices once it has
started.
"""

import pytest
from helpers import (
    SECONDS_OF_A_PROCESS,
    finish_processes,
    on_tensorflow,
    start_process,
)

from keras_bn4.experiments import distributed, multi_worker
from keras_bn4.layers import tensorflow_replicas


def test_there_is_no_context_without_a_strategy():
    assert tensorflow_replicas.context() is None


@on_tensorflow
def test_there_is_no_context_for_a_single_replica():
    import tensorflow as tf

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        assert tensorflow_replicas.context() is None
    assert strategy.run(lambda: tensorflow_replicas.context() is None)


@on_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "replicas"),
    [
        ("by_replica", 2),
        ("synchronized", 1),
        ("synchronized", 2),
        ("synchronized", 4),
        ("fit", 2),
        ("convert", 2),
        ("collectives", 1),
        ("collectives", 2),
        ("collectives", 4),
        ("collectives", 8),
    ],
)
def test_mirrored_strategy(case, replicas):
    process = start_process("on_replicas.py", case, replicas, **distributed.ENVIRONMENT)
    finish_processes(process)


@on_tensorflow
@pytest.mark.slow
def test_experiment_of_replicas():
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


@on_tensorflow
@pytest.mark.slow
def test_two_workers():
    differences = multi_worker.run(timeout=SECONDS_OF_A_PROCESS)
    assert differences["between_workers"] == 0
    assert differences["from_one_device"] < 1e-5

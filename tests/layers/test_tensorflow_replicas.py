"""The layers on several replicas, devices, processes.

Every strategy has a process of its own, and a time limit: what waits for a replica that
doesn't come waits forever.
"""

import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_bn4.experiments import distributed, multi_worker

HERE = pathlib.Path(__file__).parent
BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="JAX's own")
SECONDS = 120


def start(script, *arguments, **environment):
    environment = {**os.environ, **distributed.ENVIRONMENT, **environment}
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=HERE,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process):
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, output[-4000:]


@on_tensorflow
@pytest.mark.parametrize(
    ("case", "replicas"),
    [
        ("synchronized", 1),
        ("synchronized", 2),
        ("synchronized", 4),
        ("by_replica", 2),
        ("fit", 2),
        ("convert", 2),
        ("collectives", 1),
        ("collectives", 2),
        ("collectives", 4),
        ("collectives", 8),
    ],
)
def test_mirrored_strategy(case, replicas):
    finish(start("on_replicas.py", case, replicas))


@on_tensorflow
def test_experiment_of_replicas():
    rows = distributed.run((1, 2), timeout=SECONDS)
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
def test_two_workers():
    differences = multi_worker.run(timeout=SECONDS)
    assert differences["between_workers"] == 0
    assert differences["from_one_device"] < 1e-5


@on_jax
@pytest.mark.parametrize("how", ["devices", "processes"])
def test_jax_data_parallel_is_one_device(tmp_path, how):
    script = "on_jax_devices.py"
    files = [tmp_path / f"{name}.npz" for name in ("single", "first", "second")]
    processes = [start(script, files[0], XLA_FLAGS="")]
    if how == "devices":
        flags = "--xla_force_host_platform_device_count=4"
        processes.append(start(script, files[1], XLA_FLAGS=flags))
    else:
        with socket.socket() as one, socket.socket() as two:
            for each in (one, two):
                each.bind(("localhost", 0))
            ports = [each.getsockname()[1] for each in (one, two)]
        addresses = ",".join(f"localhost:{port}" for port in ports)
        for i in range(2):
            arguments = (files[i + 1], addresses, i)
            processes.append(start(script, *arguments, XLA_FLAGS=""))
    try:
        for process in processes:
            finish(process)
    finally:
        for process in processes:
            process.kill()
    single, *others = (np.load(file) for file in files[: len(processes)])
    assert single["devices"] == 1
    for other in others:
        assert other["devices"] == (4 if how == "devices" else 2)
        for name in set(single.files) - {"devices"}:
            if other[name].size:
                scale = np.abs(single[name]).max()
                np.testing.assert_allclose(
                    other[name], single[name], rtol=0, atol=1e-5 * scale, err_msg=name
                )

"""The layers on several devices and processes of JAX.

The package has no module for this: JAX computes on the global batch by itself.
"""

import socket

import numpy as np
import pytest
from helpers import finish_processes, on_jax, start_process


@on_jax
@pytest.mark.slow
@pytest.mark.parametrize("how", ["devices", "processes"])
def test_jax_data_parallel_is_one_device(tmp_path, how):
    script = "on_jax_devices.py"
    files = [tmp_path / f"{name}.npz" for name in ("single", "first", "second")]
    processes = [start_process(script, files[0], XLA_FLAGS="")]
    if how == "devices":
        flags = "--xla_force_host_platform_device_count=4"
        processes.append(start_process(script, files[1], XLA_FLAGS=flags))
    else:
        with socket.socket() as one, socket.socket() as two:
            for each in (one, two):
                each.bind(("localhost", 0))
            ports = [each.getsockname()[1] for each in (one, two)]
        addresses = ",".join(f"localhost:{port}" for port in ports)
        for i in range(2):
            arguments = (files[i + 1], addresses, i)
            processes.append(start_process(script, *arguments, XLA_FLAGS=""))
    finish_processes(*processes)
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

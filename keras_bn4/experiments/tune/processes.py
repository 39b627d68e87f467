"""Lets several processes on this machine work on one search of Keras Tuner."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time

PARENT = "KERAS_BN4_PARENT"


def search_in_processes(command, workers, show):
    """Runs a command of this package as a chief and as workers, and waits for them.

    Args:
        command: List of the arguments of `python -m keras_bn4`.
        workers: Positive integer.
        show: Function without arguments that is called every second.

    Raises:
        RuntimeError: if one of the processes fails. All others are then ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
        PARENT: str(os.getpid()),
    }
    command = [sys.executable, "-m", "keras_bn4", *map(str, command)]
    names = ("chief", *(f"worker{i}" for i in range(workers)))
    processes = {}
    with contextlib.ExitStack() as stack:
        logs = {name: stack.enter_context(tempfile.TemporaryFile()) for name in names}
        for name in names:
            processes[name] = subprocess.Popen(
                command,
                env={**os.environ, **environment, "KERASTUNER_TUNER_ID": name},
                stdout=logs[name],
                stderr=subprocess.STDOUT,
            )
            stack.callback(processes[name].wait)
            stack.callback(processes[name].kill)
        while any(process.poll() is None for process in processes.values()):
            for name, process in processes.items():
                if process.poll():
                    logs[name].seek(0)
                    raise RuntimeError(
                        f"The {name} of the search failed with status "
                        f"{process.returncode}. Run the same command again to "
                        "continue. The end of its output:\n"
                        + logs[name].read().decode(errors="replace")[-2000:]
                    )
            show()
            time.sleep(1)
    show()


def end_with_parent():
    """Ends this process when its parent was killed, which may be started again."""
    while os.getppid() == int(os.environ[PARENT]):
        time.sleep(1)
    os._exit(1)

"""Training on several machines with `MultiWorkerMirroredStrategy`.

Two processes that communicate over the loopback interface stand for the machines. They
train the network of `distributed` on the same minibatches and in the same loop, and so
does a third process on one device. A minibatch is split into one part for each worker,
in the order of the workers.

Keras' `fit` does not support this strategy, but a custom loop works, such as
`distributed.train`. To train on several machines with `fit`, use the JAX backend with
`keras.distribution.DataParallel`. The layers then see the whole minibatch and do not
need `synchronized`.

Expected and seen: With `synchronized=True`, both workers have the same moving
statistics, which are those of one device up to rounding.

    python -m keras_bn4.experiments.multi_worker

On real machines start one process on each, with `TF_CONFIG` set as `_start` sets it.
Time: half a minute.
"""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

from keras_bn4.experiments import distributed
from keras_bn4.layers import GhostBatchNormalization

WORKERS = 2


def work(steps=20):
    """Trains the network, as the work of one worker or of one device.

    Returns:
        List of numbers, the moving statistics of this process.
    """
    import tensorflow as tf

    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    with strategy.scope():
        model = distributed.build(
            GhostBatchNormalization, ghost_batch_size=12, synchronized=True
        )
    distributed.train(strategy, model, distributed.batches(steps))
    return distributed.moving_statistics(strategy, model)[0].tolist()


def run(timeout=240):
    """Starts the workers, waits for them, and compares them with one device.

    Args:
        timeout: Seconds that each process may take.

    Returns:
        Dict of the differences `"between_workers"` and `"from_one_device"`.
    """
    addresses = _free_addresses(WORKERS)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        paths = [pathlib.Path(folder) / f"{i}.json" for i in range(WORKERS + 1)]
        processes = [_start(i, addresses, path) for i, path in enumerate(paths)]
        for process in processes:
            stack.callback(process.kill)
        for process in processes:
            if process.wait(timeout):
                raise RuntimeError(
                    f"A process failed with exit status {process.returncode}. Its "
                    "error is printed above."
                )
        *workers, single = (json.loads(path.read_text()) for path in paths)
    return {
        "between_workers": distributed.difference(workers[1], workers[0]),
        "from_one_device": distributed.difference(workers[0], single),
    }


def _free_addresses(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [f"localhost:{one.getsockname()[1]}" for one in sockets]


def _start(index, addresses, path):
    """Starts the worker of this index, or after the last the process on one device."""
    environment = {**os.environ, **distributed.ENVIRONMENT}
    environment.pop("TF_CONFIG", None)
    if index < len(addresses):
        task = {"type": "worker", "index": index}
        environment["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": addresses}, "task": task}
        )
    module = "keras_bn4.experiments.multi_worker"
    command = [sys.executable, "-m", module, "--output", str(path)]
    return subprocess.Popen(command, env=environment)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=pathlib.Path, help="run as a worker that writes this file"
    )
    output = parser.parse_args().output
    if output is None:
        for name, value in run().items():
            print(f"{name.replace('_', ' ')}: {value:.1g}")
    else:
        output.write_text(json.dumps(work()))

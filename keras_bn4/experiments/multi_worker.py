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

On real machines, start one process on each, with `TF_CONFIG` as `run` sets it.
Time: half a minute.
"""

import contextlib
import json
import os
import pathlib
import socket
import sys

from keras_bn4.experiments import command, distributed
from keras_bn4.layers import GhostBatchNormalization

MODULE = "keras_bn4.experiments.multi_worker"
WORKERS = 2


def work(steps=20):
    """Trains the network, as the work of one worker or of one device.

    Returns:
        List of numbers, the moving statistics of this process.
    """
    import tensorflow as tf

    if os.environ.get("TF_CONFIG"):
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
    """Runs the workers, and compares them with one device.

    Args:
        timeout: Seconds that each process may take.

    Returns:
        Dict of the differences `"between_workers"` and `"from_one_device"`.
    """
    cluster = {"worker": _free_addresses(WORKERS)}
    tasks = [{"type": "worker", "index": i} for i in range(WORKERS)]
    configurations = [json.dumps({"cluster": cluster, "task": task}) for task in tasks]
    processes = [([], {"TF_CONFIG": value}) for value in (*configurations, "")]
    *workers, single = distributed.in_processes(MODULE, processes, timeout)
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


def main(arguments=None):
    """Runs the experiment, or one of its workers."""
    options = {"--output": {"help": "run as a worker that writes this file"}}
    return command.main(MODULE, __doc__.splitlines()[0], show, options, arguments)


def show(output):
    if output is None:
        for name, value in run().items():
            print(f"{name.replace('_', ' ')}: {value:.1g}")
    else:
        pathlib.Path(output).write_text(json.dumps(work()))


if __name__ == "__main__":
    sys.exit(main())

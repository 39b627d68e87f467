"""The layers on several replicas of `tf.distribute`.

Every strategy has a process of its own: TensorFlow can't change its devices once it has
started.
"""

import pytest
from helpers import finish_processes, on_tensorflow, start_process

from keras_bn4.experiments import distributed
from keras_bn4.layers.kernels import tensorflow_replicas


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
    ("case", "replicas"), [("of_layers", 2), ("of_layers", 4), ("of_models", 2)]
)
def test_mirrored_strategy(case, replicas):
    process = start_process("on_replicas.py", case, replicas, **distributed.ENVIRONMENT)
    finish_processes(process)

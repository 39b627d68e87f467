"""A pytest plugin that runs Keras' own tests with the layers of this package.

`-p keras_own_tests_plugin` assigns them to the names by which the test files, and Keras
itself, refer to Keras' layers, before a test is executed.
"""

import unittest

import keras
from keras.src import layers, testing

from keras_bn4 import BatchGroupNormalization, GhostBatchNormalization


@keras.saving.register_keras_serializable(package="keras_bn4_tests")
class GroupNormalization(BatchGroupNormalization):
    """Takes Keras' arguments, and normalizes every example by itself, always."""

    def __init__(self, groups=32, axis=-1, **kwargs):
        always = {"ghost_batch_size": 1, "example_weight": 1.0}
        super().__init__(groups, axis, **{**always, **kwargs})


def run_layer_test(self, layer_class, *args, **kwargs):
    # The one difference: this layer keeps moving statistics.
    if layer_class is GroupNormalization:
        kwargs["expected_num_non_trainable_weights"] = 2
    return _run_layer_test(self, layer_class, *args, **kwargs)


_run_layer_test = testing.TestCase.run_layer_test


def assert_raises_regex(self, error, expected, *args, **kwargs):
    # Keras has it the wrong way round: the channels are the multiple.
    if expected == "must be a multiple of the number of channels":
        expected = "must be divisible by the number of groups"
    return _assert_raises_regex(self, error, expected, *args, **kwargs)


_assert_raises_regex = unittest.TestCase.assertRaisesRegex


def pytest_collection_modifyitems():
    for module in (layers, keras.layers):
        module.BatchNormalization = GhostBatchNormalization
        module.GroupNormalization = GroupNormalization
    testing.TestCase.run_layer_test = run_layer_test
    unittest.TestCase.assertRaisesRegex = assert_raises_regex

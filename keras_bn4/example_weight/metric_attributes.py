"""State that custom metrics keep in ordinary attributes, such as a list.

Keras' metrics keep what they have seen in variables. A model that runs eagerly, as all
do on PyTorch, can also have a metric that collects predictions in a list, or adds to a
tensor.
"""

import contextlib
import copy
import functools

import keras


def attributes_of(metrics):
    """Copies of the attributes of metrics, a dict for each. Keras' own have none."""
    return [
        {}
        if type(metric).__module__.startswith("keras.")
        else {k: _copied(v) for k, v in vars(metric).items() if k not in _of_keras()}
        for metric in metrics
    ]


def give_attributes(metrics, attributes):
    """Sets copies of attributes that `attributes_of` returned."""
    for metric, of_metric in zip(metrics, attributes):
        for name, value in of_metric.items():
            object.__setattr__(metric, name, _copied(value))


@contextlib.contextmanager
def attributes_kept(metrics):
    """Restores the attributes of metrics, also if an error ends the block."""
    attributes = attributes_of(metrics)
    try:
        yield
    finally:
        give_attributes(metrics, attributes)


@functools.cache
def _of_keras():
    """The names of the attributes that every metric has."""
    # Named, because Keras counts the metrics that it has to find a name for. Cached,
    # because a sweep asks after every step.
    return {*vars(keras.metrics.Metric(name="any")), "_metrics"}


def _copied(value):
    if isinstance(value, (list, dict, set)):
        return copy.copy(value)
    is_array = hasattr(value, "shape") and hasattr(value, "dtype")
    if is_array and not isinstance(value, keras.Variable):
        return copy.deepcopy(value)
    return value

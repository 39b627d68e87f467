"""Runs the test step of a model at many example weights within one `model.evaluate`.

`evaluate` calls the attribute `test_function` of a model for every batch. During a
sweep, a function of `steps` takes its place and runs the model's own test function on
each batch once per setting of the example weights. So everything that `evaluate` takes
(data of any kind, losses, metrics, masks, sample weights, several outputs, strategies,
a custom test step) is treated by Keras as it is in `evaluate`.
"""

import contextlib

import keras

from keras_bn4.example_weight.example_values import (
    added_to_logs,
    method_replaced,
    metrics_with_attributes,
)
from keras_bn4.example_weight.metric_attributes import attributes_kept
from keras_bn4.example_weight.setting import example_weights_kept
from keras_bn4.example_weight.steps import StatefulFunction, StatelessFunction

# The attribute of the model's test function that holds the function that a sweep traced
# in its place. `compile` discards both.
TRACED = "_keras_bn4_traced"

_under_way: dict[int, object] = {}


class SweptAlready(RuntimeError):
    """The model is being swept already."""


def evaluate_at_settings(model, layers, settings, on_step, *args, **kwargs):
    """Calls `model.evaluate` once, for several settings of the example weights.

    The model is afterwards as it was, also if an error ends the evaluation.

    Args:
        model: A compiled `keras.Model`.
        layers: List of its layers that have an example weight.
        settings: List of settings, each a list with the weight of every layer.
        on_step: Function that is called after every step with two lists, which have an
            element for each setting: the logs of the step, and the values of examples
            as `example_values.added_to_logs` adds them, `{}` where there are none.
        *args: Arguments of `model.evaluate`.
        **kwargs: Arguments of `model.evaluate`.

    Returns:
        List of dicts, what `model.evaluate(..., return_dict=True)` returns for each
        setting. It is empty if there was no batch.

    Raises:
        SweptAlready: if the model is in another sweep.
    """
    # As `evaluate` makes it where there is none yet, so that it can keep another one.
    model.make_test_function()
    sweep = object()
    # In one operation, so that of two threads one alone goes on.
    if _under_way.setdefault(id(model), sweep) is not sweep:
        raise SweptAlready(
            f"Model '{model.name}' is being swept already. Wait until that sweep ends, "
            "or sweep a copy of the model."
        )
    own = model.test_function
    on_jax = keras.backend.backend() == "jax"
    try:
        with (
            example_weights_kept(layers),
            attributes_kept(metrics_with_attributes(model)),
            added_to_logs(model),
            _new_test_step(model),
        ):
            swept = (StatelessFunction if on_jax else StatefulFunction)(
                model, layers, settings, on_step
            )
            with swept.state_kept():
                swept.test_function = getattr(own, TRACED, None)
                if swept.test_function is None:
                    model.make_test_function(force=True)
                    swept.test_function = model.test_function
                model.test_function = swept
                model.evaluate(*args, **kwargs)
                setattr(own, TRACED, swept.test_function)
                return swept.results()
    finally:
        model.test_function = own
        del _under_way[id(model)]


@contextlib.contextmanager
def _new_test_step(model):
    """Replaces the test step of a model by one that was never traced.

    JAX finds functions that it has traced before, and would find the one that doesn't
    return the values of examples. On TensorFlow the new step doesn't know the number of
    examples when it is traced, as in `evaluate`: it decides how Keras weights the
    losses of several outputs.
    """

    own = model.test_step

    def test_step(*args):
        if keras.backend.backend() == "tensorflow":
            args = keras.tree.map_structure(_of_unknown_size, args)
        return own(*args)

    with method_replaced(model, "test_step", test_step):
        yield


def _of_unknown_size(x):
    """The same tensor, with a first axis of unknown size in the graph."""
    import tensorflow as tf

    is_dense = isinstance(x, tf.Tensor) and x.shape.rank
    if tf.executing_eagerly() or not is_dense:
        return x
    return tf.raw_ops.PlaceholderWithDefault(input=x, shape=[None, *x.shape[1:]])

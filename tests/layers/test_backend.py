"""What differs between backends: each function alone, on the backend at hand."""

import keras
import numpy as np
import pytest
from helpers import (
    BACKEND,
    array,
    gradients_of,
    on_jax,
    on_tensorflow,
    tensor,
)

from keras_bn4.layers import backend
from keras_bn4.layers.example_weight_variable import ExampleWeightVariable


def compiled(function, how):
    """The function as it is compiled on this backend, or as it is."""
    if how == "eager" or BACKEND == "torch":
        return function
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=how == "xla")


HOWS = {
    "tensorflow": ["eager", "graph", "xla"],
    "jax": ["eager", "graph"],
    "torch": ["eager"],
}[BACKEND]


@pytest.mark.parametrize("how", HOWS)
def test_in_xla(how):
    answers = []

    def function(x):
        answers.append(backend.in_xla())
        # A branch has a graph of its own.
        return keras.ops.cond(x > 0, in_a_branch, lambda: x)

    def in_a_branch():
        answers.append(backend.in_xla())
        return tensor(1.0)

    compiled(function, how)(tensor(2.0))
    assert set(answers) == {how == "xla"}
    assert len(answers) >= 2


@pytest.mark.parametrize("how", HOWS)
def test_a_custom_gradient_is_used_on_tensorflow_alone(how):
    @backend.custom_gradient
    def square(x, y):
        return (x * x, y), lambda to_square, to_y: (to_square * 100, to_y * 10)

    def function(x, y):
        one, two = square(x, y)
        return keras.ops.sum(one + two)

    expected = [100.0, 10.0] if BACKEND == "tensorflow" else [6.0, 1.0]
    np.testing.assert_allclose(
        gradients_of(compiled(function, how), 3.0, 5.0), expected
    )


@on_tensorflow
def test_a_custom_gradient_in_a_branch_of_another_graph():
    import tensorflow as tf

    @backend.custom_gradient
    def square(x):
        return x * x, lambda upstream: upstream * 100 * x

    function = tf.function(lambda x: tf.cond(x > 0, lambda: square(x), lambda: x))
    assert gradients_of(function, 3.0) == [300.0]
    assert gradients_of(function, -3.0) == [1.0]


@on_tensorflow
def test_ragged_inputs_have_one_ragged_axis():
    import tensorflow as tf

    with pytest.raises(ValueError, match="ragged_rank=2"):
        backend.call_padded(None, tf.ragged.constant([[[1.0], []]]))


@pytest.mark.parametrize("how", HOWS)
def test_an_optimization_barrier_changes_no_value_and_no_gradient(how):
    def function(x, y):
        x, y = backend.optimization_barrier(x, y)
        return x * x + 3 * y

    assert array(compiled(function, how)(tensor(2.0), tensor(5.0))) == 19
    assert gradients_of(compiled(function, how), 2.0, 5.0) == [4.0, 3.0]


@on_tensorflow
def test_an_optimization_barrier_is_one_in_xla_alone():
    import tensorflow as tf

    function = tf.function(
        lambda x: sum(backend.optimization_barrier(x, x + 1)), jit_compile=True
    )
    text = function.experimental_get_compiler_ir(tf.constant(1.0))(stage="hlo")
    assert "opt-barrier" in text
    x = tensor(1.0)
    assert backend.optimization_barrier(x)[0] is x


@pytest.mark.parametrize("how", HOWS)
def test_the_branch_is_chosen_when_a_compiled_function_runs(how):
    weight, traces = ExampleWeightVariable(0.0, "float32"), []

    def function(value, x):
        traces.append(value)
        with keras.StatelessScope([(weight, value)]):
            return backend.when_positive(
                weight,
                lambda where=True: keras.ops.where(where, x + 1, x - 1),
                lambda: x - 1,
            )

    branch = compiled(function, how)
    for value, expected in ((0.0, 4.0), (0.1, 6.0), (0.0, 4.0), (1.0, 6.0)):
        assert array(branch(tensor(value), tensor(5.0))) == expected
    # TensorFlow may trace more than once at the first call.
    assert how == "eager" or len(traces) < 4


def test_the_other_branch_is_not_executed():
    weight, executed = ExampleWeightVariable(0.0, "float32"), []

    def branch(name):
        executed.append(name)
        return tensor(0.0)

    for value in (0.0, 0.5):
        weight.assign(value)
        backend.when_positive(weight, lambda: branch("mixed"), lambda: branch("plain"))
    assert executed == ["plain", "mixed"]


@on_jax
def test_the_branch_of_a_traced_weight_stays_a_branch():
    import jax

    weight = ExampleWeightVariable(0.5, "float32")

    def function(value, x):
        with keras.StatelessScope([(weight, value)]):
            return backend.when_positive(weight, lambda: x + 1, lambda: x - 1)

    assert "cond" in str(jax.make_jaxpr(function)(0.5, 1.0))

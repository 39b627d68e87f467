"""The example weight: set at any time, followed by compiled functions, no weight."""

import pathlib
import re
import warnings

import keras
import numpy as np
import pytest
import reference
from helpers import (
    BACKEND,
    EPSILON,
    array,
    check_inference,
    close,
    example_batch,
    layer_of,
    on_torch,
    randomize,
    weights,
)

import keras_bn4
from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    set_example_weight,
)

with_groups = pytest.mark.parametrize("groups", [None, 2])


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "mixed_bfloat16",
        "bfloat16",
        pytest.param(
            "float64",
            marks=pytest.mark.skipif(
                BACKEND != "tensorflow", reason="Others take float32 for float64."
            ),
        ),
    ],
)
def test_it_is_the_float_that_was_given(dtype):
    layer = GhostBatchNormalization(example_weight=0.1, dtype=dtype)
    assert layer.example_weight == 0.1
    layer.build((None, 6))
    assert layer.example_weight == 0.1
    layer.example_weight = 0.7
    assert layer.example_weight == layer.get_config()["example_weight"] == 0.7
    # float32 at least, or small example weights would be coarse.
    assert layer._example_weight_variable.dtype == (
        "float64" if dtype == "float64" else "float32"
    )


def test_it_is_what_something_else_has_assigned_to_the_variable():
    layer = GhostBatchNormalization(example_weight=0.1)
    layer.build((None, 6))
    layer._example_weight_variable.assign(0.5)
    assert layer.example_weight == layer.get_config()["example_weight"] == 0.5


@with_groups
@on_torch
def test_on_torch_no_tensor_is_read_to_choose_the_branch(rng, monkeypatch, groups):
    import torch

    layer = randomize(layer_of(groups), (3, 6), rng)
    x = torch.tensor(example_batch(rng, 4, (3, 6))[0])
    variable = layer._example_weight_variable

    def set_property(value):
        layer.example_weight = value

    for assign in (variable.assign, set_property):
        for weight in (0.3, 0.0, 1.0):
            assign(np.float32(weight))
            check_inference(layer, array(x), groups or -1)
            with monkeypatch.context() as patch:
                for name in ("__bool__", "__float__", "item", "numpy", "tolist"):
                    patch.setattr(torch.Tensor, name, None)
                layer(x)


@pytest.mark.parametrize(
    ("groups", "shape"), [(None, (3, 6)), (2, (3, 6)), (None, (6,))]
)
@on_torch
@pytest.mark.parametrize(
    "how", ["make_fx", pytest.param("torch.compile", marks=pytest.mark.slow)]
)
def test_what_torch_traces_follows_the_weight_and_keeps_infinities_apart(
    rng, groups, shape, how
):
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    layer = randomize(layer_of(groups), shape, rng)
    x = torch.tensor(example_batch(rng, 4, shape)[0])
    infinite = x.clone()
    infinite.view(-1)[0] = float("inf")
    with torch.no_grad():
        if how == "make_fx":
            traced = make_fx(lambda x: layer(x))(x)
        else:
            traced = torch.compile(lambda x: layer(x), backend="eager", fullgraph=True)
        for weight in (0.0, 0.3, 0.0):
            layer.example_weight = weight
            check_inference(layer, array(x), groups or -1, array(traced(x)))
        assert int((~torch.isfinite(traced(infinite))).sum()) == 1


def test_it_is_part_of_the_state_that_a_stateless_call_takes(rng):
    """As the page shows it for functions that one compiles oneself on JAX."""
    layer = randomize(layer_of(), (3, 6), rng)
    model = keras.Sequential([keras.Input((3, 6)), layer])
    x, _ = example_batch(rng, 4, (3, 6))
    page = (pathlib.Path(keras_bn4.layers.__file__).parent / "README.md").read_text()
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", page, re.S) if "jit" in b)
    if BACKEND != "jax":
        block = block.replace("import jax\n", "").replace("@jax.jit\n", "")
    names = {"model": model, "x_test": x}
    exec(block, names)
    layer.example_weight = 0.1 if BACKEND != "torch" else 0.0
    check_inference(layer, x, outputs=array(names["outputs"]))


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles nothing here")
def test_it_can_be_read_while_a_function_is_compiled():
    layer = GhostBatchNormalization(example_weight=0.25)
    layer.build((None, 6))
    read = []

    class Reading(keras.layers.Layer):
        def call(self, inputs):
            read.append(layer.example_weight)
            return layer(inputs)

    model = keras.Sequential([keras.Input((6,)), Reading()])
    read.clear()
    model.predict(np.ones((2, 6)), verbose=0)
    assert set(read) == {0.25}


@pytest.mark.parametrize("groups", [None, 2])
def test_it_is_a_variable_and_no_weight(groups):
    layer = layer_of(groups)
    assert layer.variables == []
    layer.build((None, 6))
    variable = layer._example_weight_variable
    ids = {id(v) for v in layer.variables}
    # On PyTorch `variables` make the `state_dict` of a model.
    assert (id(variable) in ids) == (BACKEND != "torch")
    assert {id(w) for w in layer.weights} == ids - {id(variable)}
    assert variable.path == f"{layer.name}/example_weight"


class Counting(GhostBatchNormalization):
    """Counts how often its Python code runs, which compiled functions don't run."""

    traces = 0

    def call(self, inputs, training=None, mask=None):
        object.__setattr__(self, "traces", self.traces + 1)
        return super().call(inputs, training=training, mask=mask)


def counting_model(rng):
    # At momentum 1 `fit` leaves the moving statistics alone.
    layer = Counting(ghost_batch_size=2, momentum=1.0, epsilon=EPSILON)
    model = keras.Sequential([keras.Input((3, 6)), layer])
    randomize(layer, (3, 6), rng)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model, layer


@pytest.mark.parametrize("compiled", ["predict", "evaluate"])
def test_example_weight_takes_effect_without_a_retrace(rng, compiled):
    model, layer = counting_model(rng)
    x, _ = example_batch(rng, 4, (3, 6))
    y = np.zeros_like(x)
    traces = None
    for example_weight in (0.0, 0.3, 1.0, 0.0, 0.05):
        set_example_weight(model, example_weight)
        assert layer.example_weight == example_weight
        expected = reference.infer(
            x.astype("float64"),
            **weights(layer),
            epsilon=EPSILON,
            example_weight=example_weight,
        )
        if compiled == "predict":
            close(model.predict(x, verbose=0), expected)
        else:
            close(model.evaluate(x, y, verbose=0), np.mean(expected**2))
        if BACKEND != "torch":
            assert traces in (None, layer.traces)
            traces = layer.traces


def test_example_weight_takes_effect_in_the_validation_of_fit(rng):
    model, layer = counting_model(rng)
    x, _ = example_batch(rng, 4, (3, 6))
    example_weights, traces = (0.0, 0.3, 1.0), []

    def set_weight(epoch, logs=None):
        layer.example_weight = example_weights[epoch]
        traces.append(layer.traces)

    history = model.fit(
        x,
        np.zeros_like(x),
        validation_data=(x, np.zeros_like(x)),
        epochs=3,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=set_weight)],
        verbose=0,
    )
    for example_weight, loss in zip(example_weights, history.history["val_loss"]):
        expected = reference.infer(
            x.astype("float64"),
            **weights(layer),
            epsilon=EPSILON,
            example_weight=example_weight,
        )
        close(loss, np.mean(expected**2))
    assert layer.example_weight == 1.0
    if BACKEND != "torch":
        assert traces[1] == traces[2] == layer.traces


@pytest.mark.parametrize("shape", [(6,), (1, 1, 6)])
def test_a_constant_output_warns_once(shape):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = GhostBatchNormalization(example_weight=1.0)
        for example_weight in (1.0, 0.5, 1.0):
            layer.example_weight = example_weight
            layer(np.ones((2, *shape), "float32"))
    assert ["example_weight=1" in str(w.message) for w in caught] == [True]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: GhostBatchNormalization(example_weight=1.0), (2, 6)),
        (lambda: GhostBatchNormalization(example_weight=0.9), (6,)),
        (lambda: BatchGroupNormalization(2, example_weight=1.0), (6,)),
    ],
)
def test_other_outputs_do_not_warn(layer, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer()(np.ones((2, *shape), "float32"))

"""A sweep is `evaluate` at every example weight, whatever `evaluate` takes.

Every case is evaluated by force, weight by weight, from the same state of the model.
All results have to be those of the sweep.
"""

import keras
import numpy as np
import pytest
from helpers import slow_but
from keras import layers, ops
from sweep_helpers import assert_rows_are_evaluations

from keras_bn4 import (
    BatchGroupNormalization,
    GhostBatchNormalization,
    sweep_example_weight,
)

BACKEND = keras.backend.backend()
WEIGHTS = [0.0, 0.1, 0.6]
N, CLASSES = 22, 3
RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (N, 6, 4)).astype("float32")
Y = RNG.integers(0, CLASSES, N)
ONE_HOT = np.eye(CLASSES, dtype="float32")[Y]
NUMBERS = RNG.normal(size=(N, CLASSES)).astype("float32")
SAMPLE_WEIGHT = RNG.uniform(0.5, 2, N).astype("float32")
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def hidden(x, groups=None, **arguments):
    if groups:
        x = BatchGroupNormalization(groups, **arguments)(x)
    else:
        x = GhostBatchNormalization(**arguments)(x)
    return layers.GlobalAveragePooling1D()(layers.ReLU()(x))


def network(activation=None, model_class=keras.Model, dense=None, **arguments):
    inputs = keras.Input((6, 4))
    dense = dense or {}
    outputs = layers.Dense(CLASSES, activation=activation, **dense)(
        hidden(inputs, **arguments)
    )
    return model_class(inputs, outputs)


def compiled(loss=LOGITS, metrics=("accuracy",), model=None, **arguments):
    model = model or network()
    model.compile(loss=loss, metrics=list(metrics) or None, **arguments)
    return model


def function_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), -1)


def closure(power):
    def loss(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** power, -1)

    return loss


class Unregistered(keras.losses.Loss):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def call(self, y_true, y_pred):
        return self.scale * ops.mean(ops.square(y_true - y_pred), -1)


class TruePositives(keras.metrics.Metric):
    """As in Keras' documentation: the result is the variable itself."""

    def __init__(self, name="true_positives"):
        super().__init__(name=name)
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        hits = ops.logical_and(y_true > 0, y_pred > 0)
        self.count.assign_add(ops.sum(ops.cast(hits, self.dtype)))

    def result(self):
        # On JAX, Keras' own `evaluate` fails with the variable itself.
        return self.count + 0 if BACKEND == "jax" else self.count


class Several(keras.metrics.Metric):
    """A metric whose result is a dict."""

    def __init__(self, name="several"):
        super().__init__(name=name)
        self.low = self.add_variable((), "zeros", name="low")
        self.high = self.add_variable((), "zeros", name="high")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.low.assign(ops.minimum(self.low, ops.min(y_pred)))
        self.high.assign(ops.maximum(self.high, ops.max(y_pred)))

    def result(self):
        return {"low": self.low + 0, "high": self.high + 0}


class Collecting(keras.metrics.Metric):
    """A metric for models that run eagerly: it collects predictions in a list."""

    def __init__(self, name="collecting"):
        super().__init__(name=name)
        self.seen = []

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.append(y_pred)

    def result(self):
        # On JAX, Keras asks for it with values that have a shape alone.
        return ops.max(ops.concatenate(self.seen)) if self.seen else ops.zeros(())

    def reset_state(self):
        self.seen = []


class OwnLoss(keras.Model):
    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        return 3 * ops.mean(ops.square(y - y_pred))


class OwnMetrics(keras.Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        results = keras.Model.compute_metrics(self, x, y, y_pred, sample_weight)
        return {**results, "largest": ops.max(y_pred)}


class OwnStep(keras.Model):
    if BACKEND == "jax":

        def test_step(self, state, data):
            logs, state = keras.Model.test_step(self, state, data)
            return {"own": logs["loss"] * 2}, state

    else:

        def test_step(self, data):
            return {"own": keras.Model.test_step(self, data)["loss"] * 2}


def with_step_of_its_own():
    """A model whose test step is a function that was set on this model alone."""
    model = compiled("mse", ["mae"])

    def test_step(*arguments):
        return OwnStep.test_step(model, *arguments)

    model.test_step = test_step
    return model


class Noise(layers.Layer):
    """Random at inference, too."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs), seed=self.seeds)


class LossAdder(layers.Layer):
    def call(self, inputs):
        self.add_loss(ops.mean(ops.abs(inputs)))
        return inputs


def noisy():
    inputs = keras.Input((6, 4))
    return keras.Model(inputs, layers.Dense(CLASSES)(hidden(Noise()(inputs))))


def with_added_loss():
    inputs = keras.Input((6, 4))
    x = LossAdder()(GhostBatchNormalization()(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))


def recurrent():
    inputs = keras.Input(batch_shape=(11, 6, 4))
    x = layers.GRU(CLASSES, stateful=True)(GhostBatchNormalization()(inputs))
    return keras.Model(inputs, x)


def masked():
    inputs = keras.Input((6, 4))
    x = GhostBatchNormalization()(layers.Masking(9.0)(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def two_outputs(names=("kind", "sure")):
    inputs = keras.Input((6, 4))
    x = hidden(inputs, ghost_batch_size=4)
    kind = layers.Dense(CLASSES, name=names[0])(x)
    return keras.Model(inputs, [kind, layers.Dense(1, name=names[1])(x)])


def nested_outputs():
    inputs = keras.Input((6, 4))
    x = hidden(inputs)
    pair = [layers.Dense(CLASSES)(x), layers.Dense(1)(x)]
    return keras.Model(inputs, {"pair": pair, "other": layers.Dense(2)(x)})


def of_policy(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return compiled()
    finally:
        keras.config.set_dtype_policy(before)


def of_texts():
    words = layers.TextVectorization(output_sequence_length=5, vocabulary=list("abc"))
    inputs = keras.Input((), dtype="string")
    x = layers.Embedding(6, 4)(words(inputs))
    outputs = layers.Dense(CLASSES)(hidden(x))
    return compiled(model=keras.Model(inputs, outputs))


def dict_model():
    a, b = keras.Input((6, 4), name="a"), keras.Input((6, 4), name="b")
    x = hidden(layers.Add()([a, b]))
    outputs = {
        "p": layers.Dense(CLASSES, name="p")(x),
        "q": layers.Dense(1, name="q")(x),
    }
    return keras.Model({"a": a, "b": b}, outputs)


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays, size=8):
        super().__init__()
        self.arrays, self.size = arrays, size

    def __len__(self):
        return -(-N // self.size)

    def __getitem__(self, index):
        rows = slice(index * self.size, (index + 1) * self.size)
        return tuple(array[rows] for array in self.arrays)


def generator(*arrays):
    return lambda: (tuple(a[i : i + 8] for a in arrays) for i in range(0, N, 8))


def lengths():
    inputs = [keras.Input((None, 4)), GhostBatchNormalization(), layers.Dense(CLASSES)]
    return compiled("mse", [], keras.Sequential(inputs))


def batches_of_lengths():
    return ((X[:8, :n], X[:8, :n, :3]) for n in (6, 4, 5))


def data_set(*arrays, transform=None):
    def make():
        import tensorflow as tf

        made = tf.data.Dataset.from_tensor_slices(arrays).batch(8)
        return transform(made) if transform else made

    return make


def whole_batches(dataset):
    import tensorflow as tf

    # Where it doesn't know their number, Keras counts a batch after the last one.
    return (
        dataset.unbatch()
        .batch(8, True)
        .apply(tf.data.experimental.assert_cardinality(2))
    )


PLAIN = {"x": X, "y": Y, "batch_size": 8}
REGRESSION = {"x": X, "y": NUMBERS, "batch_size": 8}
POSITIVE = {"x": X, "y": (ONE_HOT > 0).astype("float32"), "batch_size": 8}
BOTH = {"x": X, "y": [Y, NUMBERS[:, :1]], "batch_size": 8}
DICTS = {"x": {"a": X, "b": 2 * X}, "batch_size": 8}


def data_loader(*arrays):
    import torch

    tensors = map(torch.tensor, arrays)
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*tensors), batch_size=8
    )


def weighted(arguments):
    return {**arguments, "sample_weight": SAMPLE_WEIGHT}


def regression(loss, **arguments):
    return lambda: compiled(loss, ["mae"], **arguments)


def of_model(make, loss=LOGITS, metrics=("accuracy",), **arguments):
    return lambda: compiled(loss, metrics, make(), **arguments)


def kinds_of_data(*arrays):
    """Data of each kind that `evaluate` takes, by name."""
    found = {
        "PyDataset": {"x": lambda: Batches(*arrays)},
        "generator": {"x": generator(*arrays), "steps": 3},
    }
    if BACKEND == "torch":
        return found | {"data loader": {"x": lambda: data_loader(*arrays)}}
    return found | {"data set": {"x": data_set(*arrays)}}


LOSSES = {
    "closure": closure(3),
    "unregistered loss": Unregistered(2.0),
    "sum": keras.losses.MeanSquaredError(reduction="sum"),
    "mean by weight": keras.losses.Huber(reduction="mean_with_sample_weight"),
    "negative": lambda y, p: -ops.mean((y - p) ** 2, -1),
}
METRICS = {
    "several": (Several(), REGRESSION),
    "function metric": (lambda y, p: ops.max(p, -1), REGRESSION),
    "multi-label auc": (keras.metrics.AUC(multi_label=True), POSITIVE),
    "recalls": (keras.metrics.Recall(thresholds=[0.0, 0.3, 0.6]), POSITIVE),
    "true positives": (TruePositives(), POSITIVE),
}
REGULARIZED = {"activity_regularizer": "l2", "kernel_regularizer": "l1"}
MASKED = np.where(np.arange(6)[:, None] < 4, X, np.float32(9))
BY_STEP = np.repeat(NUMBERS[:, None], 6, 1)
CASES = {
    **{name: (regression(loss), REGRESSION) for name, loss in LOSSES.items()},
    **{
        f"{name}, weighted": (regression(loss), weighted(REGRESSION))
        for name, loss in LOSSES.items()
    },
    "not reduced": (
        regression(keras.losses.MeanSquaredError(reduction="none")),
        REGRESSION,
    ),
    **{
        name: (lambda x=metric: compiled("mse", [x]), arguments)
        for name, (metric, arguments) in METRICS.items()
    },
    **{
        f"{name}, {len(arrays)}": (regression(Unregistered(2.0)), arguments)
        for arrays in ((X, NUMBERS), (X, NUMBERS, SAMPLE_WEIGHT))
        for name, arguments in kinds_of_data(*arrays).items()
    },
    **{name: (compiled, data) for name, data in kinds_of_data(X, Y).items()},
    "in fives": (regression("mse"), {**REGRESSION, "batch_size": 5}),
    "tensors": (
        regression("mse"),
        {
            "x": lambda: ops.convert_to_tensor(X),
            "y": lambda: ops.convert_to_tensor(NUMBERS),
        },
    ),
    "steps": (compiled, {**PLAIN, "steps": 2}),
    "lengths": (lengths, {"x": batches_of_lengths, "steps": 3}),
    "weighted metrics": (
        lambda: compiled(
            weighted_metrics=["accuracy", "sparse_categorical_crossentropy"]
        ),
        weighted(PLAIN),
    ),
    "ghosts": (of_model(lambda: network(ghost_batch_size=4)), PLAIN),
    "groups": (of_model(lambda: network(groups=2)), PLAIN),
    "regularizers": (of_model(lambda: network(dense=REGULARIZED)), PLAIN),
    "add_loss": (of_model(with_added_loss), PLAIN),
    "add_loss alone": (of_model(with_added_loss, None, []), {"x": X, "batch_size": 8}),
    **{
        c.__name__: (of_model(lambda c=c: network(model_class=c), "mse"), REGRESSION)
        for c in (OwnLoss, OwnMetrics, OwnStep)
    },
    "step of an instance": (with_step_of_its_own, REGRESSION),
    "Collecting": (
        lambda: compiled(metrics=[Collecting(), "accuracy"], run_eagerly=True),
        PLAIN,
    ),
    "bfloat16": (lambda: of_policy("mixed_bfloat16"), PLAIN),
    "random at inference": (of_model(noisy), PLAIN),
    "stateful": (of_model(recurrent, "mse", []), {**REGRESSION, "batch_size": 11}),
    "masked": (
        of_model(masked, "mse", ["mae"]),
        {"x": MASKED, "y": BY_STEP, "batch_size": 8},
    ),
    "list of losses": (of_model(two_outputs, [LOGITS, "mse"], []), BOTH),
    "sample weights of two outputs": (
        of_model(two_outputs, [LOGITS, "mse"], []),
        {**BOTH, "sample_weight": [SAMPLE_WEIGHT, 2 * SAMPLE_WEIGHT]},
    ),
    "losses by name": (
        of_model(
            two_outputs,
            {"kind": LOGITS, "sure": function_loss},
            [],
            loss_weights={"kind": 1.0, "sure": 0.3},
        ),
        BOTH,
    ),
    "nested outputs": (
        of_model(nested_outputs, {"pair": [LOGITS, "mse"], "other": "mae"}, []),
        {**PLAIN, "y": {"pair": [Y, NUMBERS[:, :1]], "other": NUMBERS[:, :2]}},
    ),
    "dicts": (
        of_model(dict_model, {"p": LOGITS, "q": "mse"}, []),
        {**DICTS, "y": {"p": Y, "q": NUMBERS[:, :1]}},
    ),
    "part of the labels": (
        of_model(dict_model, {"p": LOGITS}, []),
        {**DICTS, "y": {"p": Y}},
    ),
}
if BACKEND == "tensorflow":
    TEXTS = np.array(["a b c", "b c", "c a a a", "b b"] * 5, object)
    CASES["texts"] = of_texts, {"x": TEXTS, "y": Y[:20], "batch_size": 8}
if BACKEND != "torch":
    CASES |= {
        "whole batches": (compiled, {"x": data_set(X, Y, transform=whole_batches)}),
        "not compiled by XLA": (lambda: compiled(jit_compile=False), PLAIN),
        "several steps": (lambda: compiled(steps_per_execution=2), PLAIN),
    }
QUICK = (
    *("unregistered loss, weighted", "several", "add_loss alone", "OwnStep"),
    *("stateful", "lengths", "Collecting", "losses by name", "PyDataset, 3"),
)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("name", slow_but(QUICK, CASES))
def test_every_row_is_an_evaluation(name):
    make, arguments = CASES[name]
    model = make()

    def fresh():
        return {k: v() if callable(v) else v for k, v in arguments.items()}

    model.evaluate(**fresh(), verbose=0)
    state = list(model.non_trainable_variables)
    if name == "stateful":
        state += model.layers[-1].states
    start = [np.array(ops.convert_to_numpy(v)) for v in state]

    def restart():
        for variable, value in zip(state, start):
            variable.assign(value)

    # The second one finds what the first has traced.
    for _ in range(2):
        restart()
        sweep = sweep_example_weight(
            model, **fresh(), example_weights=WEIGHTS, verbose=0
        )
        assert_rows_are_evaluations(model, sweep, fresh, restart)
        first, *_, last = sweep.rows
        assert any(first[metric] != last[metric] for metric in sweep.metrics)


def test_a_sweep_follows_what_the_model_was_compiled_with_last():
    model = compiled(function_loss, ["mae"])
    for loss in (function_loss, closure(3)):
        model.compile(loss=loss, metrics=["mse"])
        arguments = {**REGRESSION, "verbose": 0}
        expected = model.evaluate(**arguments, return_dict=True)
        for _ in range(2):
            sweep = sweep_example_weight(model, **arguments, example_weights=[0.5])
            assert sweep.rows[0]["example_weight"] == 0
            assert sweep.rows[0]["loss"] == pytest.approx(expected["loss"], rel=1e-6)
            assert set(sweep.metrics) == set(expected)


@pytest.mark.slow
def test_a_model_keeps_a_step_that_was_set_on_it():
    model = with_step_of_its_own()
    own = model.test_step
    sweep_example_weight(model, X[:8], NUMBERS[:8], example_weights=[], verbose=0)
    assert model.test_step is own

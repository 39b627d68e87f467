"""Wrong calls of the public API: the error, its message, and that nothing was changed.

A message says what happened with which value, what is allowed, and how to mend it. All
calls of this file share a few models, and after every call these are what they were.
"""

import importlib.util
import re
import types

import keras
import numpy as np
import pytest
from keras import layers

import keras_bn4
from keras_bn4 import (
    BatchGroupNormalization,
    CenteredL2,
    ExampleWeightTuning,
    GhostBatchNormalization,
    convert,
    datasets,
    discrepancy,
    exclude_from_weight_decay,
    normalization_paths,
    recalibrate,
    revert,
    set_example_weight,
    sweep_example_weight,
)
from keras_bn4.commands import sweep as sweep_command
from keras_bn4.commands.main import main
from keras_bn4.layers.arguments import FOREIGN_NAMES

L2 = keras.regularizers.L2
LAYERS = [GhostBatchNormalization, BatchGroupNormalization]
needs_tuner = pytest.mark.skipif(
    importlib.util.find_spec("keras_tuner") is None, reason="no Keras Tuner"
)


def name_of_arguments(value):
    """The name of a case by its arguments, the same in all processes that run tests."""
    if not isinstance(value, dict):
        return ""
    return re.sub(" at 0x[0-9a-f]+", "", str(value))[:40]


def network(normalization, compiled=True):
    inputs = keras.Input((4, 4, 2))
    hidden = normalization(layers.Conv2D(6, 3)(inputs))
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(inputs, outputs)
    if compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(loss=loss, metrics=["accuracy"])
    return model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.normalization = layers.BatchNormalization()

    def call(self, x):
        return self.normalization(x)


def state_of(model):
    """What a wrong call could have changed of a model: layers, settings, weights."""
    settings = [
        (type(layer), vars(layer).keys() & {"conversion_report"}, layer.get_config())
        for layer in model._flatten_layers(include_self=False)
    ]
    return settings, [w.copy() for w in model.get_weights()], model.trainable


@pytest.fixture(scope="module")
def all_things():
    rng = np.random.default_rng(0)
    things = types.SimpleNamespace(
        model=network(GhostBatchNormalization(ghost_batch_size=4, example_weight=0.1)),
        plain=network(layers.BatchNormalization()),
        grouped=network(BatchGroupNormalization(2)),
        frozen=network(layers.BatchNormalization(trainable=False)),
        uncompiled=network(GhostBatchNormalization(), compiled=False),
        renorm=network(layers.BatchNormalization(renorm=True)),
        none=keras.Sequential([keras.Input((4,)), layers.Dense(3)]),
        vectors=keras.Sequential([keras.Input((3,)), layers.BatchNormalization()]),
        subclassed=Subclassed(),
        x=rng.normal(size=(12, 4, 4, 2)).astype("float32"),
        y=rng.integers(0, 3, 12),
    )
    things.subclassed(np.zeros((2, 3), "float32"))
    things.sweep = sweep_example_weight(
        things.model, things.x, things.y, example_weights=[0.1], verbose=0
    )
    return things


MODELS = (
    *("model", "plain", "grouped", "frozen", "renorm", "none", "vectors", "subclassed"),
    "uncompiled",
)


@pytest.fixture
def things(all_things):
    """The models and data of all tests here, which have to stay what they are."""
    before = [state_of(getattr(all_things, name)) for name in MODELS]
    yield all_things
    after = [state_of(getattr(all_things, name)) for name in MODELS]
    np.testing.assert_equal(after, before)


def check(call, error, message, *arguments):
    with pytest.raises(error, match=f"(?s){message}") as caught:
        call(*arguments)
    # Keras' way to quote the arguments of all calls on the way.
    assert "Arguments received by" not in str(caught.value)


def cases(*rows):
    """Parameters `(call, message)` or `(call, error, message)`."""
    parameters = []
    for i, (call, *error, message) in enumerate(rows):
        error = error[0] if error else ValueError
        parameters.append(pytest.param(call, error, message, id=f"{i}-{message[:30]}"))
    return pytest.mark.parametrize(("call", "error", "message"), parameters)


# Layers.


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[("ghost_batch_size", v, "a positive integer.*or None") for v in (0, -3, "8")],
        *[("ghost_batch_size", v, "a positive integer.*or None") for v in (2.5, True)],
        *[("example_weight", v, "a number from 0 .* to 1") for v in (-0.1, 1.5, "a")],
        *[("example_weight", v, "a number from 0") for v in (None, True, float("nan"))],
        *[("variance_tracking", v, '"variance"') for v in ("both", None, 1)],
        *[(k, 8, re.escape(v)) for k, v in FOREIGN_NAMES.items() if k != "groups"],
        ("ghost_batch_sise", 8, "perhaps `ghost_batch_size` is meant"),
        ("momentun", 0.9, "perhaps `momentum` is meant"),
        ("example_weigth", 0.5, "perhaps `example_weight` is meant"),
        ("kernel_size", 3, r"takes \[.*and the arguments of keras.layers"),
        ("mask", None, r"takes \[.*and the arguments of keras.layers"),
    ],
)
def test_arguments_of_layers(layer_class, name, value, message):
    with pytest.raises(ValueError, match=f"(?s){message}") as error:
        layer_class(**{name: value})
    assert name in str(error.value)
    assert str(value) in str(error.value)


@pytest.mark.parametrize("value", [0, -2, 2.5, "4", None, True, [2]])
def test_groups(value):
    with pytest.raises(ValueError, match=r"positive integer.*or -1") as error:
        BatchGroupNormalization(groups=value)
    assert f"groups={value!r}" in str(error.value)


@cases(
    (lambda: GhostBatchNormalization(groups=2), "argument of BatchGroupNormalization"),
    (
        lambda: GhostBatchNormalization(-1, 8),
        TypeError,
        "GhostB.*`axis`.*ghost_batch_size=.*example_weight=.*variance_tracking=.*: 8.$",
    ),
    (
        lambda: BatchGroupNormalization(2, -1, 8),
        TypeError,
        "BatchG.*`groups` and `axis`.*ghost_batch_size=.*variance_tracking=.*: 8.$",
    ),
    (
        lambda: GhostBatchNormalization(renorm=True, ghost_batch_size=8),
        "cannot be combined with ghosts.*ghost_batch_size=8",
    ),
    (lambda: BatchGroupNormalization(renorm=True), "cannot be combined with ghosts"),
)
def test_arguments_of_layers_together(call, error, message):
    check(call, error, message)


def built(layer_class):
    arguments = {"groups": 2} if layer_class is BatchGroupNormalization else {}
    layer = layer_class(**arguments, example_weight=0.2)
    layer.build((None, 3, 4))
    return layer


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[("ghost_batch_size", v, "a positive integer.*or None") for v in (-3, "a")],
        *[
            ("example_weight", v, "a number from 0 .* to 1")
            for v in (2, None, -0.1, "a")
        ],
        ("variance_tracking", "x", '"second_moment" or "variance"'),
    ],
)
def test_attributes_of_layers_that_are_built(layer_class, name, value, message):
    layer = built(layer_class)
    before = layer.get_config()
    with pytest.raises(ValueError, match=message):
        setattr(layer, name, value)
    assert layer.get_config() == before


def test_other_attributes_that_do_not_fit():
    layer = built(BatchGroupNormalization)
    for value, message in (
        (3, r"divisible by the num.*\(3\)"),
        (0, "positive integer"),
    ):
        with pytest.raises(ValueError, match=message):
            layer.groups = value
    assert layer.groups == 2
    layer = GhostBatchNormalization(renorm=True)
    with pytest.raises(ValueError, match="cannot be combined with ghosts"):
        layer.ghost_batch_size = 8
    assert layer.ghost_batch_size is None
    layer = BatchGroupNormalization()
    with pytest.raises(ValueError, match="cannot be combined with ghosts"):
        layer.renorm = True


X = np.zeros((2, 3, 4), "float32")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    "mask",
    [np.ones(2, bool), np.ones((2, 3, 4), bool), np.ones((2, 5), bool), "a"],
    ids=["too few axes", "too many axes", "another size", "no tensor"],
)
def test_masks(layer_class, training, mask):
    with pytest.raises(ValueError, match=r"of shape \(2, 3\)\. Received: mask"):
        built(layer_class)(X, training=training, mask=mask)


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros(4, "float32"), "examples along their first axis"),
        (None, "takes one tensor of examples, of rank 2 or more"),
        (keras.KerasTensor((None, None)), "should have a defined dimension"),
    ],
    ids=["rank 1", "None", "no channels"],
)
def test_inputs_of_a_new_layer(layer_class, inputs, message):
    with pytest.raises(ValueError, match=message):
        layer_class()(inputs)


@cases(
    (lambda: built(LAYERS[0])(np.zeros((2, 3, 6), "float32")), "axis -1.* value 4"),
    (lambda: built(LAYERS[0])(np.zeros((2, 4), "float32")), "expected ndim=3"),
    (lambda: LAYERS[0](axis=0)(X), "ghost_batch_size=0"),
    *[(lambda a=a: LAYERS[0](axis=a)(X), f"axis={a}, ") for a in (3, -3, -4)],
    (lambda: LAYERS[0](axis=5)(X), r"axis=5, input_shape=\(2, 3, 4\)"),
    (
        lambda: LAYERS[1](3)(X),
        r"\(4\) must be divisible by .*\(3\)\. Allowed: \[1, 2, 4\], or -1",
    ),
    (
        lambda: LAYERS[1]()(X),
        r"\(32\) cannot be more than the number of channels \(4\)\. Allowed: \[1",
    ),
)
def test_inputs_of_another_shape(call, error, message):
    check(call, error, message)


# Conversion.


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select": "b"}, "`select` must be a function of a layer, or None.*'b'"),
        ({"select": ["bn"]}, "`select` must be a function"),
        ({"select": lambda layer: False}, "`select` didn't pick it"),
        ({"groups": 4}, r"nothing was changed.*\[1, 2, 3, 6\], and -1.*'.*divisible"),
        ({"groups": lambda layer: 4}, "nothing was changed.*must be divisible by"),
        ({"groups": lambda layer: "a"}, "nothing was changed.*groups='a'"),
        ({"groups": 0}, "positive integer"),
        ({"groups": "a"}, "positive integer"),
        ({"ghost_batch_size": 0}, "ghost_batch_size=0"),
        ({"example_weight": 2}, "example_weight=2"),
        ({"variance_tracking": "a"}, "variance_tracking='a'"),
        ({"axis": 1}, r"Unknown arguments \['axis'\].*build the model"),
        ({"virtual_batch_size": 8}, "Unknown arguments.*can set"),
        ({"virtual_batch_size": 8}, "it is called `ghost_batch_size` here"),
        ({"ghost_batch_sise": 8}, "perhaps `ghost_batch_size` is meant"),
        ({"beta_initializer": "ones"}, r"\['beta_initializer'\]. `convert` can set"),
        ({"renorm": True}, "Unknown arguments.*can set"),
    ],
    ids=name_of_arguments,
)
def test_arguments_of_convert(things, arguments, message, in_place):
    for model in (things.plain, things.model):
        check(
            lambda m: convert(m, in_place=in_place, **arguments),
            ValueError,
            message,
            model,
        )


@pytest.mark.parametrize("in_place", ["no", None, 2])
def test_in_place(things, in_place):
    for call in (convert, revert):
        with pytest.raises(ValueError, match="`in_place` must be True or False"):
            call(things.model, in_place=in_place)


def legacy_model():
    model_class = type("Sequential", (), {"__module__": "tf_keras.src.engine.training"})
    return model_class()


ON_MODELS = {
    "convert": convert,
    "revert": revert,
    "set": lambda model: set_example_weight(model, 0.5),
    "sweep": lambda model: sweep_example_weight(model, X, verbose=0),
    "recalibrate": lambda model: recalibrate(model, X, verbose=0),
    "discrepancy": lambda model: discrepancy(model, X, verbose=0),
    "paths": normalization_paths,
    "exclude": lambda model: exclude_from_weight_decay(
        keras.optimizers.AdamW(weight_decay=0.1), model
    ),
}


@pytest.mark.parametrize("call", ON_MODELS.values(), ids=ON_MODELS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("model.keras", "Received: 'model.keras'.*keras.models.load_model"),
        (None, "Expected a keras.Model. Received: None"),
        (keras.Model, "Expected a keras.Model.*Make an object of this class"),
        (layers.BatchNormalization(), "Expected a keras.Model.*make a model with it"),
        (keras.Sequential([layers.BatchNormalization()]), r"isn't built.*model\.build"),
        (legacy_model(), r"legacy Keras.*`tf_keras`.*TF_USE_LEGACY_KERAS=1"),
    ],
    ids=["path", "None", "class", "layer", "not built", "legacy Keras"],
)
def test_what_is_no_model(call, model, message):
    check(call, ValueError, message, model)


@cases(
    (lambda t: convert(t.none), "no batch normalization layer to convert"),
    (lambda t: convert(t.renorm, ghost_batch_size=4), "nothing was changed.*`renorm`"),
    (lambda t: convert(t.subclassed), "rebuild model.*`get_config`.*in_place=True"),
    (lambda t: convert(t.plain, 8), TypeError, "positional"),
    (lambda t: revert(t.plain), r"no layer of keras_bn4 to revert.*convert"),
    (lambda t: revert(t.model), r"would change predictions.*example_weight=0\.1.*forc"),
    (lambda t: revert(t.grouped), r"would change predictions.*groups=2"),
    (lambda t: revert(t.model, force="yes"), "`force` must be True or False"),
    (lambda t: set_example_weight(t.plain, 0.1), "no layer of keras_bn4.*convert"),
)
def test_models_that_do_not_fit(things, call, error, message):
    check(call, error, message, things)


@pytest.mark.parametrize(
    "weight", [2, -0.1, "a", None, True, float("nan"), [1.1], np.array(0.1)]
)
def test_example_weights(things, weight):
    with pytest.raises(ValueError, match=r"a number from 0 .* to 1"):
        set_example_weight(things.model, weight)


# The sweep of the example weight.


def sweep(things, x, y=None, **arguments):
    arguments = {"verbose": 0, "example_weights": [0.3], **arguments}
    return sweep_example_weight(things.model, x, y, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[({"example_weights": v}, "a sequence of num") for v in ("a", 0.1, None)],
        *[({"example_weights": [v]}, "a number from 0") for v in (2, "a", None)],
        ({"mode": "best"}, '"min", "max", None'),
        ({"mode": {"loss": "best"}}, '"min", "max", None'),
        ({"mode": 3}, '"min", "max", None'),
        ({"mode": {"recall": "max"}}, r"\['recall'\].*\['loss', 'accuracy'\]"),
        *[({"batch_size": v}, "an integer from 1 upwards") for v in (0, 2.5, "a")],
        *[({"steps": v}, "an integer from 1 upwards") for v in (0, -1, True)],
        *[({"verbose": v}, '0 for silence, or 1, 2 or "auto"') for v in ("no", None)],
        ({"sample_weight": np.ones(5)}, "12 in `y`, 5 in `sample_weight`"),
        ({"sample_weight": [1.0] * 12}, r"`sample_weight` must be an array.*asarray"),
    ],
    ids=str,
)
def test_arguments_of_the_sweep(things, arguments, message):
    check(lambda: sweep(things, things.x, things.y, **arguments), ValueError, message)


def endless(things):
    while True:
        yield things.x, things.y


class Endless(keras.utils.PyDataset):
    num_batches = None


@cases(
    (lambda t: sweep(t, t.x[:0], t.y[:0]), "data set is empty. Give at least one exam"),
    (lambda t: sweep(t, []), "data set is empty"),
    (lambda t: sweep(t, iter([])), "at least one batch"),
    (lambda t: sweep(t, None), "Expected arrays, a tf.data.Dataset.*x=None"),
    (lambda t: sweep(t, 3), "Expected arrays, a tf.data.Dataset.*x=3"),
    (lambda t: sweep(t, "data"), "Expected arrays, a tf.data.Dataset.*x='data'"),
    (lambda t: sweep(t, np.array(3.0), np.array(3)), "the examples along its first ax"),
    (lambda t: sweep(t, t.x), "The data have no labels.*Give `y`"),
    (lambda t: sweep(t, (t.x, t.y)), r"no labels.*batches `\(x, y\)`"),
    (lambda t: sweep(t, t.x, t.y[:5]), "12 in `x`, 5 in `y`"),
    (lambda t: sweep(t, t.x, t.y.tolist()), r"`y` must be an array.*numpy\.asarray\(y"),
    (lambda t: sweep(t, t.x, t.y[:5].tolist()), "`y` must be an array"),
    (lambda t: sweep(t, t.x, ["a"] * 12), "`y` must be an array.*'a' of type str"),
    (lambda t: sweep(t, t.x, np.array(["a"] * 12)), "`y` must hold numbers"),
    (lambda t: sweep(t, np.array([None] * 12), t.y), "`x` must hold numbers"),
    (lambda t: sweep(t, t.x.tolist(), t.y), r"`x` must be an array.*numpy\.asarray\(x"),
    (lambda t: sweep(t, iter([(t.x, t.y)]), batch_size=4), "batch_size.*only.*arrays"),
    (lambda t: sweep(t, iter([(t.x, t.y)]), t.y), "`y` should not be passed"),
    (lambda t: sweep(t, t.x, np.eye(3)[t.y]), r"rank \(ndim\)|shape"),
    (lambda t: sweep_example_weight(t.uncompiled, t.x, t.y), "isn't compiled.*compile"),
    (lambda t: sweep_example_weight(t.plain, t.x, t.y), "Convert it first"),
)
def test_data_of_the_sweep(things, call, error, message):
    check(call, error, message, things)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX gives NaN")
@pytest.mark.parametrize("shift", [7, -7])
def test_labels_out_of_range_in_the_sweep(things, shift):
    with pytest.raises(ValueError, match=r"can't be evaluated.*Give labels that fit"):
        sweep(things, things.x, things.y + shift)


def test_endless_data_in_the_sweep(things):
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensors((things.x, things.y)).repeat()
    with pytest.raises(ValueError, match=r"no end. Say how many batches.*`steps`"):
        sweep(things, data)


@cases(
    (lambda t: t.sweep.best("recall"), r"'recall'.*\['loss', 'accuracy'\]"),
    (lambda t: t.sweep.best(["loss"]), r"Unknown metric \['loss'\]"),
    (lambda t: t.sweep.plot(["recall"]), r"'recall'.*\['loss', 'accuracy'\]"),
    (lambda t: t.sweep.plot("recall"), r"'recall'.*\['loss', 'accuracy'\]"),
    (lambda t: t.sweep.plot([]), "name of a metric, a list.*or None for all"),
    (lambda t: t.sweep.plot(3), "name of a metric, a list.*metrics=3"),
    (lambda t: t.sweep.to_csv(""), "Expected the path of a file"),
    (lambda t: t.sweep.to_csv(None), "Expected the path of a file.*None"),
    (lambda t: t.sweep.to_csv("/no/a.csv"), FileNotFoundError, "folder. Create it fir"),
    (lambda t: t.sweep.to_csv("/tmp"), IsADirectoryError, "'/tmp': it is a folder"),
)
def test_results_of_the_sweep(things, call, error, message):
    check(call, error, message, things)


def test_a_metric_without_a_direction(things):
    model = network(GhostBatchNormalization())
    mean = keras.metrics.MeanMetricWrapper(lambda y, p: p[..., 0], name="first")
    model.compile(loss=model.loss, metrics=[mean])
    found = sweep_example_weight(
        model, things.x, things.y, example_weights=[0.1], verbose=0
    )
    with pytest.raises(ValueError, match=r"'first' doesn't say.*mode={'first': 'min'}"):
        found.best("first")
    assert found.best("loss")


# The callback.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[({"metric": v}, "`metric` must be the name") for v in (3, ["loss"], None)],
        ({"example_weights": "a"}, "must be a sequence"),
        ({"example_weights": [2]}, "a number from 0"),
        *[({"every_epoch": v}, "must be True or False") for v in ("no", None)],
        ({"mode": "best"}, '"min", "max", None'),
        ({"batch_size": 0}, "batch_size=0"),
        ({"steps": -1}, "steps=-1"),
        ({"verbose": "loud"}, "verbose='loud'"),
        *[({"validation_data": v}, "Expected arrays") for v in (None, "data", 3)],
        ({"validation_data": ()}, "a tuple of length 0"),
        ({"validation_data": (X, X, X, X)}, r"tuple \(x, y\) or.*a tuple of length 4"),
    ],
    ids=name_of_arguments,
)
def test_arguments_of_the_callback(arguments, message):
    arguments = {"validation_data": (X, X), **arguments}
    check(lambda: ExampleWeightTuning(**arguments), ValueError, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "recall"}, r"'recall'.*\['loss', 'accuracy'\]"),
        ({"validation_data": "empty"}, "data set is empty"),
        ({"validation_data": "inputs"}, "no labels"),
    ],
)
def test_the_callback_in_fit(things, arguments, message):
    model = convert(things.plain)
    data = {"empty": (X[:0], X[:0]), "inputs": things.x}
    data = data.get(arguments.pop("validation_data", None), (things.x, things.y))
    tuning = ExampleWeightTuning(data, example_weights=[0.3], **arguments)
    with pytest.raises(ValueError, match=message):
        model.fit(things.x, things.y, verbose=0, callbacks=[tuning])
    assert model.layers[2].example_weight == 0


# Moving statistics.


@pytest.mark.parametrize("function", [recalibrate, discrepancy])
@cases(
    (lambda t: (t.model, t.x[:0], {}), "data set is empty.*Pass at least"),
    (lambda t: (t.model, [], {}), "data set is empty"),
    (lambda t: (t.model, None, {}), "Expected arrays.*x=None"),
    (lambda t: (t.model, 3, {}), "Expected arrays.*x=3"),
    (lambda t: (t.model, "data", {}), "Expected arrays.*x='data'"),
    (lambda t: (t.model, np.array(3.0), {}), "the examples along its first axis"),
    (lambda t: (t.model, [1.0, 2.0], {}), "examples along its first axis"),
    (lambda t: (t.model, t.x * np.nan, {}), "received NaN or infinity.*unchanged"),
    (lambda t: (t.none, t.x, {}), "no batch normalization layer"),
    (lambda t: (t.frozen, t.x, {}), "1 have trainable=False.*Set `trainable = True`"),
    (lambda t: (t.model, t.x, {"steps": 100}), "ended after 1 of steps=100.*unchang"),
    (lambda t: (t.model, t.x, {"steps": 0}), "steps=0"),
    (lambda t: (t.model, t.x, {"steps": True}), "steps=True"),
    (lambda t: (t.model, t.x, {"batch_size": 2.5}), "batch_size=2.5"),
    (lambda t: (t.model, t.x, {"verbose": "loud"}), "verbose='loud'"),
    (lambda t: (t.model, iter([t.x]), {"batch_size": 4}), "only be used with arrays"),
    (lambda t: (t.model, Endless(), {}), "no end. Say how many batches"),
    (lambda t: (t.model, t.x[..., :1], {}), "can't be called on.*The model is unchan"),
    (lambda t: (t.model, t.x[0], {}), "can't be called on a batch of these data"),
    (lambda t: (t.model, (t.x, t.y), {}), "can't be called on.*without labels"),
)
def test_moving_statistics(things, function, call, error, message):
    model, data, arguments = call(things)
    check(lambda: function(model, data, **{"verbose": 0, **arguments}), error, message)


def test_too_few_examples_to_recalibrate(things):
    with pytest.raises(ValueError, match=r"fewer than two.*The model is unchanged"):
        recalibrate(things.vectors, np.ones((1, 3)), verbose=0)


# Weight decay.


def adamw(weight_decay=0.1):
    return keras.optimizers.AdamW(weight_decay=weight_decay)


def built_adamw(model):
    optimizer = adamw()
    optimizer.build(model.trainable_variables)
    return optimizer


def exclude(*args, **kwargs):
    return exclude_from_weight_decay(*args, **kwargs)


@cases(
    (lambda t: exclude("adamw", t.plain), "keras.optimizers.Optimizer.*'adamw'"),
    (lambda t: exclude(keras.optimizers.AdamW, t.plain), "Expected a keras.optimizers"),
    (lambda t: exclude(t.plain, adamw()), "Expected a keras.optimizers.Optimizer"),
    (
        lambda t: exclude(built_adamw(t.plain), t.plain),
        "is built.*Make a new optimizer",
    ),
    (lambda t: exclude(keras.optimizers.SGD(), t.plain), "no weight decay.*Set `weigh"),
    (lambda t: exclude(adamw(), t.none), "no normalizer with γ or β. Pass a model"),
    (lambda t: exclude(adamw(), t.subclassed, decay="open"), "whose graph Keras doesn"),
    (lambda t: exclude(adamw(), t.plain, decay="some"), '"all", "none", one of.*some'),
    (lambda t: exclude(adamw(), t.plain, decay=None), '"all", "none", one of.*None'),
    (lambda t: exclude(adamw(), t.plain, decay=3), '"all", "none", one of.*decay=3'),
    (lambda t: exclude(adamw(), t.plain, decay=("open", "x")), "a tuple of these kind"),
    (lambda t: exclude(adamw(), t.plain, decay=["all"]), "a tuple of these kinds"),
    (
        lambda t: normalization_paths(t.subclassed),
        "Pass a Functional or Sequential mod",
    ),
    (lambda t: normalization_paths(t.plain).layers("x"), r"'closed'\).*\['x'\]"),
    (lambda t: CenteredL2(-1), "`l2`.*finite and non-negative number.*l2=-1"),
    (lambda t: CenteredL2("a"), "`l2`.*finite and non-negative number"),
    (lambda t: CenteredL2(True), "`l2`.*finite and non-negative number"),
    (lambda t: CenteredL2(center=None), "`center` must be a finite number"),
    (lambda t: CenteredL2(center=float("inf")), "`center` must be a finite number"),
    (lambda t: CenteredL2(l1=0.1), TypeError, "'l1'"),
)
def test_weight_decay(things, call, error, message):
    check(call, error, message, things)


@pytest.mark.parametrize(("name", "value"), [("l2", -1), ("center", "a")])
def test_attributes_of_the_regularizer(name, value):
    regularizer = CenteredL2(0.1, center=0.5)
    with pytest.raises(ValueError, match=f"`{name}` must be a finite"):
        setattr(regularizer, name, value)
    assert regularizer.get_config() == {"l2": 0.1, "center": 0.5}


# Data sets.


@cases(
    (lambda: datasets.load("digits", "tset"), r"'tset'.*'validation', 'test'\]"),
    (lambda: datasets.load("digits", "train[:9]"), "Unknown split"),
    (lambda: datasets.load("digits", []), "a string.*or a list or tuple"),
    (lambda: datasets.load("digits", None), "a string.*or a list or tuple"),
    (lambda: datasets.load("digits", ["train", 3]), "a string.*or a list or tuple"),
    (lambda: datasets.load("digits", "train", image_size=(3, 3)), "8 by 8.*Leave out"),
    (
        lambda: datasets.load("digits", "train", download="no"),
        "`download` must be True",
    ),
    (
        lambda: datasets.load("digits", "train", data_dir=3),
        "`data_dir` must be the pat",
    ),
    (
        lambda: datasets.load("digits", "train", data_dir=""),
        "`data_dir` must be the pat",
    ),
)
def test_digits(call, error, message):
    check(call, error, message)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("digitz", ValueError, "Unknown data set 'digitz'.*Allowed: 'digits'"),
        (3, ValueError, "Unknown data set 3.*Allowed"),
        ("", ValueError, "Unknown data set ''.*Allowed"),
        ("cifar100:abc", ValueError, "Unknown data set 'cifar100:abc'"),
        ("cifar100:9.9.9", ValueError, r"no such version.*3\.0\.2.*alone, 'cifar100'"),
        ("cifar100/x", ValueError, "no such version or configuration.*'cifar100'"),
        ("cifar100", FileNotFoundError, "not on disk.*download=True.*python -c"),
        ("imdb_reviews", ValueError, "not one of labelled images.*Give the name"),
    ],
)
def test_names_of_data_sets(name, error, message, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    check(lambda: datasets.load(name, "test", data_dir=tmp_path), error, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("image_size", [3, (3,), (0, 3), "33", ("a", 3), (2.5, 3)])
def test_image_sizes(image_size, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(ValueError, match="`image_size` must be"):
        datasets.load("cifar100", "test", data_dir=tmp_path, image_size=image_size)


def batches(t, batch_size=4, x=None, y=None, **arguments):
    x, y = (t.x if x is None else x), (t.y if y is None else y)
    return datasets.non_iid_batches(x, y, batch_size, **arguments)


@cases(
    *[
        (
            lambda t, size=size: batches(t, size),
            "`batch_size` must be an integer from 1",
        )
        for size in (0, -1, 2.5, "a", None)
    ],
    (lambda t: batches(t, y=t.y[:5]), r"one class label.*y.shape=\(5,\)"),
    (lambda t: batches(t, y=np.eye(3)[t.y]), r"one class label.*y.shape=\(12, 3\)"),
    (lambda t: batches(t, x=t.x[:0], y=t.y[:0]), "at least one"),
    (lambda t: batches(t, y=t.y + np.nan), "must not be NaN.*12 of 12"),
    (lambda t: batches(t, classes_per_batch=0), "`classes_per_batch` must be an integ"),
    (lambda t: batches(t, classes_per_batch=3), "must divide `batch_size`"),
    (lambda t: batches(t, 40, classes_per_batch=4), "at most the number of classes, 3"),
    (lambda t: batches(t, batches=0), "`batches` must be an integer from 1"),
    (lambda t: batches(t, batches=2.5), "`batches` must be an integer from 1"),
    (lambda t: batches(t, seed=-1), "`seed` must be an integer from 0"),
    (lambda t: batches(t, seed="a"), "`seed` must be an integer from 0"),
)
def test_batches(things, call, error, message):
    check(call, error, message, things)


# Keras Tuner.


def build(hp):
    return network(layers.BatchNormalization())


@needs_tuner
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[({"build": v}, "must be a function of `keras_tuner") for v in (None, "m")],
        *[({"batch_size": v}, "an integer from 1") for v in (0, 2.5, None)],
        ({"kinds": ["x"]}, r"some of \['batch', 'ghost', 'batch_group'\]"),
        *[({"kinds": v}, "a sequence of values to try") for v in ("ghost", 3)],
        ({"kinds": []}, "is empty. Give at least one"),
        ({"batch_size": 2, "kinds": ["ghost"]}, "leaves no ghosts to try"),
        ({"ghost_batch_sizes": [0]}, "positive integer"),
        ({"ghost_batch_sizes": [32]}, "from 1 to the batch size, 16.*32"),
        ({"ghost_batch_sizes": 8}, "a sequence of values to try"),
        ({"groups": [0]}, "positive integer"),
        ({"groups": 2}, "a sequence of values to try"),
        ({"decay": [-1]}, "non-negative number.*-1"),
        ({"decay": [0]}, "positive factors"),
        ({"decay": 0.1}, "a sequence of values to try"),
        *[({"momentum": [v]}, "floats from 0 to below 1") for v in (5.0, 1.0, "a")],
        ({"example_weights": [2]}, "a number from 0"),
        *[({"example_weights": v}, "a sequence of values to try") for v in (0.1, None)],
        ({"example_weights": []}, "is empty. Give at least one"),
    ],
    ids=str,
)
def test_the_search_of_normalization(arguments, message):
    arguments = {"build": build, "batch_size": 16, **arguments}
    check(lambda: keras_bn4.HyperBatchNormalization(**arguments), ValueError, message)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'ghost_norm'"):
        _ = keras_bn4.ghost_norm


# The command line.


@pytest.fixture(scope="module")
def files(tmp_path_factory, all_things):
    """A folder with models and data; commands must write nothing into it."""
    folder = tmp_path_factory.mktemp("files")
    all_things.plain.save(folder / "model.keras")
    inputs = keras.Input((4, 4, 2))
    hidden = layers.Flatten()(layers.BatchNormalization()(inputs))
    two = keras.Model(inputs, [layers.Dense(3)(hidden), layers.Dense(2)(hidden)])
    two.save(folder / "two.keras")
    (folder / "foreign.keras").write_text("no model")
    (folder / "empty.keras").write_bytes(b"")
    x, y = all_things.x, all_things.y
    for name, arrays in {
        "data": {"x": x, "y": y},
        "out_of_range": {"x": x, "y": y + 7},
        "negative": {"x": x, "y": y - 7},
        "scalar": {"x": np.array(3.0), "y": np.array(3)},
        "empty": {"x": x[:0], "y": y[:0]},
        "one": {"x": x[:1], "y": y[:1]},
        "lengths": {"x": x, "y": y[:5]},
        "words": {"x": x, "y": np.array(["a"] * 12)},
        "no_labels": {"x": x},
        "shape": {"x": x[..., :1], "y": y},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    np.savez(folder / "objects.npz", x=x, y=np.array([None] * 12))
    with open(folder / "single.npz", "wb") as file:
        np.save(file, x)
    (folder / "zero.npz").write_bytes(b"")
    return folder


@pytest.fixture
def run(files, capsys, monkeypatch, tmp_path):
    """A function that runs a command, and returns its status and what it complains."""
    before = {path: path.read_bytes() for path in files.iterdir()}
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = main([str(a).replace("FILES", str(files)) for a in arguments])
        return status, capsys.readouterr().err

    yield run
    assert {path: path.read_bytes() for path in files.iterdir()} == before
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


MODEL, DATA = "FILES/model.keras", ("--dataset", "FILES/data.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[
            (["sweep", MODEL, "--dataset", f"FILES/{name}.npz"], message)
            for name, message in (
                ("out_of_range", r"from 7 to 9.*3 outputs, for labels from 0 to 2"),
                ("negative", r"from -7 to -5.*labels from 0 to 2"),
                ("scalar", r"equally many examples.*x\.shape=\(\)"),
                ("empty", r"at least one.*x\.shape=\(0,"),
                ("one", "1 example.*at least two"),
                ("lengths", r"equally many examples.*y\.shape=\(5,\)"),
                ("words", "numbers in 'y'"),
                ("no_labels", "must hold arrays 'x' and 'y'.*numpy.savez"),
                ("objects", "Can't read.*objects.npz"),
                ("single", "Can't read.*it holds a single array"),
                ("zero", "Can't read.*zero.npz"),
                ("missing", "Can't read.*No such file"),
                ("shape", r"can't be called on these examples, of shape \(4, 4, 1\)"),
            )
        ],
        (["sweep", "FILES/two.keras", *DATA], "2 outputs.*sweep_example_weight"),
        (["sweep", "FILES/missing.keras", *DATA], "there is no such file"),
        (["sweep", "FILES/foreign.keras", *DATA], "truncated, or no Keras model"),
        (["sweep", "FILES/empty.keras", *DATA], "truncated, or no Keras model"),
        (["sweep", "FILES", *DATA], "Can't load"),
        (["sweep", MODEL, *DATA, "--split", "test"], "a file and has no splits"),
        (["sweep", MODEL, "--dataset", "digits"], r"examples, of shape \(8, 8, 1\)"),
        (["sweep", MODEL, "--dataset", "digits", "--split", "x"], "Unknown split 'x'"),
        (["sweep", MODEL, *DATA, "--save", ""], "--save must be the path of a file"),
        (["sweep", MODEL, *DATA, "--csv", ""], "--csv must be the path of a file"),
        (["sweep", MODEL, *DATA, "--plot", ""], "--plot must be the path of a file"),
        (["sweep", MODEL, *DATA, "--save", "a.h5"], "--save must end in '.keras'"),
        (["sweep", MODEL, *DATA, "--save", "no/a.keras"], "no such folder. Create it"),
        (["sweep", MODEL, *DATA, "--csv", "no/a.csv"], "no such folder. Create it"),
        (["sweep", MODEL, *DATA, "--csv", "FILES"], "it is a folder"),
        (["sweep", MODEL, *DATA, "--plot", "a.xyz"], r"--plot must end in one of.*png"),
        (["sweep", MODEL, *DATA, "--example-weights", "2"], "example_weight=2.0"),
        (["sweep", MODEL, *DATA, "--example-weights", "nan"], "example_weight=nan"),
        (["sweep", MODEL, *DATA, "--batch-size", "0"], "batch_size=0"),
        (["sweep", MODEL, *DATA, "--metric", "recall"], r"'recall'.*\['loss', 'accur"),
        (["inspect", "FILES/missing.keras"], "there is no such file"),
        (["inspect", "FILES/foreign.keras"], "no Keras model"),
        (["inspect", MODEL, "--batch-size", "0"], "batch_size=0"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_the_command_line(run, arguments, message):
    status, error = run(*arguments)
    assert status == 1
    assert error.startswith("error: ")
    assert re.search(f"(?s){message}", error), error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", MODEL], "--dataset"),
        (["sweep", MODEL, *DATA, "--example-weights", "a"], "invalid float value: 'a'"),
        (["sweep", MODEL, *DATA, "--batch-size", "2.5"], "invalid int value: '2.5'"),
        (["sweep", MODEL, *DATA, "--mode", "best"], "invalid choice: 'best'"),
        (["inspect", MODEL, "--overfits", "maybe"], "invalid choice: 'maybe'"),
        (["--seeds", "many"], "invalid int value: 'many'"),
        (["sweeep", MODEL], "invalid choice: 'sweeep'"),
        (["--seeds"], "expected one argument"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_the_command_line_as_argparse_reads_it(run, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("usage: keras_bn4")
    assert message in error


def test_an_unknown_metric_is_reported_at_the_first_batch(run, monkeypatch):
    swept = []

    def sweep(model, x, y, **arguments):
        swept.append(len(x))
        return sweep_example_weight(model, x, y, **arguments)

    monkeypatch.setattr(sweep_command, "sweep_example_weight", sweep)
    status, error = run(
        *("sweep", MODEL, *DATA, "--metric", "recall", "--batch-size", 2)
    )
    assert (status, swept) == (1, [2])
    assert error.startswith("error: Unknown metrics ['recall']")

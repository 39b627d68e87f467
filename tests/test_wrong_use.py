"""Wrong calls of the public API: the error, its message, and that nothing was changed.

A message says what happened with which value, what is allowed, and how to mend it. All
calls of this file share a few models, and after all of them these are what they were.
Data sets and the search have theirs beside their other tests.
"""

import functools
import re
import types

import keras
import numpy as np
import pytest
from keras import layers

from keras_bn4 import (
    BatchGroupNormalization,
    CenteredL2,
    ExampleWeightTuning,
    GhostBatchNormalization,
    convert,
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

LAYERS = [GhostBatchNormalization, BatchGroupNormalization]
X = np.zeros((2, 3, 4), "float32")
NAN = float("nan")


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
def things():
    """The models and data of all tests here, which have to stay what they are."""
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
    )
    models = list(vars(things).values())
    things.subclassed(np.zeros((2, 3), "float32"))
    rng = np.random.default_rng(0)
    things.x = rng.normal(size=(12, 4, 4, 2)).astype("float32")
    things.y = rng.integers(0, 3, 12)
    things.sweep = sweep(things, things.x, things.y)
    before = list(map(state_of, models))
    yield things
    np.testing.assert_equal(list(map(state_of, models)), before)


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


def arguments(*rows):
    """Parameters `(name, message, value, ...)`, each value in a call of its own."""
    parameters = [
        pytest.param({name: value}, message, id=f"{i}-{name}-{message[:30]}")
        for i, (name, message, *values) in enumerate(rows)
        for value in values
    ]
    return pytest.mark.parametrize(("arguments", "message"), parameters)


# Layers.


@pytest.mark.parametrize("layer_class", LAYERS)
@arguments(
    ("ghost_batch_size", "a positive integer.*or None", 0, -3, "8", 2.5, True),
    ("example_weight", "a number from 0 .* to 1", -0.1, 1.5, "a", None, True, NAN),
    ("variance_tracking", '"variance"', "both", None, 1),
    *[(k, re.escape(v), 8) for k, v in FOREIGN_NAMES.items() if k != "groups"],
    ("ghost_batch_sise", "perhaps you meant `ghost_batch_size`", 8),
    ("momentun", "perhaps you meant `momentum`", 0.9),
    ("example_weigth", "perhaps you meant `example_weight`", 0.5),
    ("kernel_size", r"takes \[.*and the arguments of keras.layers", 3),
    ("mask", r"takes \[.*and the arguments of keras.layers", None),
)
def test_arguments_of_layers(layer_class, arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}") as error:
        layer_class(**arguments)
    ((name, value),) = arguments.items()
    assert name in str(error.value)
    assert str(value) in str(error.value)


@arguments(("groups", "positive integer.*or -1", 0, -2, 2.5, "4", None, True, [2]))
def test_groups(arguments, message):
    message += f".*groups={re.escape(repr(arguments['groups']))}"
    check(lambda: BatchGroupNormalization(**arguments), ValueError, message)


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
    (lambda: LAYERS[0]()(X[0, 0]), "examples along their first axis"),
    (lambda: LAYERS[1]()(None), "takes one tensor of examples, of rank 2 or more"),
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
def test_layers(call, error, message):
    check(call, error, message)


def built(layer_class):
    arguments = {"groups": 2} if layer_class is BatchGroupNormalization else {}
    layer = layer_class(**arguments, example_weight=0.2)
    layer.build((None, 3, 4))
    return layer


@pytest.mark.parametrize(
    ("make", "name", "value", "message"),
    [
        *[
            (functools.partial(built, layer_class), *case)
            for layer_class in LAYERS
            for case in (
                ("ghost_batch_size", -3, "a positive integer.*or None"),
                ("example_weight", 2, "a number from 0 .* to 1"),
                ("variance_tracking", "x", '"second_moment" or "variance"'),
            )
        ],
        (lambda: built(LAYERS[1]), "groups", 3, r"divisible by the num.*\(3\)"),
        (lambda: built(LAYERS[1]), "groups", 0, "positive integer"),
        (lambda: LAYERS[0](renorm=True), "ghost_batch_size", 8, "combined with ghosts"),
        (BatchGroupNormalization, "renorm", True, "cannot be combined with ghosts"),
    ],
)
def test_attributes_of_layers(make, name, value, message):
    layer = make()
    before = layer.get_config()
    with pytest.raises(ValueError, match=message):
        setattr(layer, name, value)
    assert layer.get_config() == before


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    "mask",
    [np.ones(2, bool), np.ones((2, 3, 4), bool), np.ones((2, 5), bool), "a"],
    ids=["too few axes", "too many axes", "another size", "no tensor"],
)
def test_masks(layer_class, mask):
    layer = built(layer_class)
    for training in (False, True):
        with pytest.raises(ValueError, match=r"of shape \(2, 3\)\. Received: mask"):
            layer(X, training=training, mask=mask)


# Conversion.


@pytest.mark.parametrize("in_place", [False, True])
@arguments(
    ("select", "`select` must be a function of a layer, or None.*'b", "b", ["bn"]),
    ("select", "`select` did not pick it", lambda layer: False),
    ("groups", r"nothing was changed.*\[1, 2, 3, 6\], and -1.*'.*divisible", 4),
    ("groups", "nothing was changed.*must be divisible by", lambda layer: 4),
    ("groups", "nothing was changed.*groups='a'", lambda layer: "a"),
    ("groups", "positive integer", 0, "a"),
    ("ghost_batch_size", "ghost_batch_size=0", 0),
    ("example_weight", "example_weight=2", 2),
    ("variance_tracking", "variance_tracking='a'", "a"),
    ("axis", r"Unknown arguments \['axis'\].*build the model", 1),
    ("virtual_batch_size", "Unknown arguments.*can set", 8),
    ("virtual_batch_size", "it is called `ghost_batch_size` here", 8),
    ("ghost_batch_sise", "perhaps you meant `ghost_batch_size`", 8),
    ("beta_initializer", r"\['beta_initializer'\]. `convert` can set", "ones"),
    ("renorm", "Unknown arguments.*can set", True),
)
def test_arguments_of_convert(things, arguments, message, in_place):
    convert_all = functools.partial(convert, in_place=in_place, **arguments)
    for model in (things.plain, things.model):
        check(convert_all, ValueError, message, model)


def legacy_model():
    """Of a class of its user that inherits from one of `tf_keras`."""
    names = {"__module__": "tf_keras.src.engine.training"}
    return type("Own", (type("Sequential", (), names),), {})()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "Expected a keras.Model. Received: None"),
        (keras.Model, "Expected a keras.Model.*Make an object of this class"),
        (layers.BatchNormalization(), "Expected a keras.Model.*make a model with it"),
        (keras.Sequential([layers.BatchNormalization()]), r"is not built.*\.build"),
        (legacy_model(), r"legacy Keras.*`tf_keras`.*TF_USE_LEGACY_KERAS=1"),
        (type(legacy_model()), r"legacy Keras.*`tf_keras`"),
    ],
    ids=["None", "class", "layer", "not built", "legacy Keras", "its class"],
)
def test_what_is_no_model(model, message):
    check(convert, ValueError, message, model)


@pytest.mark.parametrize(
    "call",
    [
        *(convert, revert, normalization_paths),
        lambda model: set_example_weight(model, 0.5),
        lambda model: sweep_example_weight(model, X, verbose=0),
        lambda model: recalibrate(model, X, verbose=0),
        lambda model: discrepancy(model, X, verbose=0),
        lambda model: exclude_from_weight_decay(adamw(), model),
    ],
)
def test_a_path_is_no_model(call):
    message = "Received: 'model.keras'.*keras.models.load_model"
    check(call, ValueError, message, "model.keras")


@cases(
    (lambda t: convert(t.none), "no batch normalization layer to convert"),
    (lambda t: convert(t.renorm, ghost_batch_size=4), "nothing was changed.*`renorm`"),
    (lambda t: convert(t.subclassed), "rebuild model.*`get_config`.*in_place=True"),
    *[
        (lambda t, c=call, v=value: c(t.model, in_place=v), "`in_place` must be True o")
        for call in (convert, revert)
        for value in ("no", None, 2)
    ],
    (lambda t: revert(t.plain), r"no layer of keras_bn4 to revert.*convert"),
    (lambda t: revert(t.model), r"would change predictions.*example_weight=0\.1.*forc"),
    (lambda t: revert(t.grouped), r"would change predictions.*groups=2"),
    (lambda t: revert(t.model, force="yes"), "`force` must be True or False"),
    (lambda t: set_example_weight(t.plain, 0.1), "no layer of keras_bn4.*convert"),
    *[
        (lambda t, v=value: set_example_weight(t.model, v), "a number from 0 .* to 1")
        for value in (2, -0.1, "a", None, True, NAN, [1.1], np.array(0.1))
    ],
)
def test_models_that_do_not_fit(things, call, error, message):
    check(call, error, message, things)


# The sweep of the example weight.


def sweep(things, x, y=None, **arguments):
    arguments = {"verbose": 0, "example_weights": [0.3], **arguments}
    return sweep_example_weight(things.model, x, y, **arguments)


@arguments(
    ("example_weights", "a sequence of num", "a", 0.1, None),
    ("example_weights", "a number from 0", [2], ["a"], [None]),
    ("mode", '"min", "max", None', "best", {"loss": "best"}, 3),
    ("mode", r"\['recall'\].*\['loss', 'accuracy'\]", {"recall": "max"}),
    ("batch_size", "an integer from 1 upwards", 0, 2.5, "a"),
    ("steps", "an integer from 1 upwards", 0, -1, True),
    ("verbose", '0 for silence, or 1, 2 or "auto"', "no", None),
    ("sample_weight", "12 in `y`, 5 in `sample_weight`", np.ones(5)),
    ("sample_weight", r"`sample_weight` must be an array.*asarray", [1.0] * 12),
)
def test_arguments_of_the_sweep(things, arguments, message):
    check(lambda: sweep(things, things.x, things.y, **arguments), ValueError, message)


def repeated(things):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensors((things.x, things.y)).repeat()


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
    (lambda t: sweep(t, repeated(t)), r"no end. Say how many batches.*`steps`"),
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
    (lambda t: sweep_example_weight(t.uncompiled, t.x, t.y), "is not compiled.*comp"),
    (lambda t: sweep_example_weight(t.plain, t.x, t.y), "Convert it first"),
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
def test_sweeps(things, call, error, message):
    check(call, error, message, things)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX gives NaN")
@pytest.mark.parametrize("shift", [7, -7])
def test_labels_out_of_range_in_the_sweep(things, shift):
    with pytest.raises(ValueError, match=r"cannot be evaluated.*Give labels that fit"):
        sweep(things, things.x, things.y + shift)


def test_a_metric_without_a_direction(things):
    model = network(GhostBatchNormalization())
    mean = keras.metrics.MeanMetricWrapper(lambda y, p: p[..., 0], name="first")
    model.compile(loss=model.loss, metrics=[mean])
    found = sweep_example_weight(model, things.x, things.y, verbose=0)
    with pytest.raises(
        ValueError, match=r"'first' does not say.*mode={'first': 'min'}"
    ):
        found.best("first")
    assert found.best("loss")


# The callback.


@arguments(
    ("metric", "`metric` must be the name", 3, ["loss"], None),
    ("example_weights", "must be a sequence", "a"),
    ("example_weights", "a number from 0", [2]),
    ("every_epoch", "must be True or False", "no", None),
    ("mode", '"min", "max", None', "best"),
    ("batch_size", "batch_size=0", 0),
    ("steps", "steps=-1", -1),
    ("verbose", "verbose='loud'", "loud"),
    ("validation_data", "Expected arrays", None, "data", 3),
    ("validation_data", "a tuple of length 0", ()),
    ("validation_data", r"tuple \(x, y\) or.*a tuple of length 4", (X, X, X, X)),
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
    (lambda t: (t.model, t.x[..., :1], {}), "cannot be called.*The model is unchange"),
    (lambda t: (t.model, t.x[0], {}), "cannot be called on a batch of these data"),
    (lambda t: (t.model, (t.x, t.y), {}), "cannot be called on.*without labels"),
)
def test_moving_statistics(things, function, call, error, message):
    model, data, arguments = call(things)
    check(lambda: function(model, data, **{"verbose": 0, **arguments}), error, message)


def test_too_few_examples_to_recalibrate(things):
    with pytest.raises(ValueError, match=r"fewer than two.*The model is unchanged"):
        recalibrate(things.vectors, np.ones((1, 3)), verbose=0)


# Weight decay.


def adamw(built_for=None):
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    if built_for is not None:
        optimizer.build(built_for.trainable_variables)
    return optimizer


exclude = exclude_from_weight_decay


@cases(
    (lambda t: exclude("adamw", t.plain), "keras.optimizers.Optimizer.*'adamw'"),
    (lambda t: exclude(keras.optimizers.AdamW, t.plain), "Expected a keras.optimizers"),
    (lambda t: exclude(t.plain, adamw()), "Expected a keras.optimizers.Optimizer"),
    (lambda t: exclude(adamw(t.plain), t.plain), "is built.*Make a new optimizer"),
    (lambda t: exclude(keras.optimizers.SGD(), t.plain), "no weight decay.*Set `weigh"),
    (lambda t: exclude(adamw(), t.none), "no normalizer with γ or β. Pass a model"),
    (lambda t: exclude(adamw(), t.subclassed, decay="open"), "whose graph Keras does"),
    (lambda t: exclude(adamw(), t.plain, decay="some"), '"all", "none", one of.*some'),
    (lambda t: exclude(adamw(), t.plain, decay=None), '"all", "none", one of.*None'),
    (lambda t: exclude(adamw(), t.plain, decay=3), '"all", "none", one of.*decay=3'),
    (lambda t: exclude(adamw(), t.plain, decay=("open", "x")), "a tuple of these kind"),
    (lambda t: exclude(adamw(), t.plain, decay=["all"]), "a tuple of these kinds"),
    (lambda t: normalization_paths(t.subclassed), "Pass a Functional or Sequential mo"),
    (lambda t: normalization_paths(t.plain).layers("x"), r"'closed'\).*\['x'\]"),
    (lambda t: CenteredL2(-1), "`l2`.*finite and non-negative number.*l2=-1"),
    (lambda t: CenteredL2("a"), "`l2`.*finite and non-negative number"),
    (lambda t: CenteredL2(True), "`l2`.*finite and non-negative number"),
    (lambda t: CenteredL2(center=None), "`center` must be a finite number"),
    (lambda t: CenteredL2(center=NAN), "`center` must be a finite number"),
    (lambda t: CenteredL2(center=float("inf")), "`center` must be a finite number"),
)
def test_weight_decay(things, call, error, message):
    check(call, error, message, things)


@pytest.mark.parametrize(("name", "value"), [("l2", -1), ("center", "a")])
def test_attributes_of_the_regularizer(name, value):
    regularizer = CenteredL2(0.1, center=0.5)
    with pytest.raises(ValueError, match=f"`{name}` must be a finite"):
        setattr(regularizer, name, value)
    assert regularizer.get_config() == {"l2": 0.1, "center": 0.5}


# The command line.


@pytest.fixture(scope="module")
def files(tmp_path_factory, things):
    """A folder with models and data; commands must write nothing into it."""
    folder = tmp_path_factory.mktemp("files")
    things.plain.save(folder / "model.keras")
    inputs = keras.Input((4, 4, 2))
    hidden = layers.Flatten()(layers.BatchNormalization()(inputs))
    two = keras.Model(inputs, [layers.Dense(3)(hidden), layers.Dense(2)(hidden)])
    two.save(folder / "two.keras")
    (folder / "foreign.keras").write_text("no model")
    (folder / "empty.keras").write_bytes(b"")
    x, y = things.x, things.y
    for name, arrays in {
        "data": {"x": x, "y": y},
        "out_of_range": {"x": x, "y": y + 7},
        "negative": {"x": x, "y": y - 7},
        "one": {"x": x[:1], "y": y[:1]},
        "lengths": {"x": x, "y": y[:5]},
        "shape": {"x": x[..., :1], "y": y},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
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
                ("one", "1 example.*at least two"),
                ("lengths", r"equally many examples.*y\.shape=\(5,\)"),
                ("missing", "Cannot read.*No such file"),
                ("shape", r"cannot be called on these examples, of shape \(4, 4, 1\)"),
            )
        ],
        (["sweep", "FILES/two.keras", *DATA], "2 outputs.*sweep_example_weight"),
        (["sweep", "FILES/missing.keras", *DATA], "there is no such file"),
        (["sweep", "FILES/foreign.keras", *DATA], "truncated, or no Keras model"),
        (["sweep", "FILES/empty.keras", *DATA], "truncated, or no Keras model"),
        (["sweep", "FILES", *DATA], "Cannot load"),
        (["sweep", MODEL, *DATA, "--split", "test"], "has no splits"),
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


def test_an_unknown_metric_is_reported_at_the_first_batch(run, monkeypatch):
    swept = []

    def sweep(model, x, y, **arguments):
        swept.append(len(x))
        return sweep_example_weight(model, x, y, **arguments)

    monkeypatch.setattr(sweep_command, "sweep_example_weight", sweep)
    arguments = ("--metric", "recall", "--batch-size", 2)
    status, error = run("sweep", MODEL, *DATA, *arguments)
    assert (status, swept) == (1, [2])
    assert error.startswith("error: Unknown metrics ['recall']")

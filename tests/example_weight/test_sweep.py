import csv
import math
import pathlib

import keras
import numpy as np
import pytest
from keras import layers

import keras_bn4
from keras_bn4 import (
    ExampleWeightTuning,
    GhostBatchNormalization,
    convert,
    set_example_weight,
    sweep_example_weight,
)

BACKEND = keras.backend.backend()
WEIGHTS = [0.0, 0.1, 0.5]
PRETRAINED = pathlib.Path(__file__).parents[3] / "shared/pretrained"


class CountTraces(layers.Layer):
    traces = 0

    def call(self, inputs):
        type(self).traces += 1
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def classifier(**compile_arguments):
    inputs = keras.Input((6, 6, 2))
    hidden = layers.Conv2D(4, 3, kernel_regularizer="l2")(CountTraces()(inputs))
    hidden = layers.ReLU()(GhostBatchNormalization(ghost_batch_size=4)(hidden))
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(inputs, outputs)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **{"metrics": ["accuracy"], **compile_arguments},
    )
    return model


def two_outputs():
    inputs = keras.Input((6, 6, 2))
    hidden = GhostBatchNormalization()(inputs)
    hidden = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(hidden))
    model = keras.Model(
        inputs,
        [
            layers.Dense(3, activation="softmax", name="kind")(hidden),
            layers.Dense(1, activation="sigmoid", name="odd")(hidden),
        ],
    )
    model.compile(
        loss={"kind": "sparse_categorical_crossentropy", "odd": "binary_crossentropy"},
        loss_weights={"kind": 1.0, "odd": 0.3},
        metrics={"kind": ["accuracy"], "odd": [keras.metrics.AUC(name="auc")]},
        weighted_metrics={"odd": ["mae"]},
    )
    return model


@pytest.fixture
def data(rng):
    x = rng.normal(1, 2, (70, 6, 6, 2)).astype("float32")
    return x, rng.integers(0, 3, 70)


def assert_rows_are_evaluations(model, sweep, *arguments, **keywords):
    for row in sweep.rows:
        set_example_weight(model, row["example_weight"])
        expected = model.evaluate(*arguments, **keywords, verbose=0, return_dict=True)
        assert set(expected) == set(sweep.metrics)
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    set_example_weight(model, 0)


def test_rows_are_what_evaluate_says(data):
    model = classifier(
        metrics=[
            "accuracy",
            keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2"),
        ]
    )
    sweep = sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    assert [row["example_weight"] for row in sweep.rows] == WEIGHTS
    assert sweep.metrics == ["loss", "accuracy", "top2"]
    assert_rows_are_evaluations(model, sweep, *data)


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_of_two_outputs_with_and_without_sample_weights(data, rng, weighted):
    x, kind = data
    y = [kind, (kind % 2).astype("float32")[:, None]]
    weights = [w.astype("float32") for w in rng.uniform(size=(2, 70))]
    model = two_outputs()
    keywords = {"sample_weight": weights} if weighted else {}
    sweep = sweep_example_weight(
        model, x, y, example_weights=WEIGHTS, verbose=0, **keywords
    )
    assert_rows_are_evaluations(model, sweep, x, y, **keywords)
    row = sweep.rows[1]
    # On TensorFlow, Keras gives the short last batch the weight of a whole one in the
    # losses of single outputs.
    if BACKEND != "tensorflow":
        total = row["kind_loss"] + 0.3 * row["odd_loss"]
        assert total == pytest.approx(row["loss"], 1e-5)
    assert math.isnan(row["odd_auc_difference_lower"])
    assert not math.isnan(row["odd_mae_difference_lower"])


def test_outputs_by_name(data):
    x, kind = data
    y = {"kind": kind, "odd": (kind % 2).astype("float32")[:, None]}
    model = two_outputs()
    sweep = sweep_example_weight(model, x, y, example_weights=[0.2], verbose=0)
    assert_rows_are_evaluations(model, sweep, x, y)


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_other_reductions(data, rng, reduction):
    weights = rng.uniform(0.5, 1, 70).astype("float32")
    model = classifier()
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(True, reduction=reduction)
    )
    sweep = sweep_example_weight(
        model, *data, sample_weight=weights, example_weights=[0.2], verbose=0
    )
    assert_rows_are_evaluations(model, sweep, *data, sample_weight=weights)


def test_masks_reach_losses_and_metrics(rng):
    inputs = keras.Input((5, 3))
    hidden = GhostBatchNormalization()(layers.Masking()(inputs))
    model = keras.Model(inputs, layers.Dense(2)(hidden))
    model.compile(loss="mse", metrics=["mae"])
    x = rng.normal(size=(40, 5, 3)).astype("float32")
    x[::3, 3:] = 0
    y = rng.normal(size=(40, 5, 2)).astype("float32")
    sweep = sweep_example_weight(model, x, y, example_weights=[0.2], verbose=0)
    assert_rows_are_evaluations(model, sweep, x, y)


def example_values(model, x, y, weight):
    set_example_weight(model, weight)
    logits = model.predict(x, verbose=0).astype("float64")
    set_example_weight(model, 0)
    log = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -log[np.arange(len(y)), y], (logits.argmax(-1) == y).astype("float64")


def test_intervals_are_those_of_the_mean_paired_difference(data):
    model = classifier()
    sweep = sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    at_zero = example_values(model, *data, 0.0)
    at_half = example_values(model, *data, 0.5)
    for metric, before, after in zip(("loss", "accuracy"), at_zero, at_half):
        difference = after - before
        half = 1.959964 * difference.std(ddof=1) / math.sqrt(len(difference))
        row = sweep.rows[2]
        expected = [difference.mean() + d for d in (0, -half, half)]
        actual = [row[f"{metric}_difference{e}"] for e in ("", "_lower", "_upper")]
        np.testing.assert_allclose(actual, expected, atol=2e-6)
    zero = sweep.rows[0]
    assert zero["loss_difference_lower"] == zero["loss_difference_upper"] == 0


def test_sample_weights_weigh_in_the_interval(data, rng):
    weights = rng.uniform(size=70)
    model = classifier(metrics=[], weighted_metrics=["accuracy"])
    sweep = sweep_example_weight(
        model, *data, sample_weight=weights, example_weights=[0.5], verbose=0
    )
    d = example_values(model, *data, 0.5)[1] - example_values(model, *data, 0.0)[1]
    mean = (weights * d).sum() / weights.sum()
    error = np.sqrt((weights**2 * (d - mean) ** 2).sum() * 70 / 69) / weights.sum()
    row = sweep.rows[1]
    assert row["accuracy_difference"] == pytest.approx(mean, abs=1e-6)
    width = row["accuracy_difference_upper"] - row["accuracy_difference_lower"]
    assert width == pytest.approx(2 * 1.959964 * error, rel=1e-5)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(24 * index, 24 * index + 24)
        return self.x[rows], self.y[rows]


def test_data_sets_give_the_same_rows(data):
    model = classifier()
    expected = sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    halves = ((data[0][rows], data[1][rows]) for rows in (slice(40), slice(40, 70)))
    sources = [Batches(*data), halves]
    if BACKEND != "torch":
        import tensorflow as tf

        sources.append(tf.data.Dataset.from_tensor_slices(data).batch(32))
    for source in sources:
        sweep = sweep_example_weight(model, source, example_weights=WEIGHTS, verbose=0)
        for row, expected_row in zip(sweep.rows, expected.rows):
            for name, value in row.items():
                assert value == pytest.approx(expected_row[name], abs=1e-5)


def test_shuffling_data_are_read_once(data):
    tf = pytest.importorskip("tensorflow")
    data_set = tf.data.Dataset.from_tensor_slices(data).shuffle(70).batch(32)
    model = classifier()
    sweep = sweep_example_weight(model, data_set, example_weights=[0.0, 0.1], verbose=0)
    expected = sweep_example_weight(model, *data, example_weights=[0.1], verbose=0)
    for name in ("loss_difference", "loss_difference_lower"):
        assert sweep.rows[1][name] == pytest.approx(expected.rows[1][name], abs=1e-6)


def test_steps_and_endless_data(data):
    tf = pytest.importorskip("tensorflow")
    model = classifier()
    endless = tf.data.Dataset.from_tensor_slices(data).batch(10).repeat()
    with pytest.raises(ValueError, match="steps"):
        sweep_example_weight(model, endless, verbose=0)
    some = sweep_example_weight(
        model, endless, steps=7, example_weights=[0.1], verbose=0
    )
    same = sweep_example_weight(model, *data, example_weights=[0.1], verbose=0)
    assert some.rows[1]["loss"] == pytest.approx(same.rows[1]["loss"], rel=1e-5)
    fewer = sweep_example_weight(
        model, *data, steps=1, batch_size=8, example_weights=[0.1], verbose=0
    )
    first = sweep_example_weight(
        model, data[0][:8], data[1][:8], example_weights=[0.1], verbose=0
    )
    assert fewer.rows[1]["loss"] == pytest.approx(first.rows[1]["loss"], rel=1e-5)


@pytest.mark.skipif(BACKEND == "torch", reason="nothing is traced in PyTorch")
def test_one_trace_for_all_weights(data):
    model = classifier()
    x, y = data[0][:64], data[1][:64]
    model.evaluate(x, y, verbose=0)  # Keras infers the shapes of metrics.
    CountTraces.traces = 0
    sweep_example_weight(model, x, y, example_weights=[0.1, 0.2, 0.3], verbose=0)
    assert CountTraces.traces == 1
    if BACKEND == "tensorflow":  # One more for a shorter last batch.
        CountTraces.traces = 0
        sweep_example_weight(model, *data, example_weights=[0.1], verbose=0)
        assert CountTraces.traces == 2


def test_best_follows_each_metrics_own_direction(data):
    model = classifier()
    sweep = sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    losses = [row["loss"] for row in sweep.rows]
    accuracies = [row["accuracy"] for row in sweep.rows]
    assert sweep.best("loss")["loss"] == min(losses)
    assert sweep.best()["loss"] == min(losses)
    assert sweep.best("accuracy")["accuracy"] == max(accuracies)
    other = sweep_example_weight(
        model, *data, example_weights=WEIGHTS, mode={"accuracy": "min"}, verbose=0
    )
    assert other.best("accuracy")["accuracy"] == min(accuracies)
    assert other.best("loss")["loss"] == min(losses)


def test_metric_without_a_direction_needs_a_mode(data):
    def confidence(y_true, y_pred):
        return keras.ops.max(y_pred, axis=-1)

    model = classifier(metrics=[confidence])
    sweep = sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    with pytest.raises(ValueError, match="mode="):
        sweep.best("confidence")
    sweep = sweep_example_weight(
        model, *data, example_weights=WEIGHTS, mode={"confidence": "max"}, verbose=0
    )
    values = [row["confidence"] for row in sweep.rows]
    assert sweep.best("confidence")["confidence"] == max(values)


def test_the_model_is_left_as_it_was(data):
    model = classifier()
    set_example_weight(model, 0.3)
    model.evaluate(*data, verbose=0)
    metrics = model.get_metrics_result()
    sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    assert model.layers[3].example_weight == 0.3
    for name, value in model.get_metrics_result().items():
        assert float(value) == float(metrics[name])

    def interrupted():
        yield data[0][:8], data[1][:8]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_example_weight(model, interrupted(), verbose=0)
    assert model.layers[3].example_weight == 0.3


def test_a_second_sweep_of_a_model_at_once_is_refused(data):
    model = classifier(run_eagerly=True)

    def batches():
        with pytest.raises(RuntimeError, match="is being swept already"):
            sweep_example_weight(model, *data, verbose=0)
        yield data

    sweep = sweep_example_weight(model, batches(), example_weights=[0.1], verbose=0)
    again = sweep_example_weight(
        model, *data, example_weights=[0.1], batch_size=70, verbose=0
    )
    assert sweep.rows[1]["loss"] == pytest.approx(again.rows[1]["loss"], rel=1e-6)


def test_an_unknown_metric_is_an_error_before_the_second_batch(data):
    read = []

    def batches():
        for start in range(0, 70, 10):
            read.append(start)
            yield tuple(array[start : start + 10] for array in data)

    with pytest.raises(ValueError, match="recall"):
        sweep_example_weight(classifier(), batches(), mode={"recall": "max"}, verbose=0)
    # Keras reads a batch ahead to learn the shapes.
    assert len(read) <= 2


def test_table_csv_and_plot(tmp_path, data):
    model = classifier()
    sweep = sweep_example_weight(model, *data, example_weights=WEIGHTS, verbose=0)
    assert str(sweep).splitlines()[0].split() == ["example_weight", "loss", "accuracy"]
    sweep.to_csv(tmp_path / "sweep.csv")
    with open(tmp_path / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in sweep.rows]
    figure = sweep.plot()
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "sweep.png")


def test_progress_is_shown_unless_silenced(data, capsys):
    model = classifier()
    sweep_example_weight(model, *data, example_weights=[0.1], verbose=0)
    assert capsys.readouterr().out == ""
    sweep_example_weight(model, *data, example_weights=[0.1])
    assert "step 3 of 3" in capsys.readouterr().out


def uncompiled():
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, GhostBatchNormalization()(inputs))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"example_weights": [0.1, 1.5]}, "1.5"),
        ({"example_weights": ["0.1"]}, "'0.1'"),
        ({"example_weights": [float("nan")]}, "nan"),
        ({"mode": "up"}, "'up'"),
        ({"mode": {"recall": "max"}}, r"recall.*accuracy"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"y": None}, "no labels"),
        ({"y": np.zeros(3)}, r"(?s)same number of examples.*70.*3"),
        ({"x": np.zeros((0, 6, 6, 2)), "y": np.zeros(0)}, "empty"),
        ({"x": [], "y": None}, "empty"),
        ({"x": 5, "y": None}, "x=5"),
        ({"x": iter([(1, 2)])}, "`y` should not be passed"),
    ],
)
def test_bad_arguments(data, keywords, message):
    model = classifier()
    arguments = {"x": data[0], "y": data[1], "verbose": 0, **keywords}
    with pytest.raises(ValueError, match=message):
        sweep_example_weight(model, **arguments)
    assert model.layers[3].example_weight == 0


def test_unfit_models(data):
    with pytest.raises(ValueError, match="isn't compiled"):
        sweep_example_weight(uncompiled(), *data)
    inputs = keras.Input((6, 6, 2))
    plain = keras.Model(inputs, layers.BatchNormalization()(inputs))
    with pytest.raises(ValueError, match=r"keras_bn4\.convert"):
        sweep_example_weight(plain, *data)
    with pytest.raises(ValueError, match=r"keras_bn4\.convert"):
        set_example_weight(plain, 0.1)
    sweep = sweep_example_weight(classifier(), *data, example_weights=[], verbose=0)
    with pytest.raises(ValueError, match=r"'recall'.*\['loss', 'accuracy'\]"):
        sweep.best("recall")


def test_set_example_weight_is_all_or_nothing():
    model = two_outputs()
    for bad in (-0.1, 1.1, float("nan"), "0.1", True, None):
        with pytest.raises(ValueError, match="example_weight"):
            set_example_weight(model, bad)
    assert model.layers[1].example_weight == 0


def test_callback_logs_the_best_and_sets_it(data):
    model = classifier(optimizer="adam")
    tuning = ExampleWeightTuning(data, example_weights=WEIGHTS)
    stop = keras.callbacks.EarlyStopping(
        "val_loss_at_best_example_weight", patience=9, mode="min"
    )
    history = model.fit(
        *data, epochs=3, validation_data=data, callbacks=[tuning, stop], verbose=0
    ).history
    assert stop.best == min(history["val_loss_at_best_example_weight"])
    for best, at_zero in zip(
        history["val_loss_at_best_example_weight"], history["val_loss"]
    ):
        assert best <= at_zero + 1e-5
    assert set(history["best_example_weight"]) <= set(WEIGHTS)
    best = tuning.sweep.best("loss")
    assert model.layers[3].example_weight == best["example_weight"]
    evaluated = model.evaluate(*data, verbose=0, return_dict=True)
    assert evaluated["loss"] == pytest.approx(best["loss"], rel=1e-5)


def test_a_checkpoint_after_the_callback_is_as_good_as_what_it_monitors(data, tmp_path):
    model = classifier(optimizer="adam")
    set_example_weight(model, 0.05)
    path = tmp_path / "best.keras"
    name = "val_loss_at_best_example_weight"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor=name, mode="min", save_best_only=True
    )
    tuning = ExampleWeightTuning(data, example_weights=[0.3, 0.6])
    at_begin = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: at_begin.append(
            model.layers[3].example_weight
        )
    )
    history = model.fit(
        *data, epochs=3, callbacks=[tuning, checkpoint, watch], verbose=0
    ).history
    assert set(at_begin) == {0.05}
    loaded = keras.models.load_model(path, {"CountTraces": CountTraces})
    best = int(np.argmin(history[name]))
    assert loaded.layers[3].example_weight == history["best_example_weight"][best]
    assert loaded.evaluate(*data, verbose=0, return_dict=True)["loss"] == pytest.approx(
        history[name][best], rel=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": 3}, "metric=3"),
        ({"mode": "up"}, "'up'"),
        ({"example_weights": 0.1}, "example_weights=0.1"),
        ({"example_weights": [2]}, "example_weight=2"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"steps": "all"}, "steps='all'"),
    ],
)
def test_arguments_of_the_callback_are_checked_when_it_is_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExampleWeightTuning((np.zeros(3), np.zeros(3)), **arguments)


def test_an_unknown_metric_of_the_callback_is_an_error_in_the_first_epoch(data):
    model = classifier(optimizer="adam")
    with pytest.raises(ValueError, match=r"'recall'.*\['loss', 'accuracy'\]"):
        model.fit(*data, callbacks=[ExampleWeightTuning(data, "recall")], verbose=0)


def test_callback_at_train_end_only_and_by_accuracy(data):
    model = classifier(optimizer="adam")
    tuning = ExampleWeightTuning(
        data, "accuracy", example_weights=WEIGHTS, every_epoch=False
    )
    history = model.fit(*data, epochs=2, callbacks=[tuning], verbose=0).history
    assert "best_example_weight" not in history
    best = tuning.sweep.best("accuracy")
    assert model.layers[3].example_weight == best["example_weight"]


@pytest.mark.slow
@pytest.mark.skipif(
    not PRETRAINED.exists(), reason=f"no trained networks in {PRETRAINED}"
)
@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch takes no dots in its names")
def test_a_trained_network_gains():
    data_dir = PRETRAINED.parent / "tfds"
    x, y = keras_bn4.datasets.load("cifar100", "test[:1000]", data_dir=data_dir)
    original = keras.models.load_model(PRETRAINED / "resnet8_cifar100.keras")
    model = convert(original)
    expected, actual = (m.predict(x[:100], verbose=0) for m in (original, model))
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(actual.argmax(-1), expected.argmax(-1))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    sweep = sweep_example_weight(
        model, x, y, example_weights=[0.03], batch_size=250, verbose=0
    )
    assert sweep.rows[1]["loss_difference_upper"] < 0

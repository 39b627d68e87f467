"""`evaluate_shifts` against `evaluate` on the same corrupted images."""

import gc
import json
import weakref

import keras
import numpy as np
import pytest

import keras_bn4
from keras_bn4 import shift
from keras_bn4.shift import evaluator

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Activation("relu")(keras_bn4.GhostBatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(keras_bn4.GhostBatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    return model


@pytest.fixture
def data(rng):
    return rng.integers(0, 256, (20, 12, 12, 3)).astype("uint8"), np.arange(20) % 3


def darker(images):
    return images // 4


def clean(images):
    return images


SMALL = {"example_weights": [0.5], "severities": [2], "batch_size": 8, "verbose": 0}


def test_rows_are_those_of_evaluate(model, data):
    x, y = data
    falling = {"schedule": "falling", "example_weight": 0.4}
    found = keras_bn4.evaluate_shifts(
        model,
        x,
        y,
        **SMALL | {"example_weights": [0.5, falling], "severities": [2, 5]},
        kinds=["contrast", darker],
        recalibrate_on=x[:8],
        prior=4,
    )
    images = {
        ("clean", 0): x,
        ("contrast", 2): shift.corrupt(x, "contrast", 2),
        ("contrast", 5): shift.corrupt(x, "contrast", 5),
        ("darker", None): x // 4,
    }
    others = {cell: changed[:8] for cell, changed in images.items()}
    before = model.get_weights()
    assert len(found.rows) == 4 * 4
    for row in found.rows:
        cell = row["kind"], row["severity"]
        if row["recalibrated_on"]:
            assert row["recalibrated_on"] == 8
            keras_bn4.recalibrate(model, others[cell], prior=4, verbose=0)
        keras_bn4.set_example_weight(model, row)
        expected = model.evaluate(images[cell], y, verbose=0, return_dict=True)
        keras_bn4.set_example_weight(model, 0)
        model.set_weights(before)
        for metric, value in expected.items():
            assert row[metric] == pytest.approx(value, abs=1e-5)


def test_intervals_are_paired_over_images_each_with_its_mean_over_shifts(model, data):
    x, y = data
    kinds = ["contrast", "fog"]
    found = keras_bn4.evaluate_shifts(model, x, y, **SMALL, kinds=kinds)
    losses = []
    for kind in kinds:
        changed = shift.corrupt(x, kind, 2)
        if kind == "fog":  # Its clouds are drawn for each batch by itself.
            parts = [(x[i : i + 8], i) for i in (0, 8, 16)]
            changed = [shift.corrupt(part, kind, 2, seed=i) for part, i in parts]
            changed = np.concatenate(changed)
        for weight in (0, 0.5):
            keras_bn4.set_example_weight(model, weight)
            logits = model.predict(changed, verbose=0).astype("float64")
            logits -= logits.max(1, keepdims=True)
            log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            losses.append(-log[range(20), y])
        keras_bn4.set_example_weight(model, 0)
    contrast0, contrast1, fog0, fog1 = losses
    changes = (contrast1 - contrast0 + fog1 - fog0) / 2
    (_, row) = found.mean()
    half = 1.96 * changes.std(ddof=1) / 20**0.5
    assert row["loss_difference"] == pytest.approx(changes.mean(), abs=1e-5)
    upper = row["loss_difference_upper"]
    assert upper - row["loss_difference"] == pytest.approx(half, rel=1e-3)
    assert found.mean(kinds=["fog"], severities=[2])[1]["loss"] == pytest.approx(
        fog1.mean(), abs=1e-5
    )


def test_an_interrupted_evaluation_goes_on(model, data, tmp_path, capsys):
    path = tmp_path / "shifts.json"
    arguments = {**SMALL, "kinds": ["fog", darker, "gaussian_noise"], "output": path}
    whole = keras_bn4.evaluate_shifts(model, *data, **arguments)
    records = json.loads(path.read_text())
    path.write_text(json.dumps(records[:2]))
    again = keras_bn4.evaluate_shifts(model, *data, **arguments)
    assert again.rows == whole.rows
    assert json.loads(path.read_text()) == records

    # What is finished is read, whatever the model would say now.
    def unused(images):
        raise AssertionError

    unused.__name__ = "darker"
    arguments["kinds"] = ["fog", unused, "gaussian_noise"]
    assert keras_bn4.evaluate_shifts(model, *data, **arguments).rows == whole.rows
    # Other images have results of their own.
    x, y = data
    other = keras_bn4.evaluate_shifts(model, x[::-1], y, **arguments | {"kinds": []})
    assert other.rows != whole.rows[:2]


class Batches(keras.utils.PyDataset):
    num_batches = 3

    def __init__(self, x, y, rng=None):
        super().__init__()
        self.data, self.rng = (x, y), rng

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        if self.rng is not None:
            rows = self.rng.permutation(len(self.data[0]))[rows]
        return tuple(part[rows] for part in self.data)


STREAMED = SMALL | {"batch_size": None}


def test_other_images_and_another_preprocessing_have_records_of_their_own(
    model, data, tmp_path
):
    x, y = data
    keywords = {**SMALL, "kinds": [darker], "output": tmp_path / "shifts.json"}
    # The first batch is the same.
    few = keras_bn4.evaluate_shifts(model, x[:16], y[:16], **keywords)
    every = keras_bn4.evaluate_shifts(model, x, y, **keywords)
    assert (few.count, every.count) == (16, 20)
    inverted = keras_bn4.evaluate_shifts(
        model, x, y, preprocess=lambda images: 255 - images, **keywords
    )
    assert inverted.rows[0]["loss"] != every.rows[0]["loss"]
    # So has another metric.
    ranked = keras.metrics.SparseTopKCategoricalAccuracy(2)
    model.compile(loss=model.loss, metrics=["accuracy", ranked])
    others = keras_bn4.evaluate_shifts(model, x, y, **keywords)
    assert others.rows[0].keys() > every.rows[0].keys()
    model.compile(loss=model.loss, metrics=["accuracy"])
    # Numbers of NumPy are written as well.
    keywords["severities"] = np.arange(2, 3)
    again = keras_bn4.evaluate_shifts(model, x, y, highest=np.uint8(255), **keywords)
    assert again.rows == every.rows


def test_no_batch_stays_in_memory(model, data):
    batches = []

    def watched(images):
        images = images.copy()
        batches.append(weakref.ref(images))
        return images

    keras_bn4.evaluate_shifts(
        model,
        *data,
        **SMALL,
        kinds=["contrast", darker],
        preprocess=watched,
        recalibrate_on=data[0][:4],
    )
    gc.collect()
    assert len(batches) > 3 * 2 * 3
    assert not [batch for batch in batches if batch() is not None]


def test_half_precision_weights_have_a_digest(data):
    bfloat16 = keras.ops.convert_to_tensor(data[1][:2], "bfloat16")
    assert evaluator.digest([bfloat16]) != evaluator.digest([bfloat16[:1]])


def test_shifted_images_need_others_where_there_is_a_recalibration(model, data):
    arguments = {"recalibrate_on": data[0][:4], "shifted": lambda *_: data}
    with pytest.raises(ValueError, match=r"`\(x, y, recalibrate_on\)`.*2 items"):
        keras_bn4.evaluate_shifts(model, *data, **SMALL, **arguments, kinds=["fog"])


def test_batches_preprocessing_and_images_that_are_shifted_already(model, data):
    x, y = data
    expected = keras_bn4.evaluate_shifts(model, x, y, **SMALL, kinds=["fog", darker])
    theirs = Batches(darker(x) / 255, y), None
    found = keras_bn4.evaluate_shifts(
        model,
        Batches(x / 255, y),
        **STREAMED,
        highest=1,
        preprocess=lambda images: 255 * images,
        kinds=["fog", "theirs"],
        shifted=lambda kind, severity: None if kind == "fog" else theirs,
    )
    for row, of_array in zip(found.rows, expected.rows):
        # Fractions of a shade are kept.
        assert row["loss"] == pytest.approx(of_array["loss"], abs=0.02)


def test_tables_and_figures(model, data, tmp_path):
    kinds = [kind for kind in shift.kinds(12) if "noise" not in kind] + [darker]
    found = keras_bn4.evaluate_shifts(model, *data, **SMALL, kinds=kinds)
    table = str(found)
    assert max(map(len, table.splitlines())) <= 80
    (row,) = [row for row in found.rows if row["kind"] == "darker"][1:]
    change = 100 * row["accuracy_difference"]
    assert f"{change:+.1f} ± " in table.split("darker")[1].splitlines()[0]
    shown = found._repr_html_()
    assert shown.count("<table>") == len(found.metrics)
    assert f"<td>{change:+.1f} ± " in shown.split("<td>darker</td>")[1]
    found.plot().savefig(tmp_path / "shifts.png")
    assert (tmp_path / "shifts.png").stat().st_size > 10_000
    found.to_csv(tmp_path / "shifts.csv")
    lines = (tmp_path / "shifts.csv").read_text().splitlines()
    assert len(lines) == 1 + len(found.rows)
    frame = pytest.importorskip("pandas") and found.to_dataframe()
    assert list(frame["kind"]) == [row["kind"] for row in found.rows]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ["frost"]}, "'contrast'.*Received: kind='frost', severity=2"),
        ({"severities": [0]}, "Received: kind='gaussian_noise', severity=0"),
        ({"kinds": [darker, darker]}, "names of their own"),
        ({"kinds": [clean]}, "other than 'clean'"),
        ({"example_weights": [2]}, "from 0 .* to 1 .*Received: example_weight=2"),
        ({"example_weights": 0.1}, "list of numbers"),
        ({"kinds": "fog"}, "list of names or functions. Received: kinds='fog'"),
        ({"prior": 0}, "`prior` must be positive"),
        ({"highest": 100}, "highest=100.*reach from 0 to 255"),
        ({"kinds": [lambda images: images[:1]]}, r"shape.*Received: \(1, 12"),
        ({"x": np.zeros((5, 12, 12))}, r"Received: an array of shape \(5, 12, 12\)"),
        ({"x": np.zeros((0, 12, 12, 3))}, "empty"),
        ({"y": None}, "have no labels"),
    ],
)
def test_bad_input(model, data, changes, message, tmp_path):
    x, y = data
    arguments = {"x": x, "output": tmp_path / "new.json", **SMALL, **changes}
    arguments = {"y": y[: len(arguments["x"])], **arguments}
    with pytest.raises(ValueError, match=message):
        keras_bn4.evaluate_shifts(model, **arguments)


def test_an_error_of_the_data_is_raised_as_it_is(model, data):
    class Damaged(Batches):
        def __getitem__(self, index):
            if index == 2:
                raise ValueError("damaged")
            return super().__getitem__(index)

    with pytest.raises(ValueError, match=r"^damaged$"):
        keras_bn4.evaluate_shifts(model, Damaged(*data), **STREAMED, kinds=["fog"])


def test_data_that_are_shuffled_or_of_another_number(model, data, rng):
    with pytest.raises(ValueError, match="not shuffled"):
        keras_bn4.evaluate_shifts(model, Batches(*data, rng), **STREAMED, kinds=["fog"])
    x, y = data
    with pytest.raises(ValueError, match=r"as many images .* 20\. Received: 7"):
        keras_bn4.evaluate_shifts(
            model, x, y, **SMALL, kinds=["fog"], shifted=lambda *_: (x[:7], y[:7])
        )

import keras
import numpy as np
import pytest
from figure_helpers import labels_of
from sweep_helpers import (
    EAGERLY,
    CountTraces,
    assert_rows_are_evaluations,
    chain,
    classifier,
    images,
    rising,
    sequences,
)

from keras_bn4 import (
    set_example_weight,
    sweep_example_weight,
)

BACKEND = keras.backend.backend()
WEIGHTS = [0.0, 0.1, 0.5]


@pytest.fixture
def data(rng):
    return images(rng)


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
def test_one_trace_for_all_weights_and_for_later_sweeps(data):
    x, y = data[0][:64], data[1][:64]
    for was_evaluated in (False, True):
        model = classifier(run_eagerly=False)
        if was_evaluated:
            model.evaluate(x, y, verbose=0)
        CountTraces.traces = 0
        for _ in range(2):
            weights = [0.1, 0.2, 0.3]
            sweep_example_weight(model, x, y, example_weights=weights, verbose=0)
            # Keras infers the shapes of metrics in the first evaluation.
            assert CountTraces.traces == (1 if was_evaluated else 2)
        CountTraces.traces = 1
    if BACKEND == "tensorflow":  # One more for a shorter last batch.
        sweep_example_weight(model, *data, example_weights=[0.1], verbose=0)
        assert CountTraces.traces == 2


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
            # Also without labels, whose lack would be told of any other error.
            sweep_example_weight(model, data[0], verbose=0)
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


def test_progress_ends_on_the_metrics_at_weight_0_unless_it_is_silenced(data, capsys):
    model = classifier()
    sweep_example_weight(model, *data, example_weights=[0.9], verbose=0)
    assert capsys.readouterr().out == ""
    # Where the output is no terminal, it is one line.
    sweep = sweep_example_weight(model, *data, example_weights=[0.9])
    shown = capsys.readouterr().out.strip()
    first, last = (f"loss: {row['loss']:.4f}" for row in sweep.rows)
    assert first != last
    assert shown.startswith("3/3")
    assert shown.endswith(first)


def test_a_loss_that_is_nan_is_said(data):
    model = classifier()
    model.layers[-1].kernel.assign(np.nan * model.layers[-1].kernel)
    with pytest.warns(UserWarning, match="'loss' is NaN at example weight 0, 0.1"):
        sweep_example_weight(model, *data, example_weights=[0.1], verbose=0)


def test_a_sweep_over_schedules_is_evaluate_at_each_of_their_weights(rng, tmp_path):
    data = sequences(rng)
    model = chain(run_eagerly=EAGERLY)
    weights = [0.0, 0.05, 0.3, 0.9]
    batches = []

    def read_once():
        for i in range(0, 70, 32):
            batches.append(i)
            yield data[0][i : i + 32], data[1][i : i + 32]

    schedules = ["uniform", "falling", rising]
    sweep = sweep_example_weight(
        model, read_once(), example_weights=weights, schedule=schedules, verbose=0
    )
    assert batches == [0, 32, 64]
    assert sweep.schedules == schedules
    assert [(row["schedule"], row["example_weight"]) for row in sweep.rows] == [
        (schedule, weight) for schedule in schedules for weight in weights
    ]
    assert_rows_are_evaluations(model, sweep, lambda: dict(zip("xy", data)))
    for row in sweep.rows:
        assert row["loss_difference"] == row["loss"] - sweep.rows[0]["loss"]
    values = {row["loss"] for row in sweep.rows}
    assert len(values) == len(schedules) * (len(weights) - 1) + 1
    lines = [line.split() for line in str(sweep).splitlines()]
    assert lines[0] == ["schedule", "example_weight", "loss", "accuracy"]
    names = [name for name in ("uniform", "falling", "rising") for _ in weights]
    assert [line[0] for line in lines[1:13]] == names
    sweep.to_csv(tmp_path / "rows.csv")
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["schedule", *names]
    pytest.importorskip("matplotlib")
    assert set(names) <= set(labels_of(sweep.plot()))

"""What a sweep found: rows, remarks, table, CSV, plot, and how it is shown."""

import csv
import math
import sys
import types

import numpy as np
import pytest

from keras_bn4.example_weight import ExampleWeightSweep
from keras_bn4.example_weight.sweep_text import faults


def sweep(losses=(2.0, 1.0, 1.5), aucs=(0.6, 0.7, 0.8), largest=0.9, auc_mode="max"):
    """A sweep over weights from 0, with an AUC, which has no intervals."""
    weights = [largest * i / (len(losses) - 1 or 1) for i in range(len(losses))]
    rows = []
    for weight, loss, auc in zip(weights, losses, aucs):
        row = {"schedule": "uniform", "example_weight": weight}
        for name, value, first, half in (
            ("loss", loss, losses[0], 0.1),
            ("auc", auc, aucs[0], math.nan),
        ):
            row[name] = value
            row[f"{name}_difference"] = value - first
            row[f"{name}_difference_lower"] = value - first - half
            row[f"{name}_difference_upper"] = value - first + half
        rows.append(row)
    return ExampleWeightSweep(rows, {"loss": "min", "auc": auc_mode})


def edges(found):
    return [line for line in str(found).splitlines() if "largest weight" in line]


def test_a_best_at_the_largest_weight_is_said():
    found = sweep()
    assert edges(found) == [
        "The best auc is at the largest weight of the grid, 0.9: sweep larger ones."
    ]
    assert str(found).splitlines()[-1] == edges(found)[0]
    assert found.best("auc") is found.rows[-1]
    assert len(edges(sweep(losses=(3.0, 2.0, 1.0)))) == 2
    assert edges(sweep(aucs=(0.8, 0.7, 0.6))) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"largest": 1.0},  # There is no larger weight.
        {"losses": (1.0,), "aucs": (0.5,)},  # Weight 0 alone.
        {"losses": (1.0, 1.0), "aucs": (0.5, 0.5)},  # The smallest among equals is 0.
        {"auc_mode": None},
        {"aucs": (math.nan,) * 3},
    ],
    ids=["1", "0 alone", "equals", "no direction", "NaN"],
)
def test_where_nothing_is_said_of_larger_weights(arguments):
    assert edges(sweep(**arguments)) == []


def test_missing_intervals_are_said_and_are_empty_cells(tmp_path):
    found = sweep()
    assert "There are no 95 % intervals for auc." in str(found)
    assert "nan" not in str(found)
    assert (found.has_interval("loss"), found.has_interval("auc")) == (True, False)
    with pytest.raises(ValueError, match=r"Unknown metric 'recall'"):
        found.has_interval("recall")
    found.to_csv(tmp_path / "rows.csv")
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, expected in zip(rows, found.rows, strict=True):
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            assert row[name] == ("" if value != value else str(value))
    # The rows themselves stay numbers.
    assert math.isnan(found.rows[0]["auc_difference_lower"])


def test_the_mode_of_a_metric():
    assert [sweep().mode(metric) for metric in ("loss", "auc")] == ["min", "max"]
    with pytest.raises(ValueError, match=r"'auc' does not say.*mode={'auc': 'min'}"):
        sweep(auc_mode=None).mode("auc")


def test_the_representation_says_the_main_fact():
    shown = "<ExampleWeightSweep of 3 settings: best loss 1 at 0.45>"
    assert repr(sweep()) == shown
    found = ExampleWeightSweep(sweep().rows, {"auc": None})
    assert repr(found) == "<ExampleWeightSweep of 3 settings: metrics auc>"


def test_notebooks_and_data_frames(monkeypatch):
    found = sweep()
    shown = found._repr_html_()
    assert shown.startswith("<table>\n<tr><th>example_weight</th><th>loss</th>")
    assert shown.count("<tr>") == 1 + 3
    assert "<p>There are no 95 % intervals for auc.</p>" in shown
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    assert found.to_dataframe() == found.rows
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        found.to_dataframe()


def as_sweep(values, mode="max", schedule="uniform"):
    rows = [
        {
            "schedule": schedule,
            "example_weight": i / 10,
            "metric": value,
            "metric_difference": value - values[0],
        }
        for i, value in enumerate(values)
    ]
    return ExampleWeightSweep(rows, {"metric": mode})


def by_brute_force(values, within, mode):
    """The largest index such that no value up to it is worse by more than `within`."""
    worse = [
        (v - values[0] if mode == "min" else values[0] - v) if v == v else math.inf
        for v in values
    ]
    return max(
        i
        for i in range(len(values))
        if i == 0 or all(w <= within for w in worse[1 : i + 1])
    )


@pytest.mark.parametrize("mode", ["min", "max"])
def test_largest_is_that_of_brute_force(mode, rng):
    found = set()
    for _ in range(300):
        # Multiples of 1 / 64, whose differences are exact.
        values = (rng.integers(0, 5, rng.integers(1, 9)) / 64).tolist()
        if rng.random() < 0.2:
            values[rng.integers(len(values))] = math.nan
        within = rng.integers(0, 4) / 64
        if math.isnan(values[0]):
            with pytest.raises(ValueError, match="'metric' is NaN at example weight 0"):
                as_sweep(values, mode).largest("metric", within=within)
            continue
        expected = by_brute_force(values, within, mode)
        row = as_sweep(values, mode).largest("metric", within=within)
        assert row["example_weight"] == expected / 10
        found.add(expected)
    assert len(found) > 5


def test_largest_allows_what_single_precision_adds():
    values = np.asarray([0.91, 0.905, 0.904], "float32").astype(float).tolist()
    assert values[0] - values[1] > 0.005
    row = as_sweep(values).largest("metric", within=0.005)
    assert row["example_weight"] == 0.1


def test_choices_among_several_schedules():
    rows = as_sweep([0.9, 0.8]).rows + as_sweep([0.9, 0.9], schedule="falling").rows
    rows[1]["metric"] = 0.95
    sweep = ExampleWeightSweep(rows, {"metric": "max"})
    assert sweep.best("metric") is sweep.best("metric", schedule="uniform") is rows[1]
    assert sweep.best("metric", schedule="falling") is rows[2]
    with pytest.raises(ValueError, match=r"Unknown schedule 'rising'"):
        sweep.best("metric", schedule="rising")
    rows[1]["metric"] = 0.8
    assert sweep.largest("metric", within=0, schedule="uniform") is rows[0]
    assert sweep.largest("metric", within=0, schedule="falling") is rows[3]
    with pytest.raises(ValueError, match=r"Choose one of \['uniform', 'falling'\]"):
        sweep.largest("metric", within=0)
    with pytest.raises(ValueError, match=r"Unknown schedule 'rising'"):
        sweep.largest("metric", within=0, schedule="rising")


def test_what_largest_is_given_is_checked():
    for within in (-0.1, None, "0.1", math.nan):
        with pytest.raises(ValueError, match="within"):
            as_sweep([1.0]).largest("metric", within=within)
    with pytest.raises(ValueError, match="Unknown metric 'loss'"):
        as_sweep([1.0]).largest("loss", within=0)
    with pytest.raises(ValueError, match="more is better"):
        as_sweep([1.0], mode=None).largest("metric", within=0)


def test_nan_is_said_and_never_chosen():
    found = as_sweep([0.5, math.nan, 0.7, math.nan])
    remark = "Metric 'metric' is NaN at example weight 0.1, 0.3. No such row is chosen"
    assert next(faults(found)).startswith(remark)
    assert list(faults(as_sweep([0.5]))) == []
    assert found.best("metric") is found.rows[2]
    assert found.largest("metric", within=1) is found.rows[0]
    with pytest.raises(ValueError, match="NaN at every example weight"):
        as_sweep([math.nan, math.nan]).best("metric")

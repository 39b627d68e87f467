"""The plot of a sweep: where the gain is, marks, intervals, names."""

import math

import numpy as np
import pytest

from keras_bn4.example_weight import EXAMPLE_WEIGHTS, ExampleWeightSweep

pytest.importorskip("matplotlib")

from figure_helpers import assert_readable, labels_of

WEIGHTS = sorted({0.0, *EXAMPLE_WEIGHTS})


def sweep(metrics, weights=WEIGHTS, schedules=("uniform",)):
    """A sweep of made-up metrics.

    Args:
        metrics: Dict by name of the mode, the value at weight 0, a function of the
            weight that returns the difference to it, and half the interval's width.
    """
    rows = []
    for stretch, schedule in enumerate(schedules, 1):
        for weight in weights:
            row = {"schedule": schedule, "example_weight": weight}
            for name, (_, base, change, half) in metrics.items():
                difference = change(weight / stretch)
                row[name] = base + difference
                row[f"{name}_difference"] = difference
                row[f"{name}_difference_lower"] = difference - half
                row[f"{name}_difference_upper"] = difference + half
            rows.append(row)
    return ExampleWeightSweep(
        rows, {name: mode for name, (mode, *_) in metrics.items()}
    )


def dip(weight):
    """Lowest at 0.04, with -0.05, and 0 at 0.16."""
    return 0.05 * ((math.sqrt(weight) / 0.2 - 1) ** 2 - 1)


LOSS = ("min", 1.137, dip, 0.01)
ACCURACY = ("max", 0.6976, lambda weight: -dip(weight * 16) / 25, 0.001)
AUC = ("max", 0.9, lambda weight: -dip(weight / 4), math.nan)
WORSE = ("max", 0.7, lambda weight: -0.3 * weight, 0.001)


@pytest.mark.parametrize("metrics", ["auc", ["auc"], ("auc",)])
def test_of_one_metric(metrics):
    figure = sweep({"loss": LOSS, "auc": AUC}).plot(metrics)
    (panel,) = figure.axes
    assert panel.get_title(loc="left") == "auc\n0.9 at 0, 0.9499 at 0.15"
    # It has no interval, and then none is explained.
    assert labels_of(figure) == ["difference", "weight 0", "best weight"]


def test_it_shows_the_gain_and_not_the_ruin():
    panels = sweep({"loss": LOSS, "accuracy": ACCURACY, "auc": AUC}).plot().axes
    of_loss, of_accuracy, of_auc = panels
    low, high = of_loss.get_ylim()
    # The gain is 0.05 and the interval 0.01 on each side.
    assert -0.08 < low < -0.06
    assert 0.06 < high < 0.1
    # The smallest that is outside these limits is 0.4, and so on.
    assert 0.25 < of_loss.get_xlim()[1] < 0.5
    low, high = of_accuracy.get_ylim()
    assert 0.003 < high < 0.004
    assert -0.006 < low < -0.003
    assert 0.01 < of_accuracy.get_xlim()[1] < 0.05
    low, high = of_auc.get_ylim()
    assert 0.05 < high < 0.06
    assert of_auc.get_xlim()[1] > 0.7
    assert [panel.get_xlim()[0] for panel in panels] == [0, 0, 0]


def test_limits_end_with_the_data():
    panel = sweep({"loss": LOSS}, [0, 0.01, 0.04, 0.09]).plot().axes[0]
    assert panel.get_ylim()[1] < 0.03
    assert 0.09 < panel.get_xlim()[1] < 0.1


def test_where_nothing_is_gained_it_shows_the_smallest_weights():
    figure = sweep({"accuracy": WORSE}).plot()
    (panel,) = figure.axes
    low, high = panel.get_ylim()
    assert -0.01 < low < -0.003
    assert 0.001 < high < 0.01
    assert panel.get_xlim()[1] < 0.1
    assert panel.get_title(loc="left").endswith("\n0.7 at 0, the best")
    assert_readable(figure)


def test_weight_0_and_the_best_are_marked():
    figure = sweep({"loss": LOSS}).plot()
    marks = {line.get_label(): line for line in figure.axes[0].lines}
    assert marks["weight 0"].get_xydata().tolist() == [[0, 0]]
    ((at, value),) = marks["best weight"].get_xydata()
    assert at == 0.04
    assert value == pytest.approx(-0.05)
    # On an axis, the marks would be cut in half.
    assert not marks["weight 0"].get_clip_on()
    assert marks["weight 0"].get_marker() != marks["best weight"].get_marker()
    (band,) = figure.axes[0].collections
    heights = np.ptp(next(path.vertices[:, 1] for path in band.get_paths()))
    assert heights > 0.02


def test_schedules_differ_in_color_and_dashes():
    schedules = ("uniform", "falling")
    figure = sweep({"loss": LOSS, "auc": AUC}, schedules=schedules).plot()
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    uniform, falling = (lines[schedule] for schedule in schedules)
    assert uniform.get_color() != falling.get_color()
    assert uniform.get_linestyle() != falling.get_linestyle()
    assert labels_of(figure) == [
        *("95 % interval", "uniform", "falling", "weight 0", "best weight")
    ]
    assert figure.axes[0].get_title(loc="left").endswith("0.04 (uniform)")
    assert_readable(figure)


def test_all_schedules_are_drawn_however_many():
    schedules = ["uniform", "falling", *([weight] for weight in range(7))]
    figure = sweep({"loss": LOSS}, schedules=schedules).plot()
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]
    assert len(drawn) == 9
    assert_readable(figure)


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": LOSS},
        {
            "loss": LOSS,
            "accuracy": ACCURACY,
            "sparse_top_k_categorical_accuracy": ACCURACY,
        },
        {f"head_{i}_of_a_long_name_sparse_categorical_accuracy": AUC for i in range(5)},
        {"n" * 90: AUC},
    ],
    ids=["one", "three", "five", "no place to break"],
)
def test_nothing_overlaps_or_is_cut(metrics):
    figure = sweep(metrics).plot()
    assert_readable(figure)
    assert figure.get_size_inches()[0] < 14
    for panel in figure.axes:
        if panel.axison:
            ticks = [label.get_text() for label in panel.get_xticklabels()]
            assert ticks[0] == "0"
            assert 4 <= len(ticks) <= 9


def test_a_metric_without_a_direction_shows_all():
    _, *rest = AUC
    figure = sweep({"auc": (None, *rest)}).plot()
    (panel,) = figure.axes
    assert panel.get_title(loc="left") == "auc\n0.9 at 0"
    assert panel.get_xlim()[1] >= WEIGHTS[-1]
    assert labels_of(figure) == ["difference", "weight 0"]


@pytest.mark.parametrize(
    "change",
    [lambda weight: 0.0, lambda weight: math.nan],
    ids=["equal", "NaN"],
)
def test_values_that_say_nothing_are_drawn(change):
    for half in (0.0, math.nan):
        for weights in (WEIGHTS, [0.0]):
            found = sweep({"auc": ("max", 0.5, change, half)}, weights)
            assert_readable(found.plot())


def test_a_metric_that_is_nan_at_weight_0_is_drawn():
    found = sweep({"loss": LOSS})
    for row in found.rows:
        row.update({name: math.nan for name in row if "difference" in name})
    found.rows[0]["loss"] = math.nan
    figure = found.plot()
    assert_readable(figure)
    assert figure.axes[0].get_title(loc="left") == "loss\nnan at 0, 1.087 at 0.04"
    assert "best weight" not in labels_of(figure)


def test_a_loss_that_is_infinite_at_weight_0_is_drawn():
    found = sweep({"loss": LOSS})
    for row in found.rows:
        row.update({name: -math.inf for name in row if "difference" in name})
    found.rows[0]["loss"] = math.inf
    assert_readable(found.plot())

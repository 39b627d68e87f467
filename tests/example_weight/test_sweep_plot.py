"""The plot of a sweep: it is readable whatever the values, and marks what matters."""

import math

import pytest

from keras_bn4.example_weight import ExampleWeightSweep

pytest.importorskip("matplotlib")

from figure_helpers import assert_readable, labels_of

WEIGHTS = [
    *(0.0, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125),
    *(0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 0.9),
]


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
WITHOUT_DIRECTION = (None, *AUC[1:])


@pytest.mark.parametrize(
    ("metrics", "keywords"),
    [
        ({"loss": LOSS}, {}),
        ({"loss": LOSS, "accuracy": ACCURACY, "sparse_top_k_accuracy": ACCURACY}, {}),
        ({f"head_{i}_of_a_long_name_categorical_accuracy": AUC for i in range(5)}, {}),
        ({"n" * 90: AUC}, {}),
        ({"accuracy": WORSE}, {}),
        ({"auc": WITHOUT_DIRECTION}, {}),
        ({"loss": LOSS, "auc": AUC}, {"schedules": ("uniform", "falling")}),
        (
            {"loss": LOSS},
            {"schedules": ["uniform", "falling", *([weight] for weight in range(7))]},
        ),
        *(
            ({"auc": ("max", 0.5, lambda weight, v=value: v, half)}, {"weights": w})
            for value in (0.0, math.nan, -math.inf)
            for half in (0.0, math.nan)
            for w in (WEIGHTS, [0.0])
        ),
    ],
)
def test_it_is_readable(metrics, keywords):
    found = sweep(metrics, **keywords)
    figure = found.plot()
    assert_readable(figure)
    assert figure.get_size_inches()[0] < 14
    assert sum(panel.axison for panel in figure.axes) == len(metrics)
    for panel in figure.axes[: len(metrics)]:
        drawn = [line for line in panel.lines if len(line.get_xdata()) > 2]
        if "weights" not in keywords:
            assert len(drawn) == len(keywords.get("schedules", ("uniform",)))
            assert 4 <= len(panel.get_xticks()) <= 9
        assert panel.get_xlim()[0] == panel.get_xticks()[0] == 0


@pytest.mark.parametrize("metrics", ["auc", ["auc"], ("auc",)])
def test_of_one_metric(metrics):
    figure = sweep({"loss": LOSS, "auc": AUC}).plot(metrics)
    (panel,) = figure.axes
    assert panel.get_title(loc="left") == "auc\n0.9 at 0, 0.9499 at 0.15"
    # It has no interval, and then none is explained.
    assert set(labels_of(figure)) == {"difference", "weight 0", "best weight"}


def test_it_shows_the_gain_and_not_the_ruin():
    found = sweep({"loss": LOSS, "accuracy": ACCURACY, "auc": AUC, "worse": WORSE})
    of_loss, of_accuracy, of_auc, of_worse, *_ = found.plot().axes
    # Gains of .05, .002 and .05, and intervals of .01 and .001 on each side.
    for panel, gain, up_to in (
        (of_loss, (-0.08, -0.06), (0.25, 0.5)),
        (of_accuracy, (0.003, 0.004), (0.01, 0.05)),
        (of_auc, (0.05, 0.06), (0.7, 1)),
        (of_worse, (0.001, 0.01), (0.005, 0.1)),
    ):
        low, high = panel.get_ylim()
        assert gain[0] < (low if gain[0] < 0 else high) < gain[1]
        assert up_to[0] < panel.get_xlim()[1] < up_to[1]
        # As much again of what is lost, and hardly more.
        assert max(-low, high) < 3 * min(-low, high) + 0.01


def test_weight_0_the_best_and_the_chosen_row_are_marked_in_all_panels():
    found = sweep({"loss": LOSS, "accuracy": ACCURACY})
    chosen = next(row for row in found.rows if row["example_weight"] == 0.4)
    figure = found.plot(chosen=chosen)
    assert_readable(figure)
    for panel, metric in zip(figure.axes, found.metrics):
        marks = {line.get_label(): line for line in panel.lines}
        assert marks["weight 0"].get_xydata().tolist() == [[0, 0]]
        best = found.best(metric)
        for label, row in (("best weight", best), ("chosen weight", chosen)):
            at = [row["example_weight"], row[f"{metric}_difference"]]
            assert marks[label].get_xydata().tolist() == [at]
            # It can be seen.
            assert panel.get_xlim()[1] >= at[0]
            assert panel.get_ylim()[0] <= at[1] <= panel.get_ylim()[1]
    assert found.plot().axes[1].get_xlim()[1] < 0.4
    with pytest.raises(ValueError, match=r"`chosen` must be one of the rows"):
        found.plot(chosen={"example_weight": 0.4})


def test_one_panel_can_be_drawn_in_axes_that_exist():
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    found = sweep({"loss": LOSS, "auc": AUC})
    assert found.plot("loss", ax=right) is figure
    assert right.lines
    assert right.get_legend()
    assert not left.lines
    with pytest.raises(ValueError, match=r"name the metric, as in sweep\.plot\('loss'"):
        found.plot(ax=left)

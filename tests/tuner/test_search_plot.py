"""The plot of a search: trials, executions, Keras' layer, the best of each size."""

import pytest

from keras_bn4.tuner import SearchResults

pytest.importorskip("matplotlib")

from figure_helpers import assert_readable, labels_of

KERAS_LAYER = "Keras' layer: whole batch, no decay, weight 0"


def trial(name, kind, size, at_0, best, as_trained=None, l2=0.0, groups=None):
    """A row of executions that differ from their mean by 0.02."""
    return {
        "trial": name,
        "kind": kind,
        "ghost_batch_size": size,
        "groups": groups,
        "l2": l2,
        "hyperparameters": {},
        "example_weight": [0.1, 0.05],
        "val_loss_as_trained": as_trained,
        "val_loss_at_0": at_0,
        "val_loss": best,
        "executions": {
            "val_loss_at_0": [at_0 - 0.02, at_0 + 0.02],
            "val_loss": [best + 0.02, best - 0.02],
        },
    }


def search(direction="min", extra=()):
    rows = [
        trial("0", "ghost", 8, 0.5, 0.25),
        trial("4", "ghost", 8, 0.45, 0.3),
        trial("1", "batch", None, 0.6, 0.55, 0.65),
        trial("2", "batch", None, 0.4, 0.4, 0.35, l2=1e-4),
        trial("3", "batch_group", 64, 0.7, 0.7, l2=1e-4, groups=4),
        *extra,
    ]
    return SearchResults(rows, "val_loss", direction, 64)


def lines_of(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


@pytest.mark.parametrize(
    ("direction", "at_0", "best"),
    [("min", [0.45, 0.4], [0.25, 0.4]), ("max", [0.5, 0.6], [0.3, 0.55])],
)
def test_lines_join_the_best_of_each_size(direction, at_0, best):
    lines = lines_of(search(direction).plot())
    assert list(lines["example weight 0"].get_ydata()) == at_0
    assert list(lines["best example weight"].get_ydata()) == best
    # The first size is at 0, and the second at 1.
    for at, tick in zip(lines["example weight 0"].get_xdata(), (0, 1)):
        assert abs(at - tick) < 0.4


@pytest.mark.parametrize(("direction", "expected"), [("min", 0.58), ("max", 0.6)])
def test_keras_layer_is_a_line_recalibrated_as_the_dots_are(direction, expected):
    # That with decay is better, and is not Keras' layer.
    others = [trial("8", "batch", None, 0.58, 0.3, as_trained=0.2)]
    others.append(trial("9", "batch", None, 0.59, 0.3, as_trained=0.9))
    line = lines_of(search(direction, others).plot())[KERAS_LAYER]
    assert set(line.get_ydata()) == {expected}


def test_without_a_trial_of_it_there_is_no_line():
    found = search()
    found.rows = [row for row in found.rows if row["kind"] != "batch"]
    assert not any("Keras" in label for label in labels_of(found.plot()))


def test_bars_reach_from_the_least_to_the_largest_execution():
    (panel,) = search().plot().axes
    bars = sorted(
        tuple(float(y) for y in segment[:, 1])
        for bar in panel.collections
        for segment in bar.get_segments()
    )
    assert len(bars) == 2 * 5
    assert bars[0] == pytest.approx((0.23, 0.27))
    assert bars[-1] == pytest.approx((0.68, 0.72))


def test_trials_of_a_size_stand_side_by_side():
    (panel,) = search().plot().axes
    at = [line.get_xdata()[0] for line in panel.lines if len(line.get_xdata()) == 1]
    assert len(set(at)) == len(at) == 10


def test_the_legend_says_what_is_drawn():
    figure = search().plot()
    assert labels_of(figure) == [
        KERAS_LAYER,
        "example weight 0",
        "best example weight",
        "a trial",
        "a trial with channel groups",
        "range of its executions",
    ]
    assert figure.axes[0].get_title(loc="left") == (
        "5 trials, less is better; lines join the best of each size"
    )
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["8", "64\n(whole batch)"]
    assert_readable(figure)


def test_without_groups_and_with_one_execution():
    found = search("max")
    found.rows = found.rows[:1]
    found.rows[0]["example_weight"] = [0.1]
    found.rows[0]["executions"] = {"val_loss_at_0": [0.5], "val_loss": [0.25]}
    figure = found.plot()
    assert labels_of(figure) == ["example weight 0", "best example weight", "a trial"]
    assert figure.axes[0].get_title(loc="left").startswith("1 trial, more is better")
    assert_readable(figure)


def test_channel_groups_alone():
    found = search()
    found.rows = [row for row in found.rows if row["kind"] == "batch_group"]
    figure = found.plot()
    assert labels_of(figure)[2:] == [
        *("a trial with channel groups", "range of its executions")
    ]
    assert_readable(figure)


def test_many_sizes_fit_in():
    extra = [trial(str(i), "ghost", 2**i, 0.5, 0.4) for i in range(1, 14)]
    assert_readable(search(extra=extra).plot())

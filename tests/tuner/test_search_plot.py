"""The plot of a search: the trials, and Keras' layer as it compares with them."""

import pytest

from keras_bn4.tuner import SearchResults

pytest.importorskip("matplotlib")

from figure_helpers import assert_readable
from matplotlib.figure import Figure

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


@pytest.mark.parametrize(("direction", "expected"), [("min", 0.58), ("max", 0.6)])
def test_keras_layer_is_a_line_recalibrated_as_the_dots_are(direction, expected):
    # That with decay is better, and is not Keras' layer.
    others = [trial("8", "batch", None, 0.58, 0.3, as_trained=0.2)]
    others.append(trial("9", "batch", None, 0.59, 0.3, as_trained=0.9))
    line = lines_of(search(direction, others).plot())[KERAS_LAYER]
    assert set(line.get_ydata()) == {expected}


@pytest.mark.parametrize("kinds", [("ghost",), ("batch_group",), ("batch", "ghost")])
def test_a_plot_of_any_trials_can_be_read(kinds):
    found = search(extra=[trial(str(i), "ghost", 2**i, 0.5, 0.4) for i in range(9)])
    found.rows = [row for row in found.rows if row["kind"] in kinds]
    figure = found.plot()
    assert_readable(figure)
    assert (KERAS_LAYER in lines_of(figure)) == ("batch" in kinds)


def test_a_panel_of_the_user():
    left, _ = Figure((12, 5)).subplots(1, 2)
    assert search().plot(ax=left) is left.figure
    assert left.get_xlabel()

"""What a comparison found: table, CSV, and a plot with nothing cut."""

import sys
import types

import keras
import pytest
from keras import layers

from keras_bn4 import GhostBatchNormalization, discrepancy
from keras_bn4.moving_statistics.comparison_result import Discrepancy


def test_table_csv_and_plot(tmp_path, rng, monkeypatch):
    inputs = keras.Input((6, 6, 3))
    x = GhostBatchNormalization(ghost_batch_size=2, name="ghosts")(
        layers.Conv2D(4, 3)(inputs)
    )
    model = keras.Model(inputs, layers.BatchNormalization(name="batch")(x))
    found = discrepancy(model, rng.normal(size=(16, 6, 6, 3)), batch_size=8, verbose=0)
    lines = str(found).splitlines()
    assert lines[0].split() == (
        ["layer", "B", "bound", "training", "inference", "mean", "std", "α"]
    )
    assert lines[1].startswith("ghosts")
    assert "5.57" in lines[1]  # 2 examples of 16 positions
    found.to_csv(tmp_path / "rows.csv")
    header = (tmp_path / "rows.csv").read_text().splitlines()[0]
    assert header.startswith("layer,elements,bound,training_minimum")
    shown = found._repr_html_()
    assert shown.startswith("<table>\n<tr><th>layer</th><th>B</th><th>bound</th>")
    assert "<td>ghosts</td>" in shown
    wider = sum(row["example_weight"] != 0 for row in found.rows)
    assert repr(found).startswith(f"<Discrepancy of 2 layers: {wider} with a wider")
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    assert found.to_dataframe() == found.rows
    pytest.importorskip("matplotlib")
    panel = found.plot().axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == [
        "ghosts",
        "batch",
    ]


def made_up(layers, bound=20.0, name="batch_normalization_{}"):
    """What `discrepancy` may have found in a network of several layers."""
    rows = []
    for i in range(layers):
        row = {"layer": name.format(i), "elements": bound**2 + 1, "bound": bound}
        row |= {"training_minimum": -3.0, "training_maximum": 4.0}
        row |= {"inference_minimum": -6.0, "inference_maximum": 5.0}
        rows.append(row)
    return Discrepancy(rows)


@pytest.mark.parametrize("layers", [1, 3, 60])
@pytest.mark.parametrize(
    "name", ["bn_{}", "block_{}/" + "of_a_long_path/" * 6 + "layer"]
)
def test_a_plot_is_not_cut(layers, name):
    pytest.importorskip("matplotlib")
    from figure_helpers import assert_readable

    figure = made_up(layers, name=name).plot()
    assert_readable(figure)
    (panel,) = figure.axes
    low, high = panel.get_xlim()
    # No bar touches an edge, and no row is out of sight or far from the others.
    assert -6.5 < low < -6.2
    assert 5.2 < high < 5.5
    assert panel.get_ylim() == pytest.approx((layers - 0.4, -0.6))
    assert figure.get_size_inches()[0] < 9
    for label in panel.get_yticklabels():
        assert len(label.get_text()) <= 48


def test_a_plot_shows_bounds_that_fit_in():
    pytest.importorskip("matplotlib")
    from figure_helpers import labels_of

    far, near = made_up(3).plot(), made_up(3, bound=4.6).plot()
    assert labels_of(far) == ["training", "inference"]
    assert labels_of(near) == [
        *("training", "inference", "bound in training, ±√(B - 1), where it fits in")
    ]
    marks = near.axes[0].lines[0].get_xydata()
    # The first layer is at 0, its bar of training at -0.17.
    assert sorted(marks[:, 0]) == [-4.6] * 3 + [4.6] * 3
    assert sorted(marks[:, 1])[:2] == pytest.approx([-0.17, -0.17])
    assert near.axes[0].get_xlim() == far.axes[0].get_xlim()

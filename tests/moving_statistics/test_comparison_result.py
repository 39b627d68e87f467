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


@pytest.mark.parametrize(
    ("layers", "name", "bound"),
    [(1, "bn_{}", 20.0), (60, "block_{}/" + "of_a_path/" * 9 + "layer", 4.6)],
)
def test_a_plot_can_be_read(layers, name, bound):
    pytest.importorskip("matplotlib")
    from figure_helpers import assert_readable, labels_of
    from matplotlib.figure import Figure

    figure = made_up(layers, bound, name).plot()
    assert_readable(figure)
    # Only bounds that fit in are drawn, so that none squeezes the bars.
    low, high = figure.axes[0].get_xlim()
    assert -6.5 < low < high < 5.5
    assert any("bound" in label for label in labels_of(figure)) == (bound < 6)
    panel = Figure().subplots()
    assert made_up(layers, bound, name).plot(ax=panel) is panel.figure
    assert len(panel.patches) == 2 * layers

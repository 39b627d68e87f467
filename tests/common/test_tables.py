import re
import sys

import keras
import numpy as np
import pytest

from keras_bn4.common import tables


def test_columns_are_aligned():
    lines = [["layer", "α", "loss"], ["a heading"], ["  Keras", "0.05", "1.5"]]
    assert tables.text(lines, left=1).splitlines() == [
        "layer         α  loss",
        "a heading",
        "  Keras    0.05   1.5",
    ]


def test_markdown():
    text = tables.markdown(["layer", "loss"], [["Keras", "1.5"]])
    assert text == "| layer | loss |\n|---|---|\n| Keras | 1.5 |"


def test_the_first_texts_and_how_many_more():
    assert tables.listed(["a", "b"]) == "a, b"
    assert tables.listed(f"l{i}" for i in range(7)) == "l0, l1, l2, l3, l4 and 2 more"


def test_ranges_of_values():
    assert tables.value_range([0.5, 0.1, 0.3]) == "0.1-0.5"
    assert tables.value_range([0.0, 0.0]) == "0"


def test_csv(tmp_path):
    tables.to_csv([{"a": 1, "b": "x, y"}, {"a": 2, "b": ""}], tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == 'a,b\n1,"x, y"\n2,\n'


def test_html_for_notebooks():
    assert tables.html(["layer", "α"], [["a<b", "0.1"]]).splitlines() == [
        "<table>",
        "<tr><th>layer</th><th>α</th></tr>",
        "<tr><td>a&lt;b</td><td>0.1</td></tr>",
        "</table>",
    ]


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    frame = tables.to_dataframe(rows)
    assert isinstance(frame, pandas.DataFrame)
    assert frame.to_dict("records") == rows


def test_data_frames_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        tables.to_dataframe([{"a": 1}])


@pytest.mark.parametrize(("is_terminal", "interval"), [(True, 0.05), (False, 30)])
def test_progress_is_shown_rarely_where_nobody_watches(
    is_terminal, interval, monkeypatch, capsys
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    bar = tables.progress_bar(200, unit_name="network")
    assert bar.interval == interval
    for _ in range(200):
        bar.add(1)
    printed = capsys.readouterr().out
    assert "200/200" in printed
    assert "/network" in printed
    tables.progress_bar(1, verbose=0).add(1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("is_terminal", "verbose", "expected"),
    [(True, "auto", r"\r"), (False, "auto", r"^3/3 - .*loss.*\n$"), (False, 0, "^$")],
)
def test_progress_of_an_evaluation(is_terminal, verbose, expected, monkeypatch, capsys):
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.ReLU()(inputs))
    model.compile(loss="mse")
    x = np.ones((6, 1), "float32")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    verbose = tables.verbose_of_evaluation(verbose)
    model.evaluate(x, x, batch_size=2, verbose=verbose)
    assert re.search(expected, capsys.readouterr().out)

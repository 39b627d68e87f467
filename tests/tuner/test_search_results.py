"""The table of a search as text, CSV and HTML."""

import sys
import types

import pytest
import tuner_helpers
from tuner_helpers import hypermodel, random_search, search

from keras_bn4.tuner import SearchResults, results

pytestmark = tuner_helpers.quiet


def some_results():
    names = ("kind", "ghost_batch_size", "groups", "l2", "hyperparameters")
    names += ("example_weight", "val_loss_at_0", "val_loss")
    rows = [
        ("ghost", 8, None, 0.0, {"units": 4, "kind": "mine"}, [0.1, 0.05], 0.5, 0.25),
        ("batch", None, None, 1e-4, {}, [0.0, 0.0], 0.6, 0.6),
        ("batch_group", 64, 4, 1e-4, {}, [0.0, 0.0], 0.7, 0.7),
    ]
    rows = [{"trial": str(i), **dict(zip(names, row))} for i, row in enumerate(rows)]
    rows[0]["executions"] = {"val_loss_at_0": [0.4, 0.6], "val_loss": [0.2, 0.3]}
    return SearchResults(rows, "val_loss", "min", 64)


def test_results_as_text_and_csv(tmp_path):
    found = some_results()
    lines = str(found).splitlines()
    assert lines[0].split() == [
        *("trial", "kind", "B'", "groups", "decay", "units", "build/kind", "α"),
        *("at_0", "val_loss"),
    ]
    assert " ".join(lines[1].split()) == "0 ghost 8 0 4 mine 0.1 0.05 0.5 0.25"
    found.to_csv(tmp_path / "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[1] == "0,ghost,8,,0.0,4,mine,0.1 0.05,0.5,0.25"
    assert lines[2] == "1,batch,,,0.0001,,,0 0,0.6,0.6"


def test_trials_that_were_not_recalibrated_are_named(tmp_path):
    found = some_results()
    for row, recalibrated in zip(found.rows, (True, False, None)):
        row["recalibrated"] = recalibrated
    found.to_csv(tmp_path / "rows.csv")
    assert "recalibrated" in (tmp_path / "rows.csv").read_text().splitlines()[0]
    header, *_, last = str(found).splitlines()
    assert "recalibrated" not in header
    assert last.startswith("Could not be recalibrated")
    assert last.endswith(": 1.")


def test_the_representation_says_the_main_fact():
    shown = "<SearchResults of 3 trials: best val_loss 0.25 of trial 0>"
    assert repr(some_results()) == shown
    nothing = SearchResults([], "val_loss", "min", 64, failed=2)
    assert repr(nothing) == "<SearchResults of 0 trials: none completed>"
    assert "2 trials failed or have not ended." in str(nothing)


def test_notebooks_and_data_frames(monkeypatch):
    found = some_results()
    found.failed = 1
    shown = found._repr_html_()
    assert shown.startswith("<table>\n<tr><th>trial</th><th>kind</th>")
    assert shown.count("<tr>") == 1 + 3
    assert "<td>0.1 0.05</td>" in shown
    assert shown.endswith("<p>1 trials failed or have not ended.</p>")
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    frame = found.to_dataframe()
    assert [row["units"] for row in frame] == [4, None, None]
    assert frame[0]["example_weight"] == [0.1, 0.05]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        found.to_dataframe()


def test_hyperparameters_of_the_same_names(tmp_path, data):
    def named(hp):
        names = ("kind", "l2", "trial", "example_weight", "normalization/where")
        for name in names:
            hp.Choice(name, ["mine"])
        return tuner_helpers.build()

    tuner = search(random_search(tmp_path, hypermodel(named), max_trials=1), data)
    found = results(tuner)
    assert found.rows[0]["kind"] in ("batch", "ghost", "batch_group")
    assert found.rows[0]["l2"] != "mine"
    header = str(found).splitlines()[0].split()
    assert len(set(header)) == len(header)
    assert {"build/kind", "build/l2", "normalization/where"} <= set(header)

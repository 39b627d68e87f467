"""What is made of records: paired intervals, choices, verdicts, and the page."""

import json
import pathlib
import re

import numpy as np
import pytest
from scipy import stats

from keras_bn4.experiments.reproduction import RESULTS, differences, rows, summary
from keras_bn4.experiments.reproduction import runs as records_of_runs
from keras_bn4.experiments.reproduction.differences import Difference, claim

PAGE = pathlib.Path(summary.__file__).parent / "README.md"


def record(seed, validation, test, **settings):
    """A record with accuracies by example weight; losses are their negatives."""
    results = {
        split: {"accuracy": values, "cross_entropy": [-v for v in values]}
        for split, values in (("validation", validation), ("test", test))
    }
    weights = [0.0, 0.1, 0.3]
    settings = {"seed": seed, "example_weights": weights, **settings}
    return {"settings": settings, "results": results}


ROW = {
    0: record(0, [0.1, 0.3, 0.2], [0.2, 0.25, 0.9]),
    1: record(1, [0.5, 0.3, 0.2], [0.4, 0.5, 0.6]),
}


def test_weights_are_chosen_on_validation_data_and_reported_on_test_data():
    assert [rows.best_weight(r, "accuracy") for r in ROW.values()] == [0.1, 0.0]
    assert rows.at_zero(ROW, "accuracy") == {0: 20.0, 1: 40.0}
    assert rows.at_best(ROW, "accuracy") == {0: 25.0, 1: 40.0}
    assert rows.at_best(ROW, "cross_entropy") == {0: -0.25, 1: -0.4}
    assert rows.at_best(ROW, "accuracy", "validation") == {0: 30.0, 1: 50.0}
    assert rows.gains(ROW, "accuracy") == {0: 5.0, 1: 0.0}
    worse = {0: record(0, [0.2, 0.2, 0.2], [1, 1, 1])}
    assert rows.best_row({"a": worse, "b": ROW}) == "b"


def test_a_loss_that_is_not_a_number_is_not_chosen():
    one = record(0, [0.1, np.nan, 0.3], [0.1, 0.2, 0.3])
    assert rows.best_weight(one, "cross_entropy") == 0.3


def test_rows():
    records = [record(s, [0], [0], batch_size=n) for s in (0, 1) for n in (8, 4)]
    found = rows.rows_of(records, lambda settings: settings.batch_size)
    assert {k: list(v) for k, v in found.items()} == {8: [0, 1], 4: [0, 1]}
    assert found[4][1] is records[3]


def test_slopes_are_those_over_binary_logarithms():
    sizes = {size: {0: size, 1: size} for size in (2, 8, 32)}
    sizes[2][9] = 2  # Not a seed of all rows.

    def values(row):
        return {s: 3 * np.log2(size) * (s + 1) for s, size in row.items()}

    assert rows.slopes(sizes, values) == pytest.approx({0: 3, 1: 6})


def test_differences_are_paired_and_their_interval_is_students(rng):
    values, baseline = rng.normal([[1], [0]], 1, (2, 6))
    found = Difference.between(
        dict(enumerate(values)), {**dict(enumerate(baseline)), 9: 1.0}
    )
    expected = stats.ttest_rel(values, baseline).confidence_interval()
    ends = found.mean - found.half_width, found.mean + found.half_width
    np.testing.assert_allclose(ends, expected)
    assert found.n == 6
    assert found.text(".2f") == f"{found.mean:+.2f} [{ends[0]:+.2f}, {ends[1]:+.2f}]"


def test_the_minimum_detectable_effect_is_seen_in_four_of_five_cases(rng):
    n, spread = 5, 2.0
    # What it is on average, over samples of this spread.
    effect = np.mean(
        [
            Difference.between(dict(enumerate(rng.normal(0, spread, n)))).detectable
            for _ in range(500)
        ]
    )
    samples = rng.normal(effect, spread, (4000, n))
    seen = stats.ttest_1samp(samples, 0, axis=1)
    share = np.mean((seen.pvalue < 0.05) & (samples.mean(1) > 0))
    assert 0.7 < share < 0.85


def test_one_seed_decides_nothing():
    found = Difference.between({0: 3.0}, {0: 1.0})
    assert (found.mean, found.n, found.sign) == (2.0, 1, 0)
    assert found.text(".1f") == "+2.0"
    assert Difference.between({0: 1.0}, {1: 1.0}).n == 0


@pytest.mark.parametrize(
    ("mean", "half_width", "sign", "margin", "expected"),
    [
        # That there is a difference.
        (2, 1, 1, None, "reproduced"),
        (2, 1, -1, None, "not reproduced"),
        (-2, 1, -1, None, "reproduced"),
        (0.5, 1, 1, None, "undecided"),
        # That there is none.
        (0.1, 0.15, 0, 0.3, "reproduced"),
        (0.1, 0.5, 0, 0.3, "undecided"),
        (1, 0.5, 0, 0.3, "not reproduced"),
        # That there is no gain.
        (-3, 1, 1, 0.3, "reproduced"),
        (0.1, 0.5, 1, 0.3, "undecided"),
        (-0.1, 0.5, 1, 0.3, "undecided"),
        (1, 0.5, 1, 0.3, "not reproduced"),
        (-1, 0.5, -1, 0.3, "not reproduced"),
        (1, 0.5, -1, 0.3, "reproduced"),
    ],
)
def test_verdicts(mean, half_width, sign, margin, expected):
    # Two seeds are too few for one.
    for n, verdict in ((5, expected), (2, "undecided")):
        difference = Difference(mean, half_width, 1.5, n)
        assert differences.verdict(difference, sign, margin) == verdict


@pytest.mark.parametrize(
    ("paper", "number", "is_outside"),
    [
        *((3.2, None, True), (-2.0, None, True), (2.9, None, False)),
        *(("+0.5 (validation)", 0.5, True), ("+4.1 against -0.1", None, False)),
    ],
)
def test_a_claim_says_whether_the_interval_excludes_the_papers_number(
    paper, number, is_outside
):
    def made(*values):
        values = dict(enumerate(values))
        return claim("it helps", paper, values, sign=1, form=".1f", number=number)

    shown = paper if isinstance(paper, str) else f"{paper:+}"
    rest = "; the paper's number lies outside this interval" if is_outside else ""
    found = made(1.6, 2.0, 2.4)
    assert str(found) == (
        f"it helps. Paper: {shown}; here: +2.0 [+1.0, +3.0], n = 3{rest}; minimum "
        "detectable effect: 1.2."
    )
    assert found.is_other_size == is_outside
    assert not made(1.9, 2.1).is_other_size


def test_the_page_is_that_of_the_records():
    message = "Run python -m keras_bn4.experiments --publish."
    assert PAGE.read_text() == summary.page(), message


def test_a_result_without_records_has_no_section(monkeypatch):
    monkeypatch.setattr(records_of_runs, "published", dict)
    assert summary.page().count("##") == 0
    # Trainings, and seeds.
    assert summary.page().count("| 0 of ") == 2 * len(RESULTS)


def test_the_numbers_of_the_readme_are_those_of_the_records():
    readme = (PAGE.parents[3] / "README.md").read_text()
    [paragraph] = re.findall(r"\*\*Did the paper reproduce\?\*\*.*", readme)
    quoted = re.findall(r"[+-][\d.]+ \[[^\]]+\]", paragraph)
    table, _ = summary.evidence()
    assert len(quoted) >= 4
    assert [numbers for numbers in quoted if f"| {numbers} |" not in table] == []


def test_records_are_packed_into_a_file_for_each_result(tmp_path, monkeypatch):
    before = records_of_runs.published()
    shared = RESULTS["figure2"].trainings("small", 0)[0]
    own = RESULTS["section3.4"].trainings("small", 0)[0]
    folder = tmp_path / "results" / "records"
    folder.mkdir(parents=True)
    for settings in (shared, own):
        path = records_of_runs.path_of(settings, folder.parent)
        path.write_text(json.dumps(before[settings.name]))
    package = tmp_path / "package"
    (package / "records").mkdir(parents=True)
    monkeypatch.setattr(summary, "FOLDER", package)
    monkeypatch.setattr(records_of_runs, "PUBLISHED", package / "records")
    records_of_runs.published.cache_clear()
    summary.publish(["appendix-c"], folder.parent)
    summary.publish(["section3.4", "figure2"], folder.parent)
    packed = {p.stem: p.read_text() for p in (package / "records").glob("*.json")}
    # Appendix C shares it, and comes later.
    assert set(packed) == {"figure2", "section3.4"}
    assert records_of_runs.published() == {
        s.name: before[s.name] for s in (shared, own)
    }
    assert json.loads(packed["figure2"]) == [before[shared.name]]
    assert "1 of 12" in (package / "README.md").read_text()
    records_of_runs.published.cache_clear()

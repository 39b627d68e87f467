"""What is made of records: paired intervals, choices, and verdicts on claims."""

import numpy as np
import pytest
from scipy import stats

from keras_bn4.experiments.reproduction import summary
from keras_bn4.experiments.reproduction.summary import Difference


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
    assert [summary.best_weight(r, "accuracy") for r in ROW.values()] == [0.1, 0.0]
    assert summary.at_zero(ROW, "accuracy") == {0: 20.0, 1: 40.0}
    assert summary.at_best(ROW, "accuracy") == {0: 25.0, 1: 40.0}
    assert summary.at_best(ROW, "cross_entropy") == {0: -0.25, 1: -0.4}
    assert summary.at_best(ROW, "accuracy", "validation") == {0: 30.0, 1: 50.0}
    assert summary.gains(ROW, "accuracy") == {0: 5.0, 1: 0.0}


def test_a_loss_that_is_not_a_number_is_not_chosen():
    one = record(0, [0.1, np.nan, 0.3], [0.1, 0.2, 0.3])
    assert summary.best_weight(one, "cross_entropy") == 0.3


def test_rows():
    records = [record(s, [0], [0], size=n) for s in (0, 1) for n in (8, 4)]
    rows = summary.rows_of(records, lambda settings: settings["size"])
    assert {k: list(v) for k, v in rows.items()} == {8: [0, 1], 4: [0, 1]}
    assert rows[4][1] is records[3]


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


def test_the_least_effect_is_seen_in_four_of_five_cases(rng):
    n, trials = 5, 4000
    spread = 2.0
    # What it is on average, over samples of this spread.
    least = np.mean(
        [
            Difference.between(dict(enumerate(rng.normal(0, spread, n)))).least
            for _ in range(500)
        ]
    )
    samples = rng.normal(least, spread, (trials, n))
    seen = stats.ttest_1samp(samples, 0, axis=1)
    share = np.mean((seen.pvalue < 0.05) & (samples.mean(1) > 0))
    assert 0.7 < share < 0.85


def test_one_seed_decides_nothing():
    found = Difference.between({0: 3.0}, {0: 1.0})
    assert (found.mean, found.n) == (2.0, 1)
    assert summary.verdict(found, 1) == "undecided"
    assert found.text(".1f") == "+2.0"
    assert Difference.between({0: 1.0}, {1: 1.0}).n == 0


@pytest.mark.parametrize(
    ("mean", "sign", "expected"),
    [
        (2, 1, "reproduced"),
        (2, -1, "not reproduced"),
        (-2, -1, "reproduced"),
        (0.5, 1, "undecided"),
    ],
)
def test_verdicts(mean, sign, expected):
    difference = Difference(mean, 1.0, 1.5, 5)
    assert summary.verdict(difference, sign) == expected
    line = summary.claim("it helps", "+3", difference, sign, ".1f")
    assert line.startswith(f"* {expected}: it helps. Paper: +3; here: {mean:+.1f} [")
    assert line.endswith("; least effect to be seen: 1.5.")


@pytest.mark.parametrize(
    ("paper", "is_outside"),
    [
        *(("+3.2", True), ("+0.5 (validation)", True), ("-2", True), ("+2.9", False)),
        *(("shown without number", False), ("+4.1 against -0.1", False)),
    ],
)
def test_a_line_says_whether_the_interval_excludes_the_papers_number(paper, is_outside):
    line = summary.claim("it helps", paper, Difference(2, 1.0, 1.5, 5), 1, ".1f")
    message = "n = 5; the paper's number lies outside this interval; least"
    assert (message in line) == is_outside
    few = summary.claim("it helps", paper, Difference(2, 1.0, 1.5, 2), 1, ".1f")
    assert "outside" not in few


def test_two_seeds_are_too_few_for_a_verdict():
    for n, expected in ((2, "undecided"), (3, "reproduced")):
        difference = Difference(2, 0.01, 0.02, n)
        line = summary.claim("it helps", "+3", difference, 1, ".1f")
        assert line.startswith(f"* {expected}: ")
        line = summary.claim_of_no_change("no matter", "0", difference, 3, ".1f")
        assert line.startswith(f"* {expected}: ")


@pytest.mark.parametrize(
    ("mean", "half_width", "expected"),
    [(0.1, 0.15, "reproduced"), (0.1, 0.5, "undecided"), (1, 0.5, "not reproduced")],
)
def test_verdicts_on_no_change(mean, half_width, expected):
    difference = Difference(mean, half_width, 1.5, 5)
    line = summary.claim_of_no_change("no matter", "p = 0.5", difference, 0.3, ".1f")
    assert line.startswith(f"* {expected}: no matter (at most 0.3). ")


@pytest.mark.parametrize(
    ("mean", "half_width", "sign", "expected"),
    [
        (0.1, 0.15, 1, "reproduced"),
        (-3, 1, 1, "reproduced"),
        (0.1, 0.5, 1, "undecided"),
        (-0.1, 0.5, 1, "undecided"),
        (1, 0.5, 1, "not reproduced"),
        (-1, 0.5, -1, "not reproduced"),
        (1, 0.5, -1, "reproduced"),
    ],
)
def test_verdicts_on_no_gain(mean, half_width, sign, expected):
    difference = Difference(mean, half_width, 1.5, 5)
    arguments = ("no use", "no number", difference, sign, 0.3, ".1f")
    line = summary.claim_of_no_gain(*arguments)
    assert line.startswith(f"* {expected}: no use (at most 0.3). Paper: no number; ")


def test_slopes_are_those_over_binary_logarithms():
    rows = {size: {0: size, 1: size, 9: size} for size in (2, 8, 32)}
    del rows[8][9]

    def values(row):
        return {s: 3 * np.log2(size) * (s + 1) for s, size in row.items()}

    found = summary.slopes(rows, values)
    assert list(found) == [0, 1]
    np.testing.assert_allclose(list(found.values()), [3, 6])

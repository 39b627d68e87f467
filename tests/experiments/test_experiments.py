"""`python -m keras_bn4.experiments`: its list, its reports, what it trains."""

import json
import re

import pytest
from processes import on_reproduction

from keras_bn4.commands.main import ERROR
from keras_bn4.experiments.__main__ import OTHERS, main
from keras_bn4.experiments.reproduction import (
    RESULTS,
    figure3,
    runs,
    summary,
    training,
)


@pytest.fixture
def run(capsys):
    """A function that runs experiments, and returns the status and both outputs."""

    def run(*arguments):
        status = main(list(map(str, arguments)))
        printed, errors = capsys.readouterr()
        return status, printed, errors

    return run


def record(settings, folder):
    """Writes the record of a training that never was."""
    path = runs.path_of(settings, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [0.1 + 0.01 * settings.seed] * len(settings.example_weights)
    results = dict.fromkeys(training.METRICS, values)
    found = {"settings": settings.to_dict(), "seconds": 1.0}
    found["results"] = {"validation": results, "test": results}
    path.write_text(json.dumps(found))


def test_the_list(run, tmp_path):
    for settings in summary.trainings("figure3")[:7]:
        record(settings, tmp_path)
    status, printed, errors = run("--output-dir", tmp_path)
    assert (status, errors) == (0, "")
    assert max(map(len, printed.splitlines())) <= 80
    published = len(summary.published_records("figure3"))
    line = rf"^figure3 +30 +7 +{published} +\d.*  accuracy over"
    assert re.search(line, printed, re.M)
    for name in (*RESULTS, "speed", "distributed"):
        assert re.search(rf"^{name} ", printed, re.M)
    assert re.search(r"^figure4 \(figure9\) .* example weighing", printed, re.M)
    assert "not available" not in printed
    status, printed, _ = run("--scale", "paper", "--seeds", 2)
    assert status == 0
    assert not re.search("^figure5b ", printed, re.M)
    assert "not available at this scale" in " ".join(printed.split())
    assert re.search(r"^figure3 +12 +0 +0 +\? ", printed, re.M)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figure33"], "There is no result 'figure33'. Allowed: figure3, figure4"),
        (
            ["figure3", "figure5b", "--scale", "paper"],
            "figure5b is not available at --scale paper. Allowed: small.",
        ),
        (["figure3", "--shard", "0/2"], "such as 1/4 to 4/4. Received: '0/2'"),
        (["figure3", "--shard", "half"], "such as 1/4 to 4/4. Received: 'half'"),
        (["figure3", "--seeds", 0], "`seeds` must be an integer from 1"),
        (["figure3", "--output-dir", ""], "--output-dir must be a folder"),
    ],
)
def test_wrong_arguments(arguments, message, run):
    status, _, errors = run(*arguments)
    assert status == ERROR
    assert message in errors


def test_others_run_by_their_names(run):
    status, _, errors = run(
        *("pretrained", "none.keras", "--split", "none", "--dataset", "digits")
    )
    assert status == ERROR
    assert re.search(r"^error: .*'none'", errors, re.M)


@pytest.mark.parametrize("name", OTHERS)
def test_others_describe_themselves(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "usage: " in capsys.readouterr().out


def test_data_that_are_not_there(run, tmp_path):
    status, _, errors = run(
        *("figure3", "--data-dir", tmp_path, "--output-dir", tmp_path / "out")
    )
    assert status == ERROR
    assert "split_names('cifar100'" in errors


@pytest.mark.parametrize("name", [n for n in RESULTS if summary.published_records(n)])
def test_what_is_published_is_reported_in_80_columns_without_training(
    name, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "build", None)
    status, printed, _ = run(name, "--recorded", "--output-dir", tmp_path)
    assert status == 0
    assert f"{name}" in printed
    paths = str(tmp_path)
    lines = [line for line in printed.splitlines() if paths not in line]
    assert max(map(len, lines)) <= 80
    assert {path.suffix for path in tmp_path.iterdir()} == {".png"}


def test_supplements_are_the_same_results(run, tmp_path):
    for settings in summary.trainings("figure3"):
        record(settings, tmp_path)
    arguments = ("figure9", "figure7", "figure4", "--output-dir", tmp_path)
    status, printed, _ = run(*arguments)
    assert status == 0
    assert re.findall(r"^(figure.*): ", printed, re.M) == [
        *("figure4 (figure9)", "figure1 (figure7)")
    ]
    assert {path.name for path in tmp_path.glob("*.png")} == {
        *("figure1-small.png", "figure4-small.png")
    }


@pytest.mark.slow
def test_it_trains_reports_and_draws(run, tmp_path, monkeypatch):
    usual = on_reproduction.TINY.replace(epochs=1)
    rows = [usual, *(usual.replace(ghost_batch_size=size) for size in (8, 4))]
    monkeypatch.setattr(figure3, "trainings", lambda *arguments: rows)

    def reproduce(*arguments):
        status, printed, errors = run(
            *("figure3", "--seeds", 1, "--output-dir", tmp_path, *arguments)
        )
        assert (status, errors) == (0, "")
        return printed

    printed = reproduce("--shard", "2/2")
    assert "Training 1 of 1: digits-40-" in printed
    assert "Open: 2 of 3 trainings." in printed
    printed = reproduce()
    assert "Training 3 of 3: digits-40-" in printed
    assert (tmp_path / "figure3-small.png").stat().st_size > 5_000
    monkeypatch.setattr(training, "build", None)
    assert reproduce() == printed[printed.index("\nfigure3: ") :]

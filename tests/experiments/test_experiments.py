"""`python -m keras_bn4.experiments`: lists, reports, workers."""

import functools
import json
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers import SHARED, needs_shared

from keras_bn4.experiments.__main__ import main
from keras_bn4.experiments.reproduction import RECORDS, RESULTS, figure3, runs, training


@pytest.fixture
def run(capsys):
    """A function that runs experiments, and returns the status and both outputs."""

    def run(*arguments):
        status = main(list(map(str, arguments)))
        printed, errors = capsys.readouterr()
        return status, printed, errors

    return run


# On scikit-learn's digits.
SMALLEST = {
    "train_images": 130,
    "validation_images": 50,
    "filters": (4,),
    "epochs": 1,
    "example_weights": (0.0, 0.5),
}


def record(settings, folder):
    """Writes the record of a training that never was."""
    path = runs.Run(settings, folder).path
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [0.1 + 0.01 * settings.seed] * len(settings.example_weights)
    results = dict.fromkeys(training.METRICS, values)
    found = {"settings": settings.to_dict(), "results": {}}
    found["results"] = {"validation": results, "test": results}
    path.write_text(json.dumps(found))


def test_the_list(run, tmp_path):
    for settings in figure3.trainings("small", 5)[:7]:
        record(settings, tmp_path)
    status, printed, errors = run("--output-dir", tmp_path)
    assert (status, errors) == (0, "")
    shipped = len(runs.records_of(figure3.trainings("small", 5), RECORDS.parent))
    line = rf"^figure3 +accuracy over the ghost batch size +30 +7 +{shipped} +\d"
    assert re.search(line, printed, re.M)
    for name in RESULTS:
        assert re.search(rf"^{name} ", printed, re.M)
    assert re.search(r"^figure4 \(figure9\) +example weighing", printed, re.M)
    assert "isn't listed" not in printed
    status, printed, _ = run("--scale", "paper", "--seeds", 2)
    assert status == 0
    assert not re.search("^figure5b ", printed, re.M)
    assert "What can't be made at this scale isn't listed." in printed
    assert re.search(r"^figure3 .* 12 +0 +0 +\?$", printed, re.M)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["figure33"], "There is no result 'figure33'. Allowed: figure3, figure4"),
        (
            ["figure3", "figure5b", "--scale", "paper"],
            "figure5b can't be made at --scale paper. Allowed: small.",
        ),
        (["figure3", "--workers", 0], "`workers` must be an integer from 1"),
        (["figure3", "--seeds", 0], "`seeds` must be an integer from 1"),
        (["figure3", "--output-dir", ""], "--output-dir must be a folder"),
    ],
)
def test_wrong_arguments(arguments, message, run):
    status, _, errors = run(*arguments)
    assert status == 1
    assert message in errors


def test_data_that_are_not_there(run, tmp_path):
    status, _, errors = run(
        *("figure3", "--data-dir", tmp_path),
        *("--output-dir", tmp_path / "out"),
    )
    assert status == 1
    assert "split_names('cifar100'" in errors
    assert not list((tmp_path / "out" / "claims").iterdir())


def test_what_comes_with_the_package_is_reported_without_training(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "build", None)
    arguments = ("figure3", "--recorded", "--output-dir", tmp_path)
    status, printed, _ = run(*arguments)
    assert status == 0
    assert "figure3: accuracy over the ghost batch size, scale small" in printed
    assert {path.suffix for path in tmp_path.iterdir()} <= {".png"}


def test_supplements_are_the_same_results(run, tmp_path):
    for settings in figure3.trainings("small", 5):
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
    smallest = functools.partial(figure3.trainings, **SMALLEST)
    monkeypatch.setattr(figure3, "trainings", smallest)

    def reproduce():
        status, printed, errors = run(
            *("figure3", "--dataset", "digits", "--seeds", 1),
            *("--output-dir", tmp_path),
        )
        assert (status, errors) == (0, "")
        return printed

    printed = reproduce()
    assert "Training 6 of 6: digits-130-" in printed
    assert (tmp_path / "figure3-small.png").stat().st_size > 5_000
    monkeypatch.setattr(training, "build", None)
    again = reproduce()
    assert "Training" not in again
    assert again == printed[printed.index("\nfigure3: ") :]


def start(folder, *arguments):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "keras_bn4.experiments", "figure3"),
            *("--workers", "2", "--output-dir", str(folder), *map(str, arguments)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells let background processes, such as this one may be, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_workers_that_have_nothing_to_do(tmp_path):
    for settings in figure3.trainings("small", 1):
        record(settings, tmp_path)
    with start(tmp_path, "--seeds", 1) as process:
        printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "figure3: accuracy over" in printed
    assert len(list((tmp_path / "logs").iterdir())) == 2


@pytest.mark.slow
def test_workers_that_fail(tmp_path):
    with start(tmp_path / "out", "--data-dir", tmp_path) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.startswith("error: 30 of 30 trainings are open. A worker ended with ")
    assert "status 1: error: Data set" in errors
    assert "split_names('cifar100'" in errors


@pytest.mark.slow
@needs_shared
def test_workers_that_are_interrupted_give_back_their_claims(tmp_path):
    with start(tmp_path, "--data-dir", SHARED / "tfds") as process:
        try:
            claims, latest = tmp_path / "claims", time.monotonic() + 120
            while len(list(claims.glob("cifar100-*"))) < 2:
                assert process.poll() is None
                assert time.monotonic() < latest
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Interrupted." in printed
    assert not list(claims.iterdir())

"""The results of the reproduction: what they train, conclude and draw."""

import json
import re

import numpy as np
import pytest

from keras_bn4.experiments.reproduction import RECORDS, RESULTS, runs
from keras_bn4.experiments.reproduction.settings import SCALES, Settings

# The smallest form: one step of 128 an epoch, on scikit-learn's digits.
SMALLEST = {
    "train_images": 130,
    "validation_images": 50,
    "filters": (32,),
    "blocks": 1,
    "epochs": 1,
    "example_weights": (0.0, 0.5, 1.0),
}


def made_up(settings, accuracy):
    """A record of a training that went as a function of settings and weights says."""
    rng = np.random.default_rng([settings.seed, len(settings.name)])
    results = {}
    for split in ("validation", "test", *settings.recalibrations):
        has_weights = split in ("validation", "test")
        weights = settings.example_weights if has_weights else (0.0,)
        values = [accuracy(settings, weight) for weight in weights]
        values = np.array(values) + rng.normal(0, 1e-4) + 0.01 * settings.seed
        losses = 4 - values
        if not has_weights and "augmented" not in split and accuracy is as_in_the_paper:
            values, losses = values - 0.005, losses - 0.01
        results[split] = {
            "accuracy": values.tolist(),
            "cross_entropy": losses.tolist(),
        }
    return {"settings": settings.to_dict(), "results": results}


def as_in_the_paper(settings, weight):
    """Accuracies with the effects that the paper reports."""
    value = 0.5
    size = settings.ghost_batch_size or settings.batch_size
    value -= 0.01 * abs(np.log2(size) - 3)
    best = 1 / (1 + size)
    if settings.groups is not None or settings.elements_per_group is not None:
        value += 0.005 if settings.elements_per_group is not None else 0
        value -= 0.02 if settings.statistics_noise else 0
        value += 0.03 if settings.ghost_batch_size != 1 else 0
        best = 0.9
    if settings.renorm:
        value, best = 0.52, 0.0
    if settings.affine_decay != "none":
        value += 0.02 if settings.residual else -0.01
    if settings.classes_per_batch and size == 128 and not settings.renorm:
        best = 0.7
    return value - 0.05 * (weight - best) ** 2


def no_effect(settings, weight):
    return 0.5


def verdicts(text):
    return re.findall(r"^\* (reproduced|undecided|not): ", text, re.M)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", RESULTS)
def test_trainings_are_paired_by_seed_and_come_seed_by_seed(name, scale):
    result = RESULTS[name]
    trainings = result.trainings(scale, 2)
    half = len(trainings) // 2
    assert len(set(trainings)) == len(trainings)
    assert [s.seed for s in trainings] == [0] * half + [1] * half
    assert [s.replace(seed=0) for s in trainings[half:]] == trainings[:half]
    assert {s.train_images for s in trainings} <= {2_500, 10_000, 40_000}
    assert {s.dataset for s in result.trainings(scale, 1, "cifar10")} == {"cifar10"}
    assert result.SEEDS[scale] >= 1
    assert scale in result.HOURS
    assert f"reproduce {name.partition('-')[0]}" in result.__doc__ or name == "figure4"


def test_trainings_are_shared():
    figure3, figure4, decay = (
        RESULTS[name].trainings("small", 1)
        for name in ("figure3", "figure4", "section3.3")
    )
    assert figure3 == figure4
    assert Settings() in figure3
    assert Settings() in decay


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", RESULTS)
def test_effects_as_in_the_paper_are_found(name, scale):
    result = RESULTS[name]
    trainings = result.trainings(scale, 3)
    text = result.report([made_up(s, as_in_the_paper) for s in trainings])
    assert set(verdicts(text)) == {"reproduced"}, text
    assert "n = 3" in text


@pytest.mark.parametrize("name", RESULTS)
def test_without_effects_none_is_found(name):
    result = RESULTS[name]
    trainings = result.trainings("small", 3)
    text = result.report([made_up(s, no_effect) for s in trainings])
    lines = [line for line in text.splitlines() if line.startswith("* reproduced")]
    # That something makes no difference is a claim, too.
    assert all("at most" in line for line in lines), text


@pytest.mark.parametrize("name", RESULTS)
def test_reports_of_what_is_there_so_far(name, tmp_path):
    result = RESULTS[name]
    trainings = result.trainings("small", 2)
    for count in range(1, len(trainings) + 1):
        records = [made_up(s, as_in_the_paper) for s in trainings[:count]]
        assert result.report(records)
    result.draw(records[:1], tmp_path / "one.png")
    result.draw(records, tmp_path / "all.png")
    assert (tmp_path / "all.png").stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RESULTS if name != "figure4"])
def test_the_smallest_form(name, tmp_path):
    result = RESULTS[name]
    trainings = result.trainings("small", 1, "digits", **SMALLEST)
    runs.work(trainings, tmp_path, verbose=0)
    records = runs.records_of(trainings, tmp_path)
    assert len(records) == len(trainings)
    for record in records:
        found = record["results"]["test"]
        assert all(np.isfinite(values).all() for values in found.values())
    # Rows that differ in training do so in their results.
    assert len({str(record["results"]) for record in records}) > len(records) // 2
    assert result.report(records)


def test_the_records_of_the_package():
    for path in RECORDS.glob("*.json"):
        settings = Settings.from_record(json.loads(path.read_text())["settings"])
        run = runs.Run(settings, RECORDS.parent)
        assert run.path == path
        assert run.record()["results"]

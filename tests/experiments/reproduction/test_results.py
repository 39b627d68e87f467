"""The results of the reproduction: what they train, conclude and draw."""

import json
import re

import keras
import numpy as np
import pytest
from dataset_helpers import prepare
from helpers import slow_but

from keras_bn4.experiments.reproduction import RECORDS, RESULTS, SUPPLEMENTS, runs
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


# Their trainings are all of another result.
SHARING = ("figure1", "figure4")
AT_SCALES = [
    (name, scale) for name, result in RESULTS.items() for scale in result.SEEDS
]


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
    if settings.measures_outputs:
        results["outputs"] = made_up_outputs(settings, values[0], accuracy)
    return {"settings": settings.to_dict(), "results": results}


def made_up_outputs(settings, value, accuracy):
    """Ranges that reach half of the bound, or those that the paper reports."""
    size = settings.ghost_batch_size or settings.batch_size
    bound = np.sqrt(16 * size - 1)
    shares = {"training": 0.5, "inference": 0.5}
    if accuracy is as_in_the_paper:
        shares = {"training": 0.96 / np.log2(2 * size), "inference": 1.2 + value}
    return {
        "elements": 16.0 * size,
        "bound": bound,
        "example_weight": 0.1,
        **{f"{mode}_minimum": -bound * share for mode, share in shares.items()},
        **{f"{mode}_maximum": bound * share / 2 for mode, share in shares.items()},
    }


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
    return re.findall(r"^\* (reproduced|undecided|not reproduced): ", text, re.M)


def without_seed(settings):
    source = settings.source and settings.source.replace(seed=0)
    return settings.replace(seed=0, source=source)


@pytest.mark.parametrize(("name", "scale"), AT_SCALES)
def test_trainings_are_paired_by_seed_and_come_seed_by_seed(name, scale):
    result = RESULTS[name]
    trainings = result.trainings(scale, 2)
    half = len(trainings) // 2
    assert len(set(trainings)) == len(trainings)
    assert [s.seed for s in trainings] == [0] * half + [1] * half
    assert [without_seed(s) for s in trainings[half:]] == trainings[:half]
    assert {s.source.seed for s in trainings[half:] if s.source} <= {1}
    whole = {s.train_images for s in trainings if s.classes == "all"}
    assert whole <= {2_500, 10_000, 40_000, 45_000}
    assert {s.dataset for s in result.trainings(scale, 1, "cifar10")} == {"cifar10"}
    assert result.SEEDS[scale] >= 1
    assert f"keras_bn4.experiments {name.partition('-')[0]}" in result.__doc__
    assert set(result.SEEDS) == set(result.HOURS) <= set(SCALES)


def test_trainings_are_shared():
    figure3, figure4, decay = (
        RESULTS[name].trainings("small", 1)
        for name in ("figure3", "figure4", "section3.3")
    )
    assert figure3 == figure4
    assert Settings() in figure3
    assert Settings() in decay


@pytest.mark.parametrize(("name", "scale"), AT_SCALES)
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
    result.draw(records[: len(records) // 2 + 1], tmp_path / "more.png")
    result.draw(records, tmp_path / "all.png")
    assert (tmp_path / "all.png").stat().st_size > 5_000


@pytest.mark.parametrize("name", slow_but(["figure4"], RESULTS))
def test_a_training_that_came_to_nothing(name, tmp_path):
    result = RESULTS[name]
    records = [
        made_up(s, as_in_the_paper)
        for s in result.trainings("small", 3)
        if s.source is None or name == "figure5b"
    ]
    nothing = records[1]["results"]
    for split, values in nothing.items():
        if split != "outputs":
            values["cross_entropy"] = [np.nan] * len(values["cross_entropy"])
    assert result.report(records)
    result.draw(records, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("seeds", "expected"), [(1, "undecided"), (3, "not reproduced")]
)
def test_the_smallest_ghosts_can_be_the_best(seeds, expected):
    records = RESULTS["figure3"].trainings("small", seeds)
    text = RESULTS["figure3"].report(
        [
            made_up(s, lambda s, _: 0.5 - 0.01 * (s.ghost_batch_size or 9))
            for s in records
        ]
    )
    assert verdicts(text)[1] == expected
    assert "ghosts of 4, the best of the larger ones on validation data, beat" in text


def test_every_figure_of_the_paper_has_a_name():
    assert set(SUPPLEMENTS) <= set(RESULTS)
    names = {*RESULTS, *SUPPLEMENTS.values()}
    assert {f"figure{i}" for i in (1, 2, 3, 4, "5a", "5b", 6, 7, 8, 9)} <= names
    for name, supplement in SUPPLEMENTS.items():
        assert f" and {supplement[-1]}: " in RESULTS[name].__doc__.splitlines()[0]


def test_a_source_comes_before_what_starts_from_it():
    trainings = RESULTS["figure5b"].trainings("small", 2)
    sources = [s for s in trainings if s.source is None]
    assert [s.seed for s in sources] == [0, 1]
    for settings in trainings:
        if settings.source is None:
            assert settings.classes == "first half"
            assert settings.method == "batch norm"
        else:
            assert settings.classes == "second half"
            assert settings.source == sources[settings.seed]
            assert trainings.index(settings.source) < trainings.index(settings)


@pytest.fixture
def untraced():
    """On TensorFlow, to trace so many networks would take most of the time."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_func")
@pytest.mark.parametrize("name", [n for n in RESULTS if n not in SHARING])
def test_the_smallest_form(name, tmp_path, untraced):
    result = RESULTS[name]
    dataset = "digits"
    if name == "figure5b":
        # Half of the digits don't fill a minibatch.
        tfds = pytest.importorskip("tensorflow_datasets")
        prepare(tfds, tmp_path, size=(8, 8), train=400, classes=4)
        dataset = "tiny"
    changes = SMALLEST
    if name == "section3.4":
        # Ten minibatches of two.
        changes = {**SMALLEST, "train_images": 20}
    trainings = result.trainings("small", 1, dataset, **changes)
    runs.work(trainings, tmp_path, verbose=0, data_dir=tmp_path)
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

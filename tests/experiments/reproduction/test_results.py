"""The results of the reproduction: what they train, conclude and draw."""

import numpy as np
import pytest
from dataset_helpers import prepare
from helpers import untraced

from keras_bn4.experiments.reproduction import RESULTS, SUPPLEMENTS, runs, summary
from keras_bn4.experiments.reproduction.settings import SCALES

# The smallest form: one step of 128 an epoch, on scikit-learn's digits.
SMALLEST = {
    "train_images": 130,
    "validation_images": 50,
    "filters": (8,),
    "epochs": 1,
    "example_weights": (0.0, 0.5, 1.0),
}


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


def made(name, scale="small", seeds=3, accuracy=as_in_the_paper):
    return [made_up(s, accuracy) for s in summary.trainings(name, scale, seeds)]


def verdicts(name, records, scale="small"):
    claims = summary.table_and_claims(name, records, scale)[1]
    return {claim.text: claim.verdict for claim in claims}


@pytest.mark.parametrize(("name", "scale"), AT_SCALES)
def test_trainings_are_paired_by_seed(name, scale):
    result = RESULTS[name]
    first, second = (result.trainings(scale, seed) for seed in (0, 1))
    assert len(set(first)) == len(first)
    assert {s.seed for s in first} == {0}
    assert {s.source.seed for s in second if s.source} <= {1}
    sources = [s.source and s.source.replace(seed=0) for s in second]
    assert [s.replace(seed=0, source=x) for s, x in zip(second, sources)] == first
    # A source comes before what starts from it.
    for settings in first:
        if settings.source is not None:
            assert first.index(settings.source) < first.index(settings)
            assert settings.source.classes != settings.classes
    assert {s.dataset for s in result.trainings(scale, 0, "cifar10")} == {"cifar10"}
    assert f"keras_bn4.experiments {name.partition('-')[0]}" in result.__doc__
    assert set(result.SEEDS) == set(result.HOURS) <= set(SCALES)


@pytest.mark.parametrize(("name", "scale"), AT_SCALES)
def test_effects_as_in_the_paper_are_found(name, scale):
    records = made(name, scale)
    assert set(verdicts(name, records, scale).values()) == {"reproduced"}
    claims = summary.table_and_claims(name, records, scale)[1]
    assert {claim.difference.n for claim in claims} == {3}


@pytest.mark.parametrize("name", RESULTS)
def test_without_effects_none_is_found(name):
    found = verdicts(name, made(name, accuracy=no_effect))
    # That something makes no difference is a claim, too.
    assert all("at most" in text for text, v in found.items() if v == "reproduced")


@pytest.mark.parametrize("name", RESULTS)
def test_what_is_there_so_far_is_reported_and_drawn(name, tmp_path):
    records = made(name, seeds=2)
    for count in range(1, len(records) + 1):
        assert summary.report(name, records[:count])
    # One training that came to nothing.
    for split, values in records[1]["results"].items():
        if split != "outputs":
            values["cross_entropy"] = [np.nan] * len(values["cross_entropy"])
    for part in (records[:1], records):
        summary.draw(name, part, tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5_000
        assert max(map(len, summary.report(name, part).splitlines())) <= 80


@pytest.mark.parametrize(
    ("seeds", "expected"), [(1, "undecided"), (3, "not reproduced")]
)
def test_the_smallest_ghosts_can_be_the_best(seeds, expected):
    def best_at_two(settings, weight):
        return 0.5 - 0.01 * (settings.ghost_batch_size or 9)

    records = made("figure3", seeds=seeds, accuracy=best_at_two)
    text, verdict = list(verdicts("figure3", records).items())[1]
    assert verdict == expected
    assert "ghosts of 4, the best of the larger ones on validation data, beat" in text


def test_every_figure_of_the_paper_has_a_name():
    names = {*RESULTS, *SUPPLEMENTS.values()}
    assert {f"figure{i}" for i in (1, 2, 3, 4, "5a", "5b", 6, 7, 8, 9)} <= names


def smallest(settings):
    source = settings.source and smallest(settings.source)
    return settings.replace(**SMALLEST, source=source)


# Every way of training and of measuring; the others differ in values alone.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["table1", "figure5b", "figure6", "appendix-c"])
def test_the_smallest_form(name, tmp_path):
    dataset = "digits"
    if name == "figure5b":
        # Half of the digits don't fill a minibatch.
        tfds = pytest.importorskip("tensorflow_datasets")
        prepare(tfds, tmp_path, size=(8, 8), train=400, classes=4)
        dataset = "tiny"
    trainings = RESULTS[name].trainings("small", 0, dataset)
    # The first is the source of the others, where there is one.
    trainings = list(map(smallest, [*trainings[:2], trainings[-1]]))
    with untraced():
        runs.work(trainings, tmp_path, verbose=0, data_dir=tmp_path)
    records = runs.records_of(trainings, tmp_path)
    assert len(records) == len(trainings)
    for record in records:
        found = record["results"]["test"]
        assert all(np.isfinite(values).all() for values in found.values())
    # Rows that differ in training do so in their results.
    assert len({str(record["results"]) for record in records}) == 3
    assert summary.report(name, records)

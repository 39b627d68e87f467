"""Settings: what they stand for never changes, nor do the names of records."""

import dataclasses
import hashlib
import json

import pytest

from keras_bn4.experiments.reproduction.settings import SCALES, Settings


@pytest.mark.parametrize("scale", SCALES)
def test_a_record_gives_them_back(scale):
    settings = Settings.at_scale(scale, ghost_batch_size=8, seed=3, source=Settings())
    written = json.loads(json.dumps(settings.to_dict()))
    assert Settings.from_record(written) == settings
    assert Settings.from_record(written).name == settings.name


def test_the_names_of_records_stay():
    # Records that were made have these names. They may not change.
    common = "cifar100-2500-resnet8-batch128"
    assert Settings().name == f"{common}-batchnorm-seed0-44136fa3"
    name = f"{common}-ghostsof8-seed0-b7bcd1d5"
    assert Settings(ghost_batch_size=8).name == name


def test_a_data_set_with_a_configuration_makes_no_folder():
    name = Settings(dataset="emnist/letters").name
    assert name.startswith("emnist_letters-")
    assert name != Settings(dataset="emnist_letters").name


def test_every_setting_counts_in_the_name():
    names = {Settings().name}
    for field in dataclasses.fields(Settings):
        value = {
            "dataset": "cifar10",
            "classes": "first half",
            "filters": (4,),
            "example_weights": (0.0,),
            "source": Settings(),
        }.get(field.name, 7)
        names.add(Settings(**{field.name: value}).name)
    assert len(names) == 1 + len(dataclasses.fields(Settings))


def test_a_field_that_is_added_later_does_not_count_in_a_source_either():
    settings = Settings(source=Settings(epochs=3))
    text = '{"source": {"epochs": 3}}'
    assert settings.name.endswith(hashlib.sha256(text.encode()).hexdigest()[:8])
    record = json.loads(json.dumps(settings.to_dict()))
    del record["source"]["classes"]
    assert Settings.from_record(record) == settings


def test_the_name_says_what_is_looked_for():
    settings = Settings(
        residual=False, blocks=3, renorm=True, affine_decay="to 1", classes_per_batch=4
    )
    words = "-plain20-batch128-batchrenorm-decayto1-4classes-seed0-"
    assert words in settings.name
    assert "-groupnorm-" in Settings(groups=2, ghost_batch_size=1).name
    assert "-batch-groupnorm-" in Settings(groups=2).name
    settings = Settings(classes="second half", source=Settings())
    assert "-secondhalf-transfer-seed0-" in settings.name

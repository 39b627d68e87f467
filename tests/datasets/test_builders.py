import builtins
import shlex
import time

import pytest
from dataset_helpers import no_network, prepare

from keras_bn4.datasets import load, split_names, stream


def test_missing_packages_name_the_extra(monkeypatch):
    real_import = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] in ("sklearn", "tensorflow_datasets"):
            raise ImportError(f"No module named {name!r}")
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in ("digits", "cifar100"):
        with pytest.raises(ImportError, match=r'pip install "keras_bn4\[datasets\]"'):
            load(name, "test")


@pytest.mark.parametrize("image_size", [5, (5,), (5, 0), (5, 2.5), "ab", (True, 5)])
def test_malformed_image_size(tfds, tmp_path, image_size):
    prepare(tfds, tmp_path)
    with pytest.raises(ValueError, match="`image_size` must"):
        load("tiny", "test", data_dir=tmp_path, image_size=image_size)


@pytest.mark.parametrize("split", ["tset", "test[:50%", "test[0%:101%]", ""])
def test_bad_splits_list_the_splits(tfds, tmp_path, split):
    prepare(tfds, tmp_path)
    with pytest.raises(ValueError, match=r"Allowed: \['test', 'train'\]|'train', 'te"):
        load("tiny", split, data_dir=tmp_path)


def test_empty_split(tfds, tmp_path):
    prepare(tfds, tmp_path)
    with pytest.raises(ValueError, match=r"'test\[3:3\]'.*no examples"):
        load("tiny", "test[3:3]", data_dir=tmp_path)


def test_data_without_labels(tfds, tmp_path):
    prepare(tfds, tmp_path, labels=False)
    with pytest.raises(ValueError, match="not one of labelled images"):
        load("tiny", "test", data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"'imdb_reviews'.*'Text'"):
        load("imdb_reviews", "test", data_dir=tmp_path)


@pytest.mark.parametrize(
    "name", ["cifar1000", "", "huggingface:cifar100", "../cifar100", None, 3]
)
def test_unknown_data_sets_fail_without_the_network(tfds, tmp_path, monkeypatch, name):
    no_network(monkeypatch)
    with pytest.raises(ValueError, match=r"Unknown data set.*Allowed: 'digits'"):
        load(name, "test", data_dir=tmp_path)


def test_a_close_name_is_suggested(tfds):
    with pytest.raises(ValueError, match=r"Did you mean one of \[.*'cifar100'"):
        load("cifar_100", "test")


def test_what_is_not_on_disk_fails_at_once(tfds, tmp_path):
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10", "test", data_dir=tmp_path)
    assert time.perf_counter() - start < 10
    for part in ("'cifar10'", str(tmp_path), "download=True"):
        assert part in str(error.value)


@pytest.mark.parametrize("download", [False, True])
def test_what_must_be_fetched_by_hand_fails_at_once(
    tfds, tmp_path, monkeypatch, download
):
    no_network(monkeypatch)
    for call in (
        lambda: split_names("imagenet2012", data_dir=tmp_path, download=download),
        lambda: load(
            "imagenet2012:5.1.0",
            "train",
            data_dir=tmp_path,
            download=download,
            image_size=(8, 8),
        ),
        lambda: stream(
            "imagenet2012",
            "train",
            data_dir=tmp_path,
            download=download,
            image_size=(8, 8),
            batch_size=2,
        ),
    ):
        with pytest.raises(FileNotFoundError) as error:
            call()
        for part in (
            "ILSVRC2012_img_train.tar",
            str(tmp_path / "downloads/manual"),
            "download=True",
        ):
            assert part in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("has_folder", [False, True])
def test_the_command_in_the_error_runs(tfds, tmp_path, monkeypatch, has_folder):
    no_network(monkeypatch)
    if not has_folder:
        monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    where = {"data_dir": tmp_path} if has_folder else {}
    with pytest.raises(FileNotFoundError) as error:
        split_names("imagenet2012", **where)
    assert str(tmp_path) in str(error.value)
    command = shlex.split(str(error.value).rpartition("command: ")[2])
    assert command[:2] == ["python", "-c"]
    # As long as the archives are missing, it is the same error.
    with pytest.raises(FileNotFoundError) as again:
        exec(command[2], {})
    assert str(again.value) == str(error.value)

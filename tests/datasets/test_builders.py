"""What is said of a data set that is not there, or not what was asked for."""

import builtins
import re
import shlex

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


@pytest.mark.parametrize(
    "image_size", [5, (5,), (5, 0), (5, 2.5), "ab", ("a", 3), (True, 5)]
)
def test_malformed_image_size(tiny, image_size):
    with pytest.raises(ValueError, match="`image_size` must"):
        load("tiny", "test", data_dir=tiny, image_size=image_size)


ALLOWED = r"Allowed: \['test', 'train'\]|'train', 'te"


@pytest.mark.parametrize(
    ("split", "message"),
    [
        *[(x, ALLOWED) for x in ("tset", "test[:50%", "test[0%:101%]", "")],
        ("test[3:3]", r"'test\[3:3\]'.*no examples"),
    ],
)
def test_bad_splits(tiny, split, message):
    with pytest.raises(ValueError, match=message):
        load("tiny", split, data_dir=tiny)


def test_data_without_labels(tfds, tmp_path):
    prepare(tfds, tmp_path, labels=False)
    with pytest.raises(ValueError, match="not one of labelled images"):
        load("tiny", "test", data_dir=tmp_path)


OTHERS = ("digitz", "", "huggingface:cifar100", "../cifar100", "cifar100:abc", None, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *[(x, f"Unknown data set {re.escape(repr(x))}.*'digits'") for x in OTHERS],
        ("cifar_100", r"Did you mean one of \[.*'cifar100'"),
        ("cifar100:9.9.9", r"no such version.*3\.0\.2.*alone, 'cifar100'"),
        ("cifar100/x", "no such version or configuration.*'cifar100'"),
        ("imdb_reviews", "not one of labelled images.*'Text'.*Give the name"),
    ],
)
def test_other_data_sets_fail_without_the_network(
    tfds, tmp_path, monkeypatch, name, message
):
    no_network(monkeypatch)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load(name, "test", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("name", ["cifar10", "imagenet2012", "imagenet2012:5.1.0"])
def test_what_is_not_on_disk_fails_at_once(tfds, tmp_path, monkeypatch, name, download):
    no_network(monkeypatch)
    parts = [repr(name), "not on disk", str(tmp_path), "download=True", "python -c"]
    if name != "cifar10":
        parts += ["ILSVRC2012_img_train.tar", str(tmp_path / "downloads/manual")]
    elif download:
        pytest.skip("it would be downloaded")
    where = {"data_dir": tmp_path, "download": download}
    images = {**where, "image_size": (8, 8)}
    for call in (
        lambda: split_names(name, **where),
        lambda: load(name, "train", **images),
        lambda: stream(name, "train", batch_size=2, **images),
    ):
        with pytest.raises(FileNotFoundError) as error:
            call()
        for part in parts:
            assert part in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("has_folder", [False, True])
def test_the_command_in_the_error_runs(tfds, tmp_path, monkeypatch, has_folder):
    no_network(monkeypatch)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    where = {"data_dir": tmp_path / "own"} if has_folder else {}
    with pytest.raises(FileNotFoundError) as error:
        split_names("imagenet2012", **where)
    assert str(tmp_path) in str(error.value)
    command = shlex.split(str(error.value).rpartition("command: ")[2])
    assert command[:2] == ["python", "-c"]
    # As long as the archives are missing, it is the same error.
    with pytest.raises(FileNotFoundError) as again:
        exec(command[2], {})
    assert str(again.value) == str(error.value)

import builtins
import json
import os
import pathlib
import time

import keras
import numpy as np
import pytest

from keras_bn4.datasets import load, non_iid_batches

TFDS = pathlib.Path(
    os.environ.get("TFDS_DATA_DIR")
    or pathlib.Path(__file__).resolve().parents[2] / "shared/tfds"
)
real_cifar100 = pytest.mark.skipif(
    not (TFDS / "cifar100").exists(), reason=f"no CIFAR-100 in {TFDS}"
)


@pytest.fixture
def tfds():
    pytest.importorskip("tensorflow")
    return pytest.importorskip("tensorflow_datasets")


def prepare(tfds, data_dir, *, size=(6, 4), labels=True):
    """A small data set of the given name, in the files of tensorflow-datasets."""
    features = {"image": tfds.features.Image(shape=(*(size or (None, None)), 3))}
    if labels:
        features["label"] = tfds.features.ClassLabel(num_classes=5)
    rng = np.random.default_rng(0)

    def examples(n):
        for i in range(n):
            shape = size or (6 + i, 4)
            image = rng.integers(0, 256, (*shape, 3), dtype="uint8")
            yield i, {"image": image, **({"label": i % 5} if labels else {})}

    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": list(examples(12)), "test": list(examples(7))},
        data_dir=data_dir,
    )
    if labels:
        # What a data set's own code declares, and this function can't.
        path = data_dir / "tiny/1.0.0/dataset_info.json"
        info = json.loads(path.read_text())
        keys = [{"featureKey": "image"}, {"featureKey": "label"}]
        info["supervisedKeys"] = {"tuple": {"items": keys}}
        path.write_text(json.dumps(info))
    return builder


def test_digits():
    pairs = load("digits", ("train", "validation", "test"))
    assert [x.shape for x, _ in pairs] == [(n, 8, 8, 1) for n in (200, 798, 799)]
    for x, y in pairs:
        assert (x.dtype, y.dtype) == ("uint8", "int64")
        assert (x.min(), x.max()) == (0, 16)
        share = np.bincount(y, minlength=10) / len(y)
        assert np.abs(share - 0.1).max() < 0.01
    again = load("digits", "validation")
    np.testing.assert_array_equal(again[0], pairs[1][0])
    np.testing.assert_array_equal(again[1], pairs[1][1])


def test_digits_splits_share_nothing():
    from sklearn.datasets import load_digits

    pairs = load("digits", ["train", "validation", "test"])
    together = np.concatenate([x for x, _ in pairs]).reshape(1797, 64)
    original = load_digits().data
    np.testing.assert_array_equal(
        together[np.lexsort(together.T)], original[np.lexsort(original.T)]
    )


@pytest.mark.parametrize("split", [None, 3, (), ["train", 1]])
def test_split_of_a_wrong_type(split):
    with pytest.raises(ValueError, match="`split` must be a string"):
        load("digits", split)


def test_digits_errors():
    with pytest.raises(ValueError, match=r"'tset'.*\['train', 'validation', 'test'\]"):
        load("digits", "tset")
    with pytest.raises(ValueError, match="8 by 8"):
        load("digits", "test", image_size=(16, 16))


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


def test_tensorflow_datasets_files(tfds, tmp_path):
    stored = prepare(tfds, tmp_path)
    x, y = load("tiny", "train", data_dir=tmp_path)
    assert (x.shape, x.dtype, y.shape, y.dtype) == (
        (12, 6, 4, 3),
        "uint8",
        (12,),
        "int64",
    )
    expected = list(tfds.as_numpy(stored.as_dataset(split="train")))
    np.testing.assert_array_equal(x, [example["image"] for example in expected])
    np.testing.assert_array_equal(y, [example["label"] for example in expected])
    head, tail = load("tiny", ("train[:25%]", "train[25%:]"), data_dir=str(tmp_path))
    np.testing.assert_array_equal(np.concatenate([head[0], tail[0]]), x)
    assert len(load("tiny", "train+test", data_dir=tmp_path)[1]) == 19


def test_images_of_different_sizes_are_resized(tfds, tmp_path):
    prepare(tfds, tmp_path, size=None)
    with pytest.raises(ValueError, match=r"image_size=\(height, width\)"):
        load("tiny", "test", data_dir=tmp_path)
    x, y = load("tiny", "test", data_dir=tmp_path, image_size=(5, 8))
    assert (x.shape, x.dtype, len(y)) == ((7, 5, 8, 3), "uint8", 7)
    stored = tfds.load("tiny", split="test[:1]", data_dir=tmp_path, batch_size=-1)
    image = np.asarray(stored["image"])
    same = load("tiny", "test[:1]", data_dir=tmp_path, image_size=image.shape[1:3])
    np.testing.assert_array_equal(same[0], image)


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
    def connect(*arguments, **keywords):
        raise AssertionError("touched the network")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
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
    for part in ("'cifar10'", str(tmp_path), "download=True", "tfds build cifar10"):
        assert part in str(error.value)


@real_cifar100
def test_cifar100(tfds):
    (x, y), (rest, _) = load(
        "cifar100", ("test[:20%]", "test[99%:]"), data_dir=str(TFDS)
    )
    assert (x.shape, x.dtype, rest.shape) == (
        (2000, 32, 32, 3),
        "uint8",
        (100, 32, 32, 3),
    )
    assert (x.min(), x.max(), y.min(), y.max()) == (0, 255, 0, 99)
    with pytest.raises(ValueError, match=r"\['train', 'test'\]"):
        load("cifar100", "validation", data_dir=str(TFDS))


def numbered(n=40, classes=5):
    return np.arange(n), np.arange(n) % classes


@pytest.mark.parametrize("classes_per_batch", [1, 2, 4])
def test_batches_hold_few_classes(classes_per_batch):
    x, y = numbered()
    dataset = non_iid_batches(x, y, 8, classes_per_batch=classes_per_batch, batches=50)
    assert len(dataset) == 50
    seen = []
    for images, labels in dataset:
        np.testing.assert_array_equal(y[images], labels)
        values, counts = np.unique(labels, return_counts=True)
        assert len(labels) == 8
        assert len(values) <= classes_per_batch
        # With replacement: a class drawn twice has two shares.
        assert not (counts % (8 // classes_per_batch)).any()
        seen.extend(images)
    assert set(seen) == set(x)


def test_examples_repeat_only_when_a_class_is_used_up():
    x, y = numbered()
    for images, _ in non_iid_batches(x, y, 20, batches=10):
        counts = np.unique(images, return_counts=True)[1]
        assert len(counts) == 8
        assert set(counts) <= {2, 3}


def test_order_within_a_batch_mixes_the_classes():
    x, y = numbered()
    dataset = non_iid_batches(x, y, 16, classes_per_batch=4, batches=20)
    halves = [len(np.unique(labels[:8])) for _, labels in dataset]
    assert np.mean(halves) > 2.2


def test_the_seed_decides_and_epochs_differ():
    x, y = numbered()

    def draw(dataset):
        return np.concatenate([images for images, _ in dataset])

    first, same = (non_iid_batches(x, y, 8, seed=3) for _ in range(2))
    assert len(first) == 5
    np.testing.assert_array_equal(draw(first), draw(same))
    assert (draw(first) != draw(non_iid_batches(x, y, 8, seed=4))).any()
    before = draw(first)
    first.on_epoch_end()
    assert (draw(first) != before).any()


def test_fit_takes_the_batches():
    x, y = load("digits", "train")
    seen = []
    dataset = non_iid_batches(x, y[:, None], 16, batches=3)
    take = type(dataset).__getitem__

    class Recording(type(dataset)):
        def __getitem__(self, index):
            images, labels = take(self, index)
            seen.append(tuple(labels.reshape(-1)))
            return images, labels

    dataset.__class__ = Recording
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(dataset, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert len(seen) >= 6
    assert all(len(set(labels)) == 1 for labels in seen)
    assert dataset.epoch >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer from 1"),
        ({"batch_size": 2.5}, "`batch_size` must"),
        ({"batch_size": True}, "`batch_size` must"),
        ({"classes_per_batch": 0}, "`classes_per_batch` must"),
        ({"classes_per_batch": 3}, "must divide `batch_size`"),
        ({"classes_per_batch": 8}, "number of classes, 5"),
        ({"batches": 0}, "`batches` must"),
        ({"seed": -1}, "`seed` must be an integer from 0"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "at least one"),
        ({"x": np.zeros((3, 2))}, "one class label for each example"),
        ({"y": np.eye(40)}, "one class label for each example"),
        ({"y": 3}, "one class label for each example"),
    ],
)
def test_bad_batches(arguments, message):
    x, y = numbered()
    with pytest.raises(ValueError, match=message):
        non_iid_batches(**{"x": x, "y": y, "batch_size": 8, **arguments})

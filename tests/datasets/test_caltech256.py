import collections

import numpy as np
import pytest
from dataset_helpers import jpeg, no_network, prepare_archives, write_tar

from keras_bn4.datasets import load, paper_splits, split_names

SIZES = {"001.ak47": 80, "056.dog": 83, "198.spider": 81, "257.clutter": 4}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A small archive in the layout of the true one, with its stray files."""
    pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    root = "256_ObjectCategories"
    files = {root: None}
    for category, size in SIZES.items():
        files[f"{root}/{category}"] = None
        for i in range(1, size + 1):
            # Some of the photographs are gray.
            image = jpeg(rng, 8 + i % 3, 16, channels=1 if i == 5 else 3)
            files[f"{root}/{category}/{category[:3]}_{i:04d}.jpg"] = image
    files[f"{root}/056.dog/greg"] = None
    files[f"{root}/056.dog/greg/vision309"] = None
    files[f"{root}/198.spider/RENAME2"] = b"mv 1.jpg 198_0001.jpg\n"
    path = tmp_path_factory.mktemp("archives") / "256_ObjectCategories.tar"
    write_tar(path, files)
    return path


def contents(tfds, data_dir, splits):
    return [
        {e["file_name"].decode(): int(e["label"]) for e in tfds.as_numpy(split)}
        for split in tfds.load("caltech256", split=splits, data_dir=data_dir)
    ]


@pytest.mark.slow
def test_the_archive_becomes_the_splits_of_the_paper(
    tfds, tmp_path, monkeypatch, archive
):
    from keras_bn4.datasets import caltech256

    no_network(monkeypatch)
    prepare_archives(tfds, monkeypatch, "caltech256", tmp_path, archive.parent)
    names = ["train", "validation", "test", "rest"]
    assert split_names("caltech256", data_dir=tmp_path) == names
    splits = contents(tfds, tmp_path, names)
    for split, count in zip(splits, (40, 10, 30)):
        assert collections.Counter(split.values()) == dict.fromkeys((0, 55, 197), count)
    assert collections.Counter(splits[3].values()) == {55: 3, 197: 1, 256: 4}
    assert sum(map(len, splits)) == len(set().union(*splits)) == sum(SIZES.values())
    for split in splits:
        assert all(int(name[:3]) == label + 1 for name, label in split.items())
    # The same ones for all time.
    first = sorted(name for name in splits[1] if name.startswith("001"))[:4]
    assert first == ["001_0020.jpg", "001_0038.jpg", "001_0041.jpg", "001_0043.jpg"]
    # Images are those of the archive, gray ones in three equal channels.
    (x, y), _, _ = load(
        "caltech256",
        paper_splits("caltech256"),
        data_dir=tmp_path,
        image_size=(8, 16),
    )
    assert (x.shape, x.dtype, len(y)) == ((120, 8, 16, 3), "uint8", 120)
    is_gray = (x[..., :1] == x).all((1, 2, 3))
    assert is_gray.sum() == sum(name.endswith("0005.jpg") for name in splits[0])
    assert caltech256.Caltech256.name == "caltech256"


def test_a_category_with_too_few_images(tfds):
    from keras_bn4.datasets.caltech256 import cut

    few = [f"002_{i:04d}.jpg" for i in range(1, 80)]
    with pytest.raises(ValueError, match="'american-flag' has 79 images"):
        cut({1: few})
    # The clutter has no splits.
    assert cut({256: few})["rest"] == set(few)


def test_the_table_of_categories(tfds):
    from keras_bn4.datasets.caltech256 import CATEGORIES

    assert len(set(CATEGORIES)) == 257
    named = {1: "ak47", 56: "dog", 198: "spider", 251: "airplanes-101", 257: "clutter"}
    assert {number: CATEGORIES[number - 1] for number in named} == named

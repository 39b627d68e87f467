"""The paper's data sets that can't be downloaded in a test, from small archives.

They have the layout of the true ones, and are prepared by the builders of
tensorflow-datasets. Caltech-256 and CIFAR-100 have tests of their own.
"""

import numpy as np
import pytest
from dataset_helpers import prepare_archives, write_tar

from keras_bn4.datasets import load, paper_splits, split_names, stream

pytestmark = pytest.mark.slow


def numbered(rng, number, height=16, width=16):
    """An image whose upper left pixels are of one brightness, to be told by."""
    import tensorflow as tf

    image = rng.integers(0, 256, (height, width, 3), dtype="uint8")
    image[:8, :8] = number
    return tf.io.encode_jpeg(image, quality=100, chroma_downsampling=False).numpy()


def matlab(path, **arrays):
    scipy = pytest.importorskip("scipy.io")
    scipy.savemat(path, arrays)


def check_splits(name, data_dir, sizes, image_size=None):
    """Loads the paper's splits, and returns their labels.

    Images are of different brightness in the upper left corner, by which no image is in
    two splits, nor missing.
    """
    where = {"data_dir": data_dir, "image_size": image_size}
    pairs = load(name, paper_splits(name), **where)
    assert [len(y) for _, y in pairs] == sizes
    corners = np.concatenate([x[:, :4, :4].mean((1, 2, 3)) for x, _ in pairs])
    assert np.diff(np.sort(corners)).min() > 1
    for (x, y), split in zip(pairs, paper_splits(name)):
        images, labels = zip(*stream(name, split, batch_size=7, **where))
        np.testing.assert_array_equal(np.concatenate(images), x)
        np.testing.assert_array_equal(np.concatenate(labels), y)
    return [y for _, y in pairs]


def test_svhn(tfds, tmp_path, archives, monkeypatch, rng):
    sizes = {"train": 10, "extra": 40, "test": 6}
    number = 0
    for split, size in sizes.items():
        x = rng.integers(0, 256, (32, 32, 3, size), dtype="uint8")
        x[:4, :4] = number + 4 * np.arange(size)
        number += 4 * size
        # Digit 0 is class 10 in the files.
        y = (np.arange(size) % 10 + 1)[:, None].astype("uint8")
        matlab(archives / f"{split}_32x32.mat", X=x, y=y)
    prepare_archives(tfds, monkeypatch, "svhn_cropped", tmp_path, archives)
    names = split_names("svhn_cropped", data_dir=tmp_path)
    assert sorted(names) == ["extra", "test", "train"]
    train, validation, _ = check_splits("svhn_cropped", tmp_path, [40, 10, 6])
    together = np.concatenate([train, validation])
    np.testing.assert_array_equal(np.bincount(together), [5] * 10)


def test_flowers102(tfds, tmp_path, archives, monkeypatch, rng):
    files = {
        f"jpg/image_{i:05d}.jpg": numbered(rng, 10 * i, 16 + i) for i in range(1, 13)
    }
    write_tar(archives / "102flowers.tgz", files, "w:gz")
    labels = np.array([77, 1, 1, 5, 5, 102, 102, 9, 9, 77, 1, 5])
    matlab(archives / "imagelabels.mat", labels=labels[None])
    ids = {"trnid": [2, 4, 6], "valid": [3, 5], "tstid": [1, 7, 8, 9, 10, 11, 12]}
    matlab(archives / "setid.mat", **{k: np.array(v)[None] for k, v in ids.items()})
    prepare_archives(tfds, monkeypatch, "oxford_flowers102", tmp_path, archives)
    found = check_splits("oxford_flowers102", tmp_path, [3, 2, 7], (16, 16))
    for y, key in zip(found, ids):
        assert sorted(y) == sorted(labels[np.array(ids[key]) - 1] - 1)


def test_cub_2011(tfds, tmp_path, archives, monkeypatch, rng):
    pytest.importorskip("cv2", reason="no OpenCV, which reads the masks")
    import tensorflow as tf

    birds = {1: "Black_footed_Albatross", 17: "Cardinal", 200: "Common_Yellowthroat"}
    files, masks, lists = {}, {}, {"images": [], "train_test_split": []}
    lists["bounding_boxes"], labels = [], {0: [], 1: []}
    for index in range(1, 25):
        label = list(birds)[index % 3]
        bird = f"{label:03d}.{birds[label]}/{birds[label]}_{index:04d}_{9000 + index}"
        is_training = int(index % 6 != 0)
        labels[is_training].append(label - 1)
        files[f"CUB_200_2011/images/{bird}.jpg"] = numbered(rng, 10 * index, 20, 18)
        mask = tf.zeros((20, 18, 1), "uint8")
        masks[f"segmentations/{bird}.png"] = tf.io.encode_png(mask).numpy()
        lists["images"].append(f"{index} {bird}.jpg")
        lists["train_test_split"].append(f"{index} {is_training}")
        lists["bounding_boxes"].append(f"{index} 2.0 3.0 10.0 12.0")
    for name, lines in lists.items():
        files[f"CUB_200_2011/{name}.txt"] = "\n".join([*lines, ""]).encode()
    write_tar(archives / "CUB_200_2011.tgz", files, "w:gz")
    write_tar(archives / "segmentations.tgz", masks, "w:gz")
    prepare_archives(tfds, monkeypatch, "caltech_birds2011", tmp_path, archives)
    train, validation, test = check_splits(
        "caltech_birds2011", tmp_path, [15, 5, 4], (20, 18)
    )
    assert sorted([*train, *validation]) == sorted(labels[1])
    assert sorted(test) == sorted(labels[0])


def test_imagenet(tfds, tmp_path, archives, monkeypatch, rng):
    from tensorflow_datasets.datasets.imagenet2012 import imagenet_common

    training = {}
    for i, synset in enumerate(("n01440764", "n01443537", "n15075141")):
        images = {
            f"{synset}_{10 + j}.JPEG": numbered(rng, 10 * (3 * i + j), 24, 17 + j)
            for j in range(3)
        }
        path = tmp_path / "inner.tar"
        write_tar(path, images)
        training[f"{synset}.tar"] = path.read_bytes()
    write_tar(archives / "ILSVRC2012_img_train.tar", training)
    validation = {
        f"ILSVRC2012_val_{i:08d}.JPEG": numbered(rng, 100 + 10 * i) for i in range(1, 6)
    }
    write_tar(archives / "ILSVRC2012_img_val.tar", validation)
    builder = prepare_archives(tfds, monkeypatch, "imagenet2012", tmp_path, archives)
    found = check_splits("imagenet2012", tmp_path, [9, 5], (24, 24))
    assert sorted(found[0]) == [0] * 3 + [1] * 3 + [999] * 3
    # The labels of the true validation images, in their order.
    true = imagenet_common.get_validation_labels(archives / "ILSVRC2012_img_val.tar")
    names = builder.info.features["label"].int2str
    assert sorted(map(names, found[1])) == sorted(true.values())
    assert true["ILSVRC2012_val_00000001.JPEG"] == "n01751748"

import hashlib

import keras
import numpy as np
import pytest
from dataset_helpers import TFDS, real_cifar100

from keras_bn4.datasets import augmentation, paper_splits
from keras_bn4.datasets.paper import PAPER_SPLITS


@pytest.mark.slow
@real_cifar100
def test_the_splits_of_cifar100_share_nothing_and_stay_the_same(tfds):
    splits = tfds.load(
        "cifar100",
        split=list(paper_splits("cifar100")),
        data_dir=str(TFDS),
        download=False,
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    ids, labels = [], []
    for split in splits:
        batches = list(split.batch(5000).as_numpy_iterator())
        ids.append(np.concatenate([batch["id"] for batch in batches]))
        labels.append(np.concatenate([batch["label"] for batch in batches]))
    assert [len(set(i)) for i in ids] == [40_000, 10_000, 10_000]
    assert len(set(np.concatenate(ids))) == 60_000
    assert all(i.startswith(b"train_") for i in np.concatenate(ids[:2]))
    # Drawn at random: 100 of each class, within five standard deviations.
    counts = np.bincount(labels[1])
    assert len(counts) == 100
    assert np.abs(counts - 100).max() < 5 * np.sqrt(100 * 0.8)
    fixed = hashlib.sha256(b" ".join(sorted(ids[1]))).hexdigest()
    assert fixed.startswith("913ddd2d99b5466f")


@pytest.mark.parametrize("name", ["digits", "cifar10", "", None, 3, ["cifar100"]])
def test_other_data_sets_have_none(name):
    for call in (paper_splits, augmentation):
        with pytest.raises(ValueError, match=r"Allowed, the paper's: \['cifar100', "):
            call(name)


def crops(image, height, width):
    """All crops of an image, straight and mirrored, by their bytes."""
    found = {}
    for i in range(image.shape[0] - height + 1):
        for j in range(image.shape[1] - width + 1):
            crop = image[i : i + height, j : j + width].astype("float32")
            found[crop.tobytes()] = (i, j, 0)
            found[crop[:, ::-1].tobytes()] = (i, j, 1)
    return found


@pytest.mark.parametrize(
    ("name", "size", "positions", "sides"),
    [
        ("cifar100", None, (9, 9), 2),
        ("svhn_cropped", None, (9, 9), 1),
        ("oxford_flowers102", (24, 33), (4, 5), 2),
        ("imagenet2012", (16, 16), (3, 3), 2),
    ],
)
def test_every_crop_is_as_likely_as_any_other(rng, name, size, positions, sides):
    tf = pytest.importorskip("tensorflow")
    height, width = size or (32, 32)
    image = rng.integers(0, 256, (height, width, 3), dtype="uint8")
    augment = augmentation(name, image_size=size, seed=3)
    # Inside of tf.data, as PyTorch would take very long.
    data = tf.data.Dataset.from_tensors(np.repeat(image[None], 1000, axis=0))
    results = next(data.map(augment).as_numpy_iterator())
    edges = [(4, 4), (4, 4), (0, 0)] if size is None else [(0, 0)] * 3
    padded = np.pad(image, edges, constant_values=128)
    known = crops(padded, *results.shape[1:3])
    found = np.array([known[np.ascontiguousarray(r).tobytes()] for r in results])
    for values, count in zip(found.T, (*positions, sides)):
        counts = np.bincount(values)
        assert len(counts) == count
        expected = 1000 / count
        assert np.abs(counts - expected).max() < 4 * np.sqrt(expected)
    # Shifts and mirrors are drawn apart from each other.
    if sides == 2:
        assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.15


@pytest.mark.parametrize("name", PAPER_SPLITS)
def test_without_training_only_the_centre_is_cropped(rng, name):
    is_small = name in ("cifar100", "svhn_cropped")
    image = rng.integers(0, 256, (32, 32, 3), dtype="uint8")
    augment = augmentation(name, image_size=None if is_small else (32, 32))
    expected = image if is_small else image[2:30, 2:30]
    for x, y in ((image, expected), (image[None], expected[None])):
        result = keras.ops.convert_to_numpy(augment(x, training=False))
        np.testing.assert_array_equal(result, y)
        assert augment(x).shape == y.shape


def test_the_seed_decides(rng):
    x = rng.integers(0, 256, (4, 32, 32, 3), dtype="uint8")

    def draw(seed):
        augment = augmentation("cifar100", seed=seed)
        return [keras.ops.convert_to_numpy(augment(x)) for _ in range(2)]

    first, second = draw(0)
    np.testing.assert_array_equal(draw(0), [first, second])
    assert (first != second).any()
    assert (first != draw(1)[0]).any()
    assert (draw(None)[0] != draw(None)[0]).any()


def test_it_runs_inside_of_a_model(rng):
    x = rng.integers(0, 256, (8, 32, 32, 3), dtype="uint8")
    known = [
        crops(np.pad(i, [(4, 4), (4, 4), (0, 0)], constant_values=128), 32, 32)
        for i in x
    ]
    images = keras.ops.convert_to_numpy(augmentation("cifar100", seed=0)(x))
    assert all(image.tobytes() in k for image, k in zip(images, known))
    model = keras.Sequential([keras.Input((32, 32, 3)), augmentation("cifar100")])
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": (32, 32)}, "'cifar100' are 32 by 32: leave out"),
        ({"name": "caltech256"}, r"image_size=\(height, width\)"),
        ({"name": "caltech256", "image_size": 8}, "`image_size` must be a pair"),
        ({"name": "caltech256", "image_size": (8, 0)}, "`image_size` must be an integ"),
        ({"seed": -1}, "`seed` must be an integer from 0"),
        ({"seed": "a"}, "`seed` must be an integer from 0"),
    ],
)
def test_bad_arguments_of_the_augmentation(arguments, message):
    with pytest.raises(ValueError, match=message):
        augmentation(**{"name": "cifar100", **arguments})

"""Small data sets in the files of tensorflow-datasets, and the real CIFAR-100."""

import io
import json
import os
import pathlib
import tarfile

import numpy as np
import pytest

TFDS = pathlib.Path(
    os.environ.get("TFDS_DATA_DIR")
    or pathlib.Path(__file__).resolve().parents[2] / "shared/tfds"
)
real_cifar100 = pytest.mark.skipif(
    not (TFDS / "cifar100").exists(), reason=f"no CIFAR-100 in {TFDS}"
)


def prepare(tfds, data_dir, *, size=(6, 4), labels=True, train=12, classes=5):
    """A small data set named "tiny", in the files of tensorflow-datasets."""
    features = {"image": tfds.features.Image(shape=(*(size or (None, None)), 3))}
    if labels:
        features["label"] = tfds.features.ClassLabel(num_classes=classes)
    rng = np.random.default_rng(0)

    def examples(n):
        for i in range(n):
            shape = size or (6 + i, 4)
            image = rng.integers(0, 256, (*shape, 3), dtype="uint8")
            yield i, {"image": image, **({"label": i % classes} if labels else {})}

    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": list(examples(train)), "test": list(examples(7))},
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


def prepare_archives(tfds, monkeypatch, name, data_dir, archives):
    """Prepares a data set in `data_dir` from a folder of archives, by its own builder.

    The builder and its download manager are the real ones. Only the sizes and checksums
    that it expects are those of the small archives.
    """
    from tensorflow_datasets.core.download import checksums

    builder = tfds.builder(name, data_dir=data_dir)
    infos = {
        url: checksums.compute_url_info(archives / info.filename)
        for url, info in (builder.url_infos or {}).items()
        if info.filename and (archives / info.filename).exists()
    }
    monkeypatch.setattr(type(builder), "url_infos", infos)
    config = tfds.download.DownloadConfig(manual_dir=archives, try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
    return builder


def no_network(monkeypatch):
    """Makes every connection fail."""

    def connect(*arguments, **keywords):
        raise AssertionError("touched the network")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)


def jpeg(rng, height, width, channels=3):
    """The bytes of a JPEG file of random blocks, which survive its compression."""
    import tensorflow as tf

    blocks = rng.integers(0, 256, (-(-height // 8), -(-width // 8), channels), "uint8")
    image = blocks.repeat(8, 0).repeat(8, 1)[:height, :width]
    return tf.io.encode_jpeg(image, quality=100).numpy()


def write_tar(path, files, mode="w"):
    """Writes an archive from a dict of paths within it to bytes; `None` is a folder."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))

"""Two ImageNet networks on corrupted photographs, at weights chosen on clean ones.

Question: Does inference example weighing (Sec. 3.1) bring accuracy back at ImageNet's
size, at the weight that clean images allow, and where does it not?

Setting: MobileNet .75 and EfficientNet-Lite0 with the weights that their authors
published, and 1,300 images of ImageNet's validation set, of which the central 224
pixels are seen. The images are cut into two halves at random. On the 650 clean images
of the first half, a sweep chooses the largest weight whose accuracy is at most half a
point below that at weight 0 (`largest("accuracy", within=0.005)`), for the same weight
in all layers and for one that falls to 0 in the last layer. Everything is reported on
the other half: all 650 images clean, and the first 160 of them corrupted as in
ImageNet-C, sixteen kinds at severities 1, 3 and 5, and by seven mishaps of cameras,
those of `measurement.py`. To compare, statistics are recalibrated on 64 images of the
first half, corrupted in the same way, which the statistics of training outweigh as 256
to 64. Networks, images, kinds, severities, mishaps, weights, numbers and the prior were
fixed before the first corrupted image was evaluated here.

Expected, from a trial with other images and fewer kinds: 2 to 4 points for MobileNet
and about 1 for EfficientNet-Lite0 on the mean of all kinds, most on blurs, noise, very
dark and low-resolution images; nothing or a loss on brightness and weak contrast.

Command: `python -m keras_bn4.experiments.imagenet FOLDER`, with a folder that has
`mobilenet_0.75.keras`, `efficientnet_lite0.keras`, `synset_words.txt` (line k begins
with the folder of class k) and `val/CLASS/*.JPEG`. It goes on where it was interrupted.
Two processes may take a network each: name it after the folder. They share the
corrupted images, 1.9 GB in the output folder. `--publish` deletes these, adds what is
finished to the published records, and writes page and figure; `--recorded` prints them.
Time: about 20 minutes for each network on one CPU core, and 10 for the corruptions.
"""

import pathlib

import keras
import numpy as np

from keras_bn4 import convert, evaluate_shifts, shift, sweep_example_weight
from keras_bn4.common.files import written_whole
from keras_bn4.common.records import Records
from keras_bn4.experiments.trained import halves, identity

# By name: whether the network ends in logits, else in probabilities.
NETWORKS = {"mobilenet_0.75": False, "efficientnet_lite0": True}
SIZE = 224
IMAGES = 160
RECALIBRATED_ON = 64
PRIOR = 256
SEVERITIES = (1, 3, 5)
SCHEDULES = ("uniform", "falling")
EXAMPLE_WEIGHTS = (
    *(0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2),
)
WITHIN = 0.005


def tenth_of_the_light(images):
    """Exposure × .1."""
    return _rounded(images * 0.1)


def quarter_of_the_light(images):
    """Exposure × .25."""
    return _rounded(images * 0.25)


def overexposed(images):
    """Exposure × 2.5, so that highlights are white."""
    return _rounded(images * 2.5)


def low_resolution(images):
    """As from 56 pixels, enlarged."""
    from PIL import Image

    def enlarged(image):
        small = Image.fromarray(image).resize((56, 56), Image.Resampling.BOX)
        return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    return np.stack([enlarged(image) for image in images])


def dark_with_noise(images):
    """A fifth of the light, with noise of 10 of 255 shades."""
    noise = np.random.default_rng(0).normal(0, 10, images.shape)
    return _rounded(images * 0.2 + noise)


def warm_cast(images):
    """As under a light bulb: red × 1.2, blue × .7."""
    return _rounded(images * (1.2, 1.0, 0.7))


def blue_cast(images):
    """As in shade: red × .7, blue × 1.2."""
    return _rounded(images * (0.7, 1.0, 1.2))


MISHAPS = (
    *(tenth_of_the_light, quarter_of_the_light, overexposed, low_resolution),
    *(dark_with_noise, warm_cast, blue_cast),
)


def _rounded(images):
    return np.round(np.clip(images, 0, 255)).astype("uint8")


def load(folder):
    """Loads the images as two halves: to choose on, and to report on.

    Args:
        folder: Path of the folder with `val` and `synset_words.txt`.

    Returns:
        Two pairs `(x, y)`.
    """
    from PIL import Image

    folder = pathlib.Path(folder)
    lines = (folder / "synset_words.txt").read_text().splitlines()
    classes = [line.split()[0] for line in lines]
    paths = sorted(folder.glob("val/*/*.JPEG"))
    images = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        left, top = ((length - SIZE) // 2 for length in image.size)
        images.append(np.asarray(image.crop((left, top, left + SIZE, top + SIZE))))
    labels = np.array([classes.index(path.parent.name) for path in paths])
    return halves(np.stack(images), labels)


def measure(name, folder, output_dir):
    """Measures a network, or goes on where it stopped."""
    path, output = pathlib.Path(folder, f"{name}.keras"), pathlib.Path(output_dir)
    model = convert(keras.models.load_model(path, compile=False))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=NETWORKS[name])
    model.compile(loss=loss, metrics=["accuracy"])
    choosing, (x, y) = load(folder)
    chosen = _choose(model, identity(path), choosing, output / f"{name}-choice.json")
    weights = {row["schedule"]: row["example_weight"] for row in chosen}
    print(f"{name}: {weights}", flush=True)
    others = choosing[0][:RECALIBRATED_ON]
    common = {
        "example_weights": chosen,
        "recalibrate_on": others,
        "prior": PRIOR,
        "severities": SEVERITIES,
    }
    evaluate_shifts(
        model, x, y, **common, kinds=[], output=output / f"{name}-clean.json"
    )
    x, y = x[:IMAGES], y[:IMAGES]
    kinds = [*shift.kinds(SIZE), *MISHAPS]
    # From both ends, so that two processes make other images first.
    kinds = kinds if name == next(iter(NETWORKS)) else kinds[::-1]
    evaluate_shifts(
        model,
        x,
        y,
        **common,
        kinds=kinds,
        shifted=lambda kind, severity: _shifted(
            kind, severity, (x, y), others, output / "shifted"
        ),
        output=output / f"{name}-shifts.json",
    )


def _choose(model, identity, data, path):
    """The rows of a sweep on clean images whose weights the rule takes."""
    records = Records(path)
    settings = {"model": identity, "within": WITHIN}
    settings["example_weights"] = list(EXAMPLE_WEIGHTS)
    record = records.find(settings)
    if record is None:
        sweep = sweep_example_weight(
            model, *data, example_weights=EXAMPLE_WEIGHTS, schedule=list(SCHEDULES)
        )
        record = {"settings": settings, "rows": sweep.rows, "chosen": {}, "sure": {}}
        for schedule in SCHEDULES:
            keywords = {"within": WITHIN, "schedule": schedule}
            record["chosen"][schedule] = sweep.largest("accuracy", **keywords)
            record["sure"][schedule] = sweep.certainty("accuracy", **keywords)
        records.add(record)
    return list(record["chosen"].values())


def _shifted(kind, severity, data, others, folder):
    """Corrupted images, from a file that both networks read."""
    x, y = data
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{severity}.npy"
    if not path.exists():
        mishaps = {mishap.__name__: mishap for mishap in MISHAPS}
        kind = mishaps.get(kind, kind)
        changed = shift.corrupt(np.concatenate([x, others]), kind, severity)
        with written_whole(path) as unfinished:
            np.save(unfinished, changed)
    changed = np.load(path)
    return changed[: len(x)], y, changed[len(x) :]

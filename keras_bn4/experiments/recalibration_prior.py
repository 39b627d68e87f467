"""The prior of recalibration on a few images, for networks of ImageNet and of CIFAR.

Question: `recalibrate(model, images, prior=N)` mixes the moving statistics of a network
with those of n images. Which N serves for n of 16 to 256, on images that are corrupted
and on images that are not?

Setting: Fixed before the first result was seen. Priors of 16, 64, 256 and 1,024 against
16, 64 and 256 images without labels. These are clean, or corrupted by one of four kinds
of ImageNet-C at severity 3: contrast, fog, gaussian blur, gaussian noise. A seed gives
the order in which images are taken from a folder. The first 200 are predicted. The
statistics are those of the first 16, 64 or 256 of the others. Each image is cropped to
its central 224 pixels. Reported is the accuracy on the 200 images, as the paired
difference to the network as it was trained. The networks of CIFAR were measured later,
in the same way, on the first 1,300 test images, with the corruptions of small images
that `keras_bn4.shift.corrupt` makes.

Seen: A prior of 256 costs at most 3.5 points on clean images, and gains on corrupted
ones everywhere. With 16 images it changes accuracy on clean images by 0.0 ± 1.4 points
(EfficientNet-Lite0) and -0.5 ± 2.2 (MobileNet), and on corrupted ones by +7.2 ± 2.6 and
+7.8 ± 2.7. A prior of 16 costs the first network 8.0 ± 4.7 points on clean images and
gains it 1.1 ± 3.7 on corrupted ones. With 256 images 1,024 is as good as 256; with 16
it gains less. On CIFAR fewer images suffice: with 16 of them, a prior of 16 gains twice
to four times as much as 256 (ResNet-20: +19.4 ± 3.4 against +10.4 ± 2.2), and with 64
of them, one of 64 a few points more.

Command: `python -m keras_bn4.experiments.recalibration_prior MODEL.keras ...`, with
`--images FOLDER`, which has a folder for each class, and `--classes FILE`, whose lines
begin with the names of these folders. Without models it reports the published records.
Time: half an hour for the networks of ImageNet on one CPU core, two minutes for those
of CIFAR. Finished cells are kept in the output folder and are not measured again.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_bn4.common.records import Records, read
from keras_bn4.experiments import command
from keras_bn4.experiments.trained import half_width, identity
from keras_bn4.moving_statistics import recalibrate
from keras_bn4.shift.corruptions import SMALL, corrupt

KINDS = ("clean", "contrast", "fog", "gaussian_blur", "gaussian_noise")
SEVERITY = 3
PRIORS = (16, 64, 256, 1024)
SIZES = (16, 64, 256)
PREDICTED = 200
PIXELS = 224
PUBLISHED = pathlib.Path(__file__).with_suffix(".json")


def run(models, images, classes, *, output_dir="results/recalibration_prior"):
    """Measures every network with every prior, number of images and kind.

    Args:
        models: List of paths of `.keras` files, classifiers of images with values from
            0 to 255.
        images: Folder with a folder of images for each class.
        classes: File whose lines begin with the names of those folders, in the order of
            the networks' outputs.
        output_dir: Folder for the results. Those that it already has are kept.

    Returns:
        List of dicts, one for each network and kind, with the `"settings"` and, by
        prior and number of images, whether each prediction is `"correct"`.
    """
    records = Records(pathlib.Path(output_dir, "results.json"))
    x, y = _images(pathlib.Path(images), pathlib.Path(classes))
    results = []
    for path in models:
        for kind in KINDS:
            settings = {"model": identity(path), "kind": kind, "severity": SEVERITY}
            result = records.find(settings)
            if result is None:
                correct = _measure(path, _corrupted(x, kind), y)
                result = {"settings": settings, "correct": correct}
                records.add(result)
            results.append(result)
    return results


def _images(folder, classes):
    names = [line.split()[0] for line in classes.read_text().splitlines()]
    paths = sorted(folder.glob("*/*"))
    order = np.random.default_rng(0).permutation(len(paths))
    paths = [paths[i] for i in order[: PREDICTED + max(SIZES)]]
    x = np.stack([_central(keras.utils.load_img(path)) for path in paths])
    return x, np.array([names.index(path.parent.name) for path in paths])


def _central(image):
    size = min(PIXELS, *image.size)
    left, top = ((length - size) // 2 for length in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _corrupted(x, kind):
    if kind == "clean":
        return x.astype("float32")
    if x.shape[1] <= SMALL:
        return corrupt(x, kind, SEVERITY).astype("float32")
    from tensorflow_datasets.image_classification import corruptions

    function = getattr(corruptions, kind)
    np.random.seed(0)  # noqa: NPY002, the functions draw from the global state.
    return np.stack([np.float32(function(image, SEVERITY)) for image in x])


def _measure(path, x, y):
    """By `"prior, number"`: whether predictions are correct, as characters 0 and 1."""
    model = keras.models.load_model(path)
    trained = model.get_weights()
    rest = x[PREDICTED:]

    def correct():
        predicted = model.predict(x[:PREDICTED], batch_size=50, verbose=0).argmax(-1)
        return "".join(str(int(right)) for right in predicted == y[:PREDICTED])

    found = {"as trained": correct()}
    for size in SIZES:
        for prior in PRIORS:
            model.set_weights(trained)
            recalibrate(model, rest[:size], prior=prior, verbose=0)
            found[f"{prior}, {size}"] = correct()
    return found


def table(results):
    """Makes two tables for each network, on clean images and the mean of corruptions.

    They hold differences to the network as trained, in points of accuracy.
    """
    lines = []
    for model in dict.fromkeys(r["settings"]["model"] for r in results):
        cells = {
            r["settings"]["kind"]: {
                name: np.array(list(text), float) for name, text in r["correct"].items()
            }
            for r in results
            if r["settings"]["model"] == model
        }
        for title, kinds in (("clean", KINDS[:1]), ("corrupted", KINDS[1:])):
            before = np.mean([cells[kind]["as trained"] for kind in kinds], 0)
            heading = f"{model.split()[0]}, {title}, {before.mean():.1%} as trained"
            lines += [[""], [heading], ["prior", *(f"n = {size}" for size in SIZES)]]
            for prior in PRIORS:
                line = [str(prior)]
                for size in SIZES:
                    after = [cells[kind][f"{prior}, {size}"] for kind in kinds]
                    change = 100 * (np.mean(after, 0) - before)
                    line.append(f"{change.mean():+.1f} ± {half_width(change):.1f}")
                lines.append(line)
    return "\n".join(
        line[0] if len(line) == 1 else "  ".join(cell.rjust(12) for cell in line)
        for line in lines[1:]
    )


def main(arguments=None):
    """Measures the networks that the arguments name, or prints what is published."""
    options = {
        "models": {"nargs": "*", "metavar": "MODEL.keras"},
        "--images": {"metavar": "FOLDER"},
        "--classes": {"metavar": "FILE"},
        "--output-dir": {"default": "results/recalibration_prior"},
    }
    module = "keras_bn4.experiments.recalibration_prior"
    return command.main(module, __doc__.splitlines()[0], show, options, arguments)


def show(models, images, classes, output_dir):
    """Prints the table of what is measured, or of what is published."""
    if models:
        print(table(run(models, images, classes, output_dir=output_dir)))
    else:
        print(table(read(PUBLISHED)))


if __name__ == "__main__":
    sys.exit(main())

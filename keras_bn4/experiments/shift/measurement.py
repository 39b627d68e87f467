"""Measures trained networks on shifted images, one kind and severity after another.

Question: How much accuracy does inference example weighing (Sec. 3.1) bring back on
images that are darker, foggier, blurred or noisier than those of training, and how does
that compare with what needs several shifted images?

Setting: Eleven kinds of shift at five severities (`experiments.corruptions`, or for
"cifar10" the published images, where tensorflow-datasets' `cifar10_corrupted` is on
disk), on trained networks. A test set is cut into two halves at random. On clean images
of the first half the example weight is chosen: the largest at which, and below which,
the accuracy is no more than half a point below that at weight 0. Nothing of the shifts
is used for it. Everything is reported on 2,000 images of the second half, the same ones
for all shifts. Statistics are recalibrated on shifted images of the first half, without
labels. Kinds, severities, adaptations, the prior of 16 images and the half point were
fixed before the first result was seen.

Seen: On the mean of all shifts a ResNet-20 for CIFAR-10 gains 7.7 points at the weight
that clean images allow, a ResNet-32 5.3, a ResNet-8 for CIFAR-100 1.6 and digits 3.4.
Recalibration on 16 shifted images brings 4 to 12.5, and costs up to 5.6 on clean ones.
CIFAR-100's ResNet-20 has not been measured.

Command: `python -m keras_bn4.experiments.shift MODEL.keras ... --dataset cifar100`, for
scikit-learn's digits `python -m keras_bn4.experiments.shift --dataset digits`, where a
network is trained first. `--recorded` reports the records that come with the package.
Time: On two CPU cores about half an hour for a ResNet-20. An interrupted run goes on
with the same command.
"""

import base64
import functools
import json
import pathlib

import keras
import numpy as np

from keras_bn4.common.progress import progress_bar
from keras_bn4.conversion import convert
from keras_bn4.datasets import load
from keras_bn4.experiments import digits
from keras_bn4.experiments.corruptions import KINDS, SEVERITIES, corrupt
from keras_bn4.experiments.records import Records
from keras_bn4.experiments.shift.adaptations import Adapter, choose
from keras_bn4.experiments.trained import (
    halves,
    identity,
    load_halves,
    load_network,
)

RECORDS = pathlib.Path(__file__).parent / "records"
IMAGES = 2000


def run(
    models=(),
    dataset="digits",
    *,
    data_dir=None,
    images=IMAGES,
    kinds=KINDS,
    severities=SEVERITIES,
    output_dir="results/shift",
    verbose=1,
):
    """Measures networks on clean and shifted images, or goes on where it stopped.

    Args:
        models: List of paths of `.keras` files. For the digits there are none.
        dataset: `"digits"`, a name as `keras_bn4.datasets.load` takes it, whose test
            split is used, or the path of an `.npz` file with images x and labels y.
        data_dir: The folder of tensorflow-datasets.
        images: Positive integer, how many images to report on.
        kinds: Sequence of kinds of shift.
        severities: Sequence of severities.
        output_dir: Folder for the results, one file for each network.
        verbose: 0 or 1, whether to show progress.

    Returns:
        Dict by the name of the network, of lists of dicts. The first has the example
        weights that were chosen, as `"weights"`, and the rows of the sweep; each of the
        others has, for one kind and severity (`None` and 0 for clean images), the
        `"count"` of images, whether they are published ones, and under `"correct"` for
        each adaptation which of them it classified correctly, packed by `packed`.

    Raises:
        ValueError: if there are models for the digits, none for other images, or two of
            the same name.
    """
    is_digits = str(dataset) == "digits"
    paths = [pathlib.Path(path) for path in models]
    _check(paths, is_digits)
    found, data = {}, identity(dataset)
    for path in [None] if is_digits else paths:
        name = "digits" if is_digits else path.stem
        records = Records(pathlib.Path(output_dir, f"{name}.json"))
        source = {"dataset": data}
        if not is_digits:
            source["model"] = identity(path)
        backend = {"backend": keras.backend.backend()}
        common = {"images": images, **backend, **source}
        cells = [(None, 0)]
        cells += [(kind, severity) for kind in kinds for severity in severities]
        if is_digits:
            cells = [cell for cell in cells if cell[0] != "saturate"]
        settings = [{**common, "kind": k, "severity": s} for k, s in cells]
        wanted = [{**backend, **source, "kind": "choice"}, *settings]
        if not all(map(records.find, wanted)):
            if is_digits:
                network, choosing, reporting = _trained_on_digits()
            else:
                network = load_network(path)
                choosing, reporting = load_halves(dataset, data_dir=data_dir)
            find_published = functools.partial(_published, dataset, data_dir)
            _measure(
                name,
                convert(network),
                16 if is_digits else 255,
                (choosing, reporting),
                find_published,
                wanted,
                records,
                verbose,
            )
        found[name] = [records.find(one) for one in wanted]
    return found


def _check(paths, is_digits):
    names, given = [path.stem for path in paths], list(map(str, paths))
    if is_digits and paths:
        raise ValueError(
            "For dataset='digits' a network is trained, and no model is loaded. Name "
            "the images that the model was trained for, such as dataset='cifar100'. "
            f"Received: models={given}, dataset='digits'."
        )
    if not is_digits and not paths:
        raise ValueError(
            "Name a model, the path of a `.keras` file. Without one only "
            "dataset='digits' is possible. Received: models=[]."
        )
    if len(set(names)) < len(names):
        raise ValueError(
            "Results are kept by the names of the models, so these must differ. "
            f"Received: models={given}."
        )


def recorded():
    """What `run` returned for the networks whose records come with the package."""
    return {path.stem: json.loads(path.read_text()) for path in _files(False)}


def recorded_fixed_weights():
    """What `run_fixed_weights` returned for these networks."""
    return {
        path.stem.removesuffix("_fixed_weights"): json.loads(path.read_text())
        for path in _files(True)
    }


def _files(of_fixed_weights):
    # Networks for photographs first, which more readers have.
    paths = sorted(RECORDS.glob("*.json"), key=lambda p: (p.stem == "digits", p.stem))
    return [p for p in paths if p.stem.endswith("_fixed_weights") == of_fixed_weights]


def _published(dataset, data_dir, kind, severity):
    """The published images of a shift of CIFAR-10 in two halves, if they are on disk.

    All of these data sets have one order, which is not that of the clean images. So the
    images that the example weight was chosen on can be among these, in clean form.

    Returns:
        Two pairs `(x, y)`, or `None`.
    """
    if str(dataset) != "cifar10":
        return None
    try:
        name = f"cifar10_corrupted/{kind}_{severity}"
        return halves(*load(name, "test", data_dir=data_dir))
    except FileNotFoundError:
        return None


def _measure(name, model, highest, parts, find_published, wanted, records, verbose):
    (choosing, reporting), (choice, *cells) = parts, wanted
    result = records.find(choice)
    if result is None:
        weights, rows = choose(model, *choosing)
        result = {"settings": choice, "weights": weights, "chosen_on": rows}
        records.add(result)
    adapter = Adapter(model, result["weights"])
    x, y = (array[: cells[0]["images"]] for array in reporting)
    unlabelled = choosing[0][:1000]
    if verbose:
        print(f"{name}: {len(x)} images, example weights {result['weights']}")
    progress = progress_bar(len(cells), verbose=verbose, unit_name="shift")
    for settings in cells:
        if records.find(settings) is None:
            kind, severity = settings["kind"], settings["severity"]
            published = kind and find_published(kind, severity)
            labels = y
            if published:
                (others, _), (images, labels) = published
                shifted = [images[: len(y)], others[: len(unlabelled)]]
                labels = labels[: len(y)]
            elif kind:
                shifted = [
                    corrupt(part, kind, severity, highest=highest, seed=seed)
                    for seed, part in enumerate((x, unlabelled))
                ]
            else:
                shifted = [x, unlabelled]
            classes = adapter.predictions(*shifted)
            correct = {n: packed(found == labels) for n, found in classes.items()}
            records.add(
                {
                    "settings": settings,
                    "count": len(labels),
                    "is_published": bool(published),
                    "correct": correct,
                }
            )
        progress.add(1)


def _trained_on_digits():
    """A network of the digits, with the data to choose and to report on."""
    parts = load("digits", ("train", "validation", "test"))
    # Fractions of a shade are kept, as in images of more shades they would be.
    train, *others = ((x.astype("float32"), y) for x, y in parts)
    network = digits.build()
    digits.train(network, *train, steps=300)
    return network, *others


def packed(correct):
    """Booleans as text, eight to a byte."""
    return base64.b64encode(np.packbits(correct)).decode()


def unpacked(text, count):
    """The first `count` booleans of what `packed` returned."""
    bits = np.frombuffer(base64.b64decode(text), "uint8")
    return np.unpackbits(bits)[:count].astype(bool)

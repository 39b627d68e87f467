"""Measures trained networks on shifted images, one kind and severity after another.

Question: How much accuracy does inference example weighing (Sec. 3.1) bring back on
images that are darker, foggier, blurred or noisier than those of training, and how does
that compare with what needs several shifted images?

Setting: Eleven kinds of shift at five severities (`corruptions`, or for
"cifar10" the published images, where tensorflow-datasets' `cifar10_corrupted` is on
disk), on trained networks. A test set is cut into two halves at random. On clean images
of the first half the example weight is chosen: the largest at which, and below which,
the accuracy is no more than half a point below that at weight 0. Nothing of the shifts
is used for it. Everything is reported on 2,000 images of the second half, the same ones
for all shifts. Statistics are recalibrated on shifted images of the first half, without
labels. Kinds, severities, adaptations, the prior of 16 images and the half point were
fixed before the first result was seen.
"""

import base64
import functools
import pathlib

import keras
import numpy as np

from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.conversion import convert
from keras_bn4.datasets import load
from keras_bn4.shift.adaptations import Adapter, choose
from keras_bn4.shift.corruptions import KINDS, SEVERITIES, corrupt
from keras_bn4.shift.trained import (
    halves,
    identity,
    load_halves,
    load_network,
)

IMAGES = 2000


def run(
    models,
    dataset,
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
        models: List of paths of `.keras` files.
        dataset: A name as `keras_bn4.datasets.load` takes it, whose test split is used,
            or the path of an `.npz` file with images x and labels y.
        data_dir: The folder of tensorflow-datasets.
        images: Positive integer, how many images to report on.
        kinds: Sequence of kinds of shift.
        severities: Sequence of severities.
        output_dir: Folder for the results, one file for each network.
        verbose: 0 or 1, whether to show progress.

    Returns:
        Dict by the name of the network, of what `measure` returns.

    Raises:
        ValueError: if there are no models, or two of the same name.
    """
    paths = [pathlib.Path(path) for path in models]
    given = list(map(str, paths))
    if not paths:
        raise ValueError("Name a model, the path of a `.keras` file. Received: [].")
    if len({path.stem for path in paths}) < len(paths):
        raise ValueError(
            "Results are kept by the names of the models, so these must differ. "
            f"Received: {given}."
        )
    data = identity(dataset)
    return {
        path.stem: measure(
            path.stem,
            lambda path=path: (
                load_network(path),
                *load_halves(dataset, data_dir=data_dir),
            ),
            {"dataset": data, "model": identity(path)},
            images=images,
            kinds=kinds,
            severities=severities,
            find_published=functools.partial(_published, dataset, data_dir),
            output_dir=output_dir,
            verbose=verbose,
        )
        for path in paths
    }


def measure(
    name,
    load,
    source,
    *,
    highest=255,
    images=IMAGES,
    kinds=KINDS,
    severities=SEVERITIES,
    find_published=lambda kind, severity: None,
    output_dir="results/shift",
    verbose=1,
):
    """Measures a network on clean and shifted images, or goes on where it stopped.

    Args:
        name: String, the name of the file of results.
        load: Function without arguments that returns the compiled network and two pairs
            `(x, y)`: to choose the example weight on, and to report on. It is called
            only where something is missing.
        source: Dict that tells the network and its data from all others.
        highest: Number, the value of white.
        images, kinds, severities, output_dir, verbose: As `run` takes them.
        find_published: Function of kind and severity, that returns published images of
            the shift as `load` returns clean ones, or `None`.

    Returns:
        List of dicts. The first has the example weights that were chosen, as
        `"weights"`, and the rows of the sweep; each of the others has, for one kind and
        severity (`None` and 0 for clean images), the `"count"` of images, whether they
        are published ones, and under `"correct"` for each adaptation which of them it
        classified correctly, packed by `packed`.
    """
    records = Records(pathlib.Path(output_dir, f"{name}.json"))
    backend = {"backend": keras.backend.backend()}
    cells = [(None, 0)]
    cells += [(kind, severity) for kind in kinds for severity in severities]
    wanted = [{**backend, **source, "kind": "choice"}]
    wanted += [
        {"images": images, **backend, **source, "kind": kind, "severity": severity}
        for kind, severity in cells
    ]
    if not all(map(records.find, wanted)):
        network, *parts = load()
        _measure(
            name,
            convert(network),
            highest,
            parts,
            find_published,
            wanted,
            records,
            verbose,
        )
    return [records.find(one) for one in wanted]


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


def packed(correct):
    """Booleans as text, eight to a byte."""
    return base64.b64encode(np.packbits(correct)).decode()


def unpacked(text, count):
    """The first `count` booleans of what `packed` returned."""
    bits = np.frombuffer(base64.b64decode(text), "uint8")
    return np.unpackbits(bits)[:count].astype(bool)

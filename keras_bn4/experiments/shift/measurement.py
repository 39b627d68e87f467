"""Measures trained networks on shifted images, one kind and severity after another.

Question: How much accuracy does inference example weighing (Sec. 3.1) bring back on
images that are darker, foggier, blurred or noisier than those of training, and how does
that compare with what needs several shifted images?

Setting: Eleven kinds of shift at five severities (`keras_bn4.shift.corrupt`, or for
"cifar10" the published images, where tensorflow-datasets' `cifar10_corrupted` is on
disk), on trained networks. A test set is cut into two halves at random. On clean images
of the first half the example weight is chosen: the largest at which, and below which,
the accuracy is no more than half a point below that at weight 0. Nothing of the shifts
is used for it. Everything is reported on 2,000 images of the second half, the same ones
for all shifts. Statistics are recalibrated on shifted images of the first half, without
labels. Kinds, severities, adaptations, the prior of 16 images and the half point were
fixed before the first result was seen.
"""

import functools
import pathlib

import keras

from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.conversion import convert
from keras_bn4.datasets import load
from keras_bn4.experiments.shift.adaptations import Adapter, choose
from keras_bn4.experiments.trained import (
    halves,
    identity,
    load_halves,
    load_network,
)
from keras_bn4.shift.corruptions import SEVERITIES, corrupt
from keras_bn4.shift.evaluation_result import packed
from keras_bn4.shift.small_images import KINDS

IMAGES = 2000


def run(models, dataset, *, data_dir=None, **keywords):
    """Measures networks of files, or goes on where it stopped.

    Args:
        models: List of paths of `.keras` files.
        dataset: A name as `keras_bn4.datasets.load` takes it, whose test split is used,
            or the path of an `.npz` file with images x and labels y.
        data_dir: The folder of tensorflow-datasets.
        **keywords: As `measure` takes them.

    Returns:
        Dict by the name of the network, of what `measure` returns.

    Raises:
        ValueError: if there are no models, or two of the same name.
    """
    paths = [pathlib.Path(path) for path in models]
    if not paths:
        raise ValueError("Name a model, the path of a `.keras` file. Received: [].")
    if len({path.stem for path in paths}) < len(paths):
        raise ValueError(
            "Results are kept by the names of the models, so these must differ. "
            f"Received: {list(map(str, paths))}."
        )

    def loaded(path):
        return load_network(path), *load_halves(dataset, data_dir=data_dir)

    return {
        path.stem: measure(
            path.stem,
            functools.partial(loaded, path),
            {"dataset": identity(dataset), "model": identity(path)},
            find_published=functools.partial(_published, dataset, data_dir),
            **keywords,
        )
        for path in paths
    }


def measure(
    name,
    load_all,
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
        load_all: Function that returns the compiled network and two pairs `(x, y)`: to
            choose the example weight on, and to report on. It is called only where
            something is missing.
        source: Dict that tells the network and its data from all others.
        highest: Number, the value of white.
        images: Positive integer, how many images to report on.
        kinds, severities: Those of the shifts.
        find_published: Function of kind and severity, that returns published images of
            the shift as `load_all` returns clean ones, or `None`.
        output_dir: Folder for the results.
        verbose: 0 or 1, whether to show progress.

    Returns:
        List of dicts. The first has the example weights that were chosen, as
        `"weights"`, and the rows of the sweep; each of the others has, for one kind and
        severity (`None` and 0 for clean images), the `"count"` of images, whether they
        are published ones, and under `"correct"` for each adaptation which of them it
        classified correctly, packed by `packed`.
    """
    records = Records(pathlib.Path(output_dir, f"{name}.json"))
    common = {"backend": keras.backend.backend(), **source}
    choice = {**common, "kind": "choice"}
    cells = [(None, 0), *((kind, s) for kind in kinds for s in severities)]
    cells = [
        {"images": images, **common, "kind": kind, "severity": severity}
        for kind, severity in cells
    ]
    wanted = [choice, *cells]
    if all(map(records.find, wanted)):
        return list(map(records.find, wanted))
    network, choosing, (x, y) = load_all()
    model, x, y = convert(network), x[:images], y[:images]
    if records.find(choice) is None:
        weights, rows = choose(model, *choosing)
        records.add({"settings": choice, "weights": weights, "chosen_on": rows})
    adapter = Adapter(model, records.find(choice)["weights"])
    if verbose:
        print(f"{name}: {len(x)} images, example weights {adapter.weights}")
    progress = progress_bar(len(cells), verbose=verbose, unit_name="shift")
    for settings in cells:
        if records.find(settings) is None:
            kind, severity = settings["kind"], settings["severity"]
            published = kind and find_published(kind, severity)
            shifted, labels, unlabelled = x, y, choosing[0][:1000]
            if published:
                (unlabelled, _), (shifted, labels) = published
                shifted, labels = shifted[: len(y)], labels[: len(y)]
                unlabelled = unlabelled[:1000]
            elif kind:
                keywords = {"highest": highest}
                shifted = corrupt(x, kind, severity, **keywords)
                unlabelled = corrupt(unlabelled, kind, severity, seed=1, **keywords)
            classes = adapter.predictions(shifted, unlabelled)
            records.add(
                {
                    "settings": settings,
                    "count": len(labels),
                    "is_published": bool(published),
                    "correct": {n: packed(c == labels) for n, c in classes.items()},
                }
            )
        progress.add(1)
    return list(map(records.find, wanted))


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

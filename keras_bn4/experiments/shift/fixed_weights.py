"""Some example weights on some shifts, with nothing chosen, on the whole of a half.

What a weight does to accuracy, without a choice in between: the half of the test set
that the other measurements report on, clean, and with less contrast, fog, noise, and
blur of a single strength each.
"""

import pathlib

import keras
import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.records import Records
from keras_bn4.conversion import convert
from keras_bn4.example_weight import set_example_weight
from keras_bn4.experiments.trained import (
    half_width,
    identity,
    load_halves,
    load_network,
)
from keras_bn4.shift.small_images import apply

WEIGHTS = ((0.0, "uniform"), (0.1, "uniform"), (0.2, "uniform"), (0.3, "falling"))
# By name: the kind of shift and its strength, as `shift.corruptions` has them.
SHIFTS = {
    "clean": None,
    "contrast × .2": ("contrast", 0.2),
    "fog": ("fog", (1, 2)),
    "noise σ 15": ("gaussian_noise", 15 / 255),
    "blur σ 1": ("gaussian_blur", 1.0),
}


def run_fixed_weights(models, dataset, *, output_dir, data_dir=None, images=None):
    """Measures networks at fixed weights, or goes on where it stopped.

    Args:
        models: List of paths of `.keras` files.
        dataset: As `keras_bn4.experiments.trained.load_halves` takes it.
        output_dir: Folder for the results, one file for each network.
        data_dir: The folder of tensorflow-datasets.
        images: Positive integer, how many images of the half to use, or `None` for all.

    Returns:
        Dict by the name of the network of lists of dicts, one for each shift. They have
        its name as `"shift"`, and by weight, in the order of `WEIGHTS`, the
        `"accuracy"`, the `"difference"` to the first and half the width of its 95 %
        interval, `"half"`.
    """
    found, data = {}, identity(dataset)
    for path in map(pathlib.Path, models):
        records = Records(pathlib.Path(output_dir, f"{path.stem}_fixed_weights.json"))
        common = {"model": identity(path), "dataset": data}
        common |= {"images": images, "backend": keras.backend.backend()}
        wanted = [{**common, "shift": name} for name in SHIFTS]
        missing = [one for one in wanted if records.find(one) is None]
        if missing:
            model = convert(load_network(path))
            _, (x, y) = load_halves(dataset, data_dir=data_dir)
            for settings in missing:
                result = _measure(model, x[:images], y[:images], settings["shift"])
                records.add({"settings": settings, **result})
                print(f"{path.stem}: {settings['shift']}")
        found[path.stem] = [records.find(one) for one in wanted]
    return found


def _measure(model, x, y, shift):
    if SHIFTS[shift] is not None:
        shifted = apply(x / 255, *SHIFTS[shift], np.random.default_rng(0))
        x = np.round(255 * shifted).astype("uint8")
    correct = []
    for weight, schedule in WEIGHTS:
        set_example_weight(model, weight, schedule=schedule)
        classes = model.predict(x, batch_size=250, verbose=0).argmax(-1)
        correct.append(100.0 * (classes == y))
    changes = [one - correct[0] for one in correct]
    return {
        "shift": shift,
        "accuracy": [float(one.mean()) for one in correct],
        "difference": [float(one.mean()) for one in changes],
        "half": [float(half_width(one)) for one in changes],
    }


def fixed_weights_table(results):
    """Makes plain-text tables of what `run_fixed_weights` returned."""
    lines = []
    for network, shifts in results.items():
        for i, (weight, schedule) in enumerate(WEIGHTS):
            line = ["" if i else network, f"{weight:g} {schedule if weight else ''}"]
            for one in shifts:
                cell = f"{one['accuracy'][i]:.1f}"
                if i:
                    cell += f" ({one['difference'][i]:+.1f} ± {one['half'][i]:.1f})"
                line.append(cell)
            lines.append([cell.strip() for cell in line])
    header = ["network", "example weight", *SHIFTS]
    return tables.folded([header, *lines], left=2, keys=2)

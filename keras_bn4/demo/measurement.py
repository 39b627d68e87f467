"""Handwritten digits: robustness to shift, and the paper in miniature.

Question: Can the findings of the paper also be seen on data that need no download, in
networks that train in seconds? And how much does inference example weighing help on
images that are darker, foggier, blurrier or noisier than those of training?

Setting: Of scikit-learn's digits, 200 images are for training, 798 for choosing example
weights, and 799 for the results. The networks have three convolutions and are trained
by Adam on 300 minibatches.

- Shift: Networks with Keras' layer, trained on minibatches of 64. The example weight is
  the largest one that costs no more than half a point of accuracy on clean validation
  images. The shifts are ten kinds of CIFAR-10-C ("saturate" needs colors) at severities
  1, 3 and 5.
- Miniature: Ghosts of 8 (Sec. 3.2), decay of γ and β (Sec. 3.3), minibatches of a
  single class, a more extreme setting than the four classes of Sec. 4.4, and
  minibatches of 2 with batch, group and batch-group normalization (Sec. 3.4). There the
  example weight is the best on validation data, for each network and metric.

Selection: The momentum is 0.9 because a training is short. Filters, strides, pooling
and learning rate are those of seven settings in which the best example weights were
ordered most clearly by ghost batch size, on another partition of the digits than the
one reported here. The ghost batch size, the decay and the number of groups were not
searched. All networks of a seed share the initial kernels and, for each kind of
minibatch, the order of the images.

Expected, from the paper: Example weighing lowers the loss on clean images a little.
Ghosts and decay regularize. With one class per minibatch, inference with moving
statistics alone fails, and example weighing recovers part of it. With minibatches of 2,
batch-group normalization does best.

Command: `python -m keras_bn4`, two to three minutes on two CPU cores.
"""

import pathlib
import time
import warnings

import keras
import numpy as np

from keras_bn4.common.arguments import check_integer
from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.conversion import convert
from keras_bn4.datasets import load
from keras_bn4.demo.temperature import losses
from keras_bn4.demo.training import (
    BATCH_SIZE,
    FILTERS,
    LEARNING_RATE,
    MOMENTUM,
    build,
    train,
)
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.example_weight.sweep_result import FAR_FROM_SURE
from keras_bn4.example_weight.untrained import UNTRAINED
from keras_bn4.shift.corruptions import corrupt
from keras_bn4.shift.small_images import KINDS

EXAMPLE_WEIGHTS = (
    *(0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7),
    *(0.85, 1),
)
WITHIN = 0.005
SHIFTS = tuple(kind for kind in KINDS if kind != "saturate")
SEVERITIES = (1, 3, 5)
# By name: how the network is built, and how it is trained.
CONFIGURATIONS = {
    "batch": ({}, {}),
    "ghosts of 8": ({"ghost_batch_size": 8}, {}),
    "decay": ({"l2": 1e-3}, {}),
    "one class": ({}, {"one_class": True}),
    "2: batch": ({}, {"batch_size": 2}),
    "2: group": ({"groups": 4, "ghost_batch_size": 1}, {"batch_size": 2}),
    "2: batch-group": ({"groups": 4}, {"batch_size": 2}),
}


def run(
    *,
    seeds=10,
    miniature_seeds=5,
    steps=300,
    configurations=tuple(CONFIGURATIONS),
    output_dir="results/digits",
    fresh=False,
    verbose=1,
):
    """Trains all networks, or continues where an earlier run stopped.

    The results of a network are written to `results.json` in `output_dir` as soon as it
    is finished, and it is not trained again while its settings are the same.

    Args:
        seeds: Positive integer, the number of networks to measure on shifted images.
        miniature_seeds: Positive integer, the number of networks in each comparison of
            the miniature.
        steps: Positive integer, the number of minibatches in a training.
        configurations: Names among those of `CONFIGURATIONS`, `"batch"` among them.
        output_dir: Folder for the results, which is created if necessary.
        fresh: Whether to discard earlier results.
        verbose: 0 or 1, whether to show a progress bar.

    Returns:
        List of dicts, one for each network: its `"settings"`; the `"seconds"` it took;
        under `"validation"` the rows of the sweep over example weights on validation
        data; under `"best"` the best weight there, by metric; and under `"test"` the
        results on test data at weight 0 and at the best weight, by metric. Networks of
        `"batch"` also have under `"shifted"` the `"weight"` that was chosen for images
        that may shift, and the accuracies at weight 0 and at this one: `"clean"`, and
        by kind and severity of the shift under `"accuracies"`.

    Raises:
        ValueError: if `seeds`, `miniature_seeds` or `steps` is not as above.
    """
    check_integer("seeds", seeds)
    check_integer("miniature_seeds", miniature_seeds)
    check_integer("steps", steps)
    data = load("digits", ("train", "validation", "test"))
    path = pathlib.Path(output_dir, "results.json")
    records = Records(path, fresh, keys=("validation", "best", "test"))
    counts = dict.fromkeys(configurations, miniature_seeds) | {"batch": seeds}
    progress = progress_bar(sum(counts.values()), verbose=verbose, unit_name="network")
    results = []
    shifted = None
    for name in configurations:
        models = None
        for seed in range(counts[name]):
            settings = _settings(name, seed, steps)
            result = records.find(settings)
            if result is None:
                models = models or _models(name)
                if name == "batch" and shifted is None:
                    shifted = _shifted_images(data[2][0])
                result = _result(settings, *models, data, shifted)
                records.add(result)
            results.append(result)
            progress.add(1)
    return results


def _settings(name, seed, steps):
    model, training = CONFIGURATIONS[name]
    return {
        "configuration": name,
        **{"batch_size": BATCH_SIZE, **model, **training},
        "seed": seed,
        "steps": steps,
        "filters": list(FILTERS),
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "example_weights": list(EXAMPLE_WEIGHTS),
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }


def _models(name):
    """Makes the model to train, and the one that gets its weights and an α."""
    model = build(**CONFIGURATIONS[name][0])
    is_ours = any(hasattr(layer, "example_weight") for layer in model.layers)
    return model, model if is_ours else convert(model)


def _shifted_images(x):
    """All shifts of the images, in one array that begins with the images themselves."""
    # Fractions of a shade are kept, as in images of more shades they would be.
    x = x.astype("float32")
    shifted = [
        corrupt(x, kind, severity, highest=16)
        for kind in SHIFTS
        for severity in SEVERITIES
    ]
    return np.concatenate([x, *shifted])


def _result(settings, model, weighing, data, shifted):
    (x, y), (x_validation, y_validation), (x_test, y_test) = data
    start = time.perf_counter()
    how = CONFIGURATIONS[settings["configuration"]][1]
    train(model, x, y, steps=settings["steps"], seed=settings["seed"], **how)
    if weighing is not model:
        weighing.set_weights(model.get_weights())
    with warnings.catch_warnings():
        # Minibatches of one class leave statistics that serve no image.
        warnings.filterwarnings("ignore", UNTRAINED)
        sweep = sweep_example_weight(
            weighing,
            x_validation,
            y_validation,
            example_weights=EXAMPLE_WEIGHTS,
            batch_size=len(x_validation),
            verbose=0,
        )

    def logits(weight, images=x_test):
        set_example_weight(weighing, weight)
        return weighing.predict(images, batch_size=len(x_test), verbose=0)

    measures = {
        "loss": lambda logits: float(losses(logits, y_test).mean()),
        "accuracy": lambda logits: float((logits.argmax(-1) == y_test).mean()),
    }
    best = {name: sweep.best(name)["example_weight"] for name in measures}
    columns = ("example_weight", *measures)
    result = {
        "settings": settings,
        "validation": [{name: row[name] for name in columns} for row in sweep.rows],
        "best": best,
        "test": {
            name: [measure(logits(0)), measure(logits(best[name]))]
            for name, measure in measures.items()
        },
    }
    if settings["configuration"] == "batch":
        with warnings.catch_warnings():
            # There are few digits.
            warnings.filterwarnings("ignore", FAR_FROM_SURE)
            weight = sweep.largest("accuracy", within=WITHIN)["example_weight"]
        classes = np.stack([logits(w, shifted).argmax(-1) for w in (0, weight)], -1)
        correct = classes.reshape(-1, len(x_test), 2) == y_test[:, None]
        clean, *cells = correct.mean(1).tolist()
        cells = iter(cells)
        accuracies = {
            kind: {str(severity): next(cells) for severity in SEVERITIES}
            for kind in SHIFTS
        }
        result["shifted"] = {"weight": weight, "clean": clean, "accuracies": accuracies}
    set_example_weight(weighing, 0)
    result["seconds"] = round(time.perf_counter() - start, 2)
    return result

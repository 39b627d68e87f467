"""Output ranges in training and at inference, by ghost size (App. B, Fig. 6).

Question: Do outputs in training come closer to the bound of Eq. 2 the fewer elements
are normalized together, and do they exceed it at inference?

Setting: The outputs of the network's last batch normalization, before γ and β, are
measured on the same test images in training mode and in inference mode. `B` is the
ghost batch size times the positions of an image. By default the networks are those of
`digits`, with three convolutions and 2 by 2 positions at the last one. They are trained
from scratch with each ghost batch size. If a model is given, that network is trained
for some more steps with each ghost batch size instead.

Expected, from the paper: At large `B` no output comes near the bound. At small `B` the
range in training nearly reaches it (in the paper -5.30 of -5.57 at `B` = 32), while the
range at inference shows no pattern and exceeds the bound.

Seen: The same happens at smaller `B`. Digits with ghosts of 2 (`B` = 8, bound 2.65)
range from -2.61 to 2.62 in training and from -4.46 to 4.50 at inference. With ghosts of
8 (`B` = 32, bound 5.57) they range from -3.71 to 4.35 and from -4.02 to 5.25. From
`B` = 64 on, the outputs are far from the bound, and the two ranges differ little. The
example weight that closes the gap decreases from 0.35 for ghosts of 2 to 0.01 for
ghosts of 32. For ghosts of 1 it is 1, and without example weighing such a network has
an accuracy of only 12 %.

Command: `python -m keras_bn4.experiments.discrepancy_by_ghost_size`, with
`--model MODEL.keras --dataset cifar100` for a trained network. Time: The digits take
two minutes on two CPU cores. The results of finished networks are kept in the output
folder, and these networks are not run again.
"""

import math
import pathlib
import sys

import keras
import numpy as np

from keras_bn4 import datasets, demo
from keras_bn4.common import tables
from keras_bn4.common.figures import BLACK, BLUE, GRAY, VERMILION, new_figure, styled
from keras_bn4.common.records import Records
from keras_bn4.common.tables import progress_bar
from keras_bn4.conversion import convert
from keras_bn4.experiments import command
from keras_bn4.experiments.trained import identity
from keras_bn4.moving_statistics import discrepancy

GHOST_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
BATCH_SIZE = 64


def run(
    model=None,
    dataset="cifar100",
    *,
    ghost_batch_sizes=GHOST_BATCH_SIZES,
    seeds=3,
    steps=300,
    examples=2048,
    data_dir=None,
    output_dir="results/discrepancy",
    verbose=1,
):
    """Trains a network with each ghost size and measures its last normalizer.

    Args:
        model: `None` for the digits, or the path of a `.keras` file, a classifier that
            returns logits.
        dataset: Used with a model: a name as `keras_bn4.datasets.load` takes it.
        ghost_batch_sizes: Positive integers that divide 64.
        seeds: Positive integer, how many networks to train for each size.
        steps: Positive integer, the minibatches of 64 in a training.
        examples: Positive integer, how many test images to use, rounded down to whole
            minibatches.
        data_dir: The folder of tensorflow-datasets.
        output_dir: Folder for the results. Results that it already has are not computed
            again.
        verbose: 0 or 1, whether to show a progress bar.

    Returns:
        List of dicts, one for each network: the row of `keras_bn4.discrepancy` for the
        last layer, with `"ghost_batch_size"`, `"seed"` and test `"accuracy"`.
    """
    dataset = dataset if model else "digits"
    records = Records(pathlib.Path(output_dir, "results.json"))
    train, (x_test, y_test) = datasets.load(
        dataset, ("train", "test"), data_dir=data_dir
    )
    keep = min(examples, len(x_test)) // BATCH_SIZE * BATCH_SIZE
    progress = progress_bar(
        len(ghost_batch_sizes) * seeds, verbose=verbose, unit_name="network"
    )
    results = []
    for size in ghost_batch_sizes:
        for seed in range(seeds):
            settings = {
                "model": identity(model) if model else None,
                "dataset": dataset,
                "ghost_batch_size": size,
                "seed": seed,
                "steps": steps,
                "examples": keep,
            }
            result = records.find(settings)
            if result is None:
                trained = _train(model, size, *train, steps=steps, seed=seed)
                found = discrepancy(
                    trained, x_test[:keep], batch_size=BATCH_SIZE, verbose=0
                )
                row = dict(found.rows[-1], ghost_batch_size=size, seed=seed)
                predicted = trained.predict(x_test[:keep], verbose=0).argmax(-1)
                row["accuracy"] = float(np.mean(predicted == y_test[:keep]))
                result = {"settings": settings, "row": row}
                records.add(result)
            results.append(result["row"])
            progress.add(1)
    return results


def _train(path, ghost_batch_size, x, y, *, steps, seed):
    if path is None:
        model = demo.build(ghost_batch_size)
        demo.train(model, x, y, steps=steps, seed=seed)
        return model
    keras.utils.set_random_seed(seed)
    model = convert(
        keras.models.load_model(path),
        ghost_batch_size=ghost_batch_size,
        momentum=demo.MOMENTUM,
    )
    # A low learning rate, because the network is trained and only adapts to its ghosts.
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    order = np.random.default_rng(seed).choice(len(x), steps * BATCH_SIZE)
    model.fit(x[order], y[order], batch_size=BATCH_SIZE, verbose=0)
    return model


def _by_size(results):
    sizes = sorted({row["ghost_batch_size"] for row in results})
    return [[r for r in results if r["ghost_batch_size"] == size] for size in sizes]


def table(results):
    """Makes a plain-text table of means over seeds, with a line for each ghost size."""
    ends = [f"{mode}_{e}" for mode in ("training", "inference") for e in ENDS]
    lines = [["B'", "B", "bound", *(end.replace("_", " ") for end in ends), "α", "acc"]]
    for rows in _by_size(results):
        line = [f"{rows[0][name]:.0f}" for name in ("ghost_batch_size", "elements")]
        line.append(f"{rows[0]['bound']:.2f}")
        for name in (*ends, "example_weight", "accuracy"):
            line.append(f"{np.mean([row[name] for row in rows]):.3g}")
        lines.append(line)
    return tables.folded(lines, keys=3)


ENDS = ("minimum", "maximum")


@styled
def plot(results, ax=None):
    """Draws the ranges over the number of elements, and returns the figure.

    Args:
        results: What `run` returned.
        ax: Axes of matplotlib, or `None` for those of a new figure.
    """
    ax = ax or new_figure(6.4, 4.4).subplots()
    groups = _by_size(results)
    at = [math.log2(rows[0]["elements"]) for rows in groups]
    reach = 0.0
    for mode, color, marker, shift in (
        ("inference", VERMILION, "s", 0.04),
        ("training", BLUE, "o", -0.04),
    ):
        for end in ENDS:
            values = [[row[f"{mode}_{end}"] for row in rows] for rows in groups]
            reach = max(reach, *(np.abs(seeds).max() for seeds in values))
            means = [np.mean(seeds) for seeds in values]
            for x, seeds in zip(at, values):
                ax.plot([x + shift] * len(seeds), seeds, ".", color=color, alpha=0.4)
            label = mode if end == "maximum" else None
            ax.plot(at, means, marker=marker, color=color, label=label)
    fine = np.linspace(min(at), max(at), 200)
    for sign in (1, -1):
        label = "bound in training, ±√(B - 1)" if sign > 0 else None
        bound = sign * np.sqrt(2**fine - 1)
        ax.plot(fine, bound, "--", color=BLACK, label=label)
    ax.axhline(0, color="0.8", linewidth=1, zorder=0)
    ax.set_ylim(-1.15 * reach, 1.15 * reach)
    sizes = [rows[0]["ghost_batch_size"] for rows in groups]
    ax.set_xticks(at, [f"{x:g}\n{size}" for x, size in zip(at, sizes)])
    ax.set_xlabel("log₂ B, elements normalized together;  below: ghost batch size")
    ax.set_ylabel("smallest and largest output, before γ and β")
    ax.figure.legend(loc="outside upper left", ncols=3)
    n = tables.value_range(list(map(len, groups)))
    ax.set_title(
        f"last batch normalization; lines are means of n = {n}, dots are networks",
        color=GRAY,
    )
    return ax.figure


def main(arguments=None):
    """Runs the experiment, prints the table and draws the figure."""
    options = {
        "--model": {"metavar": "MODEL.keras", "help": "train this one further"},
        "--dataset": {
            "default": "cifar100",
            "help": "of the model; else the digits",
        },
        "--seeds": {"type": int, "default": 3, "help": "networks of each size"},
        "--steps": {"type": int, "default": 300, "help": "minibatches of a training"},
    }
    return command.main(
        "keras_bn4.experiments.discrepancy_by_ghost_size",
        __doc__.splitlines()[0],
        show,
        options,
        arguments,
        output_dir="results/discrepancy",
    )


def show(model, output_dir, **options):
    found = run(model, output_dir=output_dir, **options)
    print(table(found))
    stem = pathlib.Path(model).stem if model else "digits"
    file = pathlib.Path(output_dir, f"{stem}.png")
    plot(found).savefig(file)
    print(f"\nFigure: {file}")


if __name__ == "__main__":
    sys.exit(main())

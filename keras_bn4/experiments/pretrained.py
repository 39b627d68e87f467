"""Example weighing of networks that are already trained (Sec. 3.1, Fig. 1).

The paper takes trained ImageNet networks and finds the best example weight for each
metric on the validation set. Here the test set is split into two random halves. The
weight is chosen on the first half, for the loss and for the accuracy separately. Its
effect is reported on the second half, as the paired difference to weight 0 with its
95 % interval over examples.

    python -m keras_bn4.experiments.pretrained MODEL.keras ... --dataset cifar100

Time: Each network is evaluated 44 times on half a test set, which takes some minutes
for a ResNet-20 on CIFAR-100 with two CPU cores. The results of finished networks are
kept in the output folder, and these networks are not run again.

Expected: The loss decreases for every network, and more for those that were trained
with smaller batches. The accuracy of networks that were trained with large batches
changes only within noise.
"""

import argparse
import pathlib

import keras
import numpy as np

from keras_bn4 import datasets
from keras_bn4.common import tables
from keras_bn4.conversion import convert
from keras_bn4.example_weight import sweep_example_weight
from keras_bn4.experiments.records import Records


def run(models, dataset, *, split="test", data_dir=None, seed=0, output_dir=None):
    """Chooses the example weight on one half of a split and reports on the other.

    Args:
        models: List of paths of `.keras` files, compiled for integer labels.
        dataset: A name as `keras_bn4.datasets.load` takes it.
        split: The split to cut into halves.
        data_dir: The folder of tensorflow-datasets.
        seed: Integer, the seed by which the split is cut.
        output_dir: Folder for the results, or `None` for `results/pretrained`. Results
            that it already has are not computed again.

    Returns:
        List of dicts, one for each network. They have `"model"`, its name;
        `"difference_at_zero"`, the largest change of a prediction by conversion,
        relative to the largest prediction; and under `"loss"` and `"accuracy"` the row
        of the sweep on the second half at the weight chosen on the first.
    """
    records = Records(pathlib.Path(output_dir or "results/pretrained", "results.json"))
    x, y = datasets.load(dataset, split, data_dir=data_dir)
    order = np.random.default_rng(seed).permutation(len(x))
    first, second = np.array_split(order, 2)
    results = []
    for path in map(pathlib.Path, models):
        settings = {
            "model": path.stem,
            "dataset": dataset,
            "split": split,
            "seed": seed,
        }
        result = records.find(settings)
        if result is None:
            result = {"settings": settings, **_run_one(path, x, y, first, second)}
            records.add(result)
        results.append(result)
    return results


def _run_one(path, x, y, first, second):
    original = keras.models.load_model(path)
    original.compile(
        loss=original.loss or "sparse_categorical_crossentropy",
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    model = convert(original)
    before, after = (m.predict(x[first[:500]], verbose=0) for m in (original, model))
    print(f"{path.stem}: choosing on {len(first)} examples")
    chosen = sweep_example_weight(model, x[first], y[first], batch_size=250)
    best = {name: chosen.best(name)["example_weight"] for name in ("loss", "accuracy")}
    print(f"{path.stem}: reporting on {len(second)} examples")
    reported = sweep_example_weight(
        model,
        x[second],
        y[second],
        example_weights=sorted(set(best.values())),
        batch_size=250,
    )
    rows = {row["example_weight"]: row for row in reported.rows}
    return {
        "model": path.stem,
        "examples": len(second),
        "difference_at_zero": float(
            np.abs(after - before).max() / np.abs(before).max()
        ),
        "argmax_equal": bool((after.argmax(-1) == before.argmax(-1)).all()),
        "at_zero": rows[0.0],
        "loss": rows[best["loss"]],
        "accuracy": rows[best["accuracy"]],
        "chosen_on": chosen.rows,
    }


def table(results):
    """Makes a Markdown table of what `run` returned."""
    header = ["network", "loss at 0", "best weight", "loss", "change"]
    header += ["accuracy at 0", "best weight", "accuracy", "change"]
    lines = []
    for result in results:
        zero, loss, accuracy = (result[k] for k in ("at_zero", "loss", "accuracy"))
        ends = [loss[f"loss_difference{end}"] for end in ("", "_lower", "_upper")]
        shares = [f"{100 * value / zero['loss']:+.1f}" for value in ends]
        ends = [accuracy[f"accuracy_difference{e}"] for e in ("", "_lower", "_upper")]
        points = [f"{100 * value:+.2f}" for value in ends]
        line = [result["model"]]
        line += [f"{zero['loss']:.3f}", f"{loss['example_weight']:g}"]
        line += [f"{loss['loss']:.3f}", f"{shares[0]} % [{shares[1]}, {shares[2]}]"]
        line += [f"{100 * zero['accuracy']:.2f} %", f"{accuracy['example_weight']:g}"]
        line += [f"{100 * accuracy['accuracy']:.2f} %"]
        line += [f"{points[0]} [{points[1]}, {points[2]}]"]
        lines.append(line)
    return tables.markdown(header, lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL.keras")
    parser.add_argument("--dataset", default="cifar100")
    parser.add_argument("--split", default="test")
    parser.add_argument("--data-dir")
    parser.add_argument("--output-dir")
    arguments = parser.parse_args()
    print(table(run(**vars(arguments))))

"""Example weighing of networks that are already trained (Sec. 3.1, Fig. 1).

The paper takes trained ImageNet networks and finds the best example weight for each
metric on the validation set. Here the test set is split into two random halves. The
weight is chosen on the first half, for the loss and for the accuracy separately. Its
effect is reported on the second half, as the paired difference to weight 0 with its
95 % interval over examples.

An overconfident network gains as much or more from a temperature on its logits. So the
same is done with a temperature alone, and with both: for each of some example weights a
temperature is fitted on the first half, and the pair with the lowest loss there is
reported on the second half.

    python -m keras_bn4.experiments.pretrained MODEL.keras ... --dataset cifar100

Time: Each network is evaluated 25 times on half a test set, which takes some minutes
for a ResNet-20 on CIFAR-100 with two CPU cores. The results of finished networks are
kept in the output folder, and these networks are not run again.

Expected: The loss decreases for every network, and more for those that were trained
with smaller batches. The accuracy of networks that were trained with large batches
changes only within noise. A temperature alone lowers the loss more.
"""

import pathlib
import sys

import numpy as np

from keras_bn4.common import tables
from keras_bn4.common.records import Records
from keras_bn4.conversion import convert
from keras_bn4.demo import temperature
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.experiments import command
from keras_bn4.experiments.trained import (
    half_width,
    identity,
    load_halves,
    load_network,
)

FOLDER = "results/pretrained"
EXAMPLE_WEIGHTS = (
    *(0.0, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15),
)
# To fit a temperature at.
WITH_TEMPERATURE = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1)


def run(models, dataset, *, split="test", data_dir=None, seed=0, output_dir=FOLDER):
    """Chooses the example weight on one half of a split and reports on the other.

    Args:
        models: List of paths of `.keras` files, compiled for integer labels.
        dataset: A name as `keras_bn4.datasets.load` takes it, or the path of an `.npz`
            file with images x and labels y.
        split, seed: The split to cut into halves, and the seed of the cut.
        data_dir: The folder of tensorflow-datasets.
        output_dir: Folder for the results. Results that it already has are not computed
            again.

    Returns:
        List of dicts, one for each network. They have `"model"`, its name;
        `"difference_at_zero"`, the largest change of a prediction by conversion,
        relative to the largest prediction; and under `"loss"` and `"accuracy"` the row
        of the sweep on the second half at the weight chosen on the first. `"scaled"`
        has the temperatures that were chosen, alone and with an example weight, and the
        losses that they give on the second half.
    """
    records = Records(pathlib.Path(output_dir, "results.json"))
    halves = load_halves(dataset, split=split, data_dir=data_dir, seed=seed)
    results, data = [], identity(dataset)
    for path in map(pathlib.Path, models):
        settings = {
            "model": identity(path),
            "dataset": data,
            "split": split,
            "seed": seed,
        }
        result = records.find(settings)
        if result is None:
            result = {"settings": settings, **_run_one(path, *halves)}
            records.add(result)
        results.append(result)
    return results


def _run_one(path, first, second):
    original = load_network(path)
    model = convert(original)
    before, after = (m.predict(first[0][:500], verbose=0) for m in (original, model))
    print(f"{path.stem}: choosing on {len(first[0])} examples")
    chosen = sweep_example_weight(
        model, *first, example_weights=EXAMPLE_WEIGHTS, batch_size=250
    )
    best = {name: chosen.best(name)["example_weight"] for name in ("loss", "accuracy")}
    print(f"{path.stem}: reporting on {len(second[0])} examples")
    reported = sweep_example_weight(
        model, *second, example_weights=sorted(set(best.values())), batch_size=250
    )
    rows = {row["example_weight"]: row for row in reported.rows}
    return {
        "model": path.stem,
        "examples": len(second[0]),
        "difference_at_zero": float(
            np.abs(after - before).max() / np.abs(before).max()
        ),
        "argmax_equal": bool((after.argmax(-1) == before.argmax(-1)).all()),
        "at_zero": rows[0.0],
        "loss": rows[best["loss"]],
        "accuracy": rows[best["accuracy"]],
        "scaled": _scaled(model, first, second),
        "chosen_on": chosen.rows,
    }


def _scaled(model, first, second):
    """Losses with a temperature alone, and with both it and an example weight."""

    def logits(x, weight):
        set_example_weight(model, weight)
        outputs = model.predict(x, batch_size=250, verbose=0)
        is_probabilities = outputs.min() >= 0 and np.allclose(outputs.sum(-1), 1)
        return np.log(np.maximum(outputs, 1e-12)) if is_probabilities else outputs

    fitted = {}
    for weight in WITH_TEMPERATURE:
        outputs = logits(first[0], weight)
        found = temperature.fit(outputs, first[1])
        loss = temperature.losses(outputs, first[1], found).mean()
        fitted[weight] = loss, found
    weight = min(fitted, key=fitted.get)
    alone, both = (
        temperature.losses(logits(second[0], w), second[1], fitted[w][1])
        for w in (0.0, weight)
    )
    set_example_weight(model, 0)
    difference = both - alone
    half = half_width(difference)
    return {
        "temperature": fitted[0.0][1],
        "loss": float(alone.mean()),
        "both": [weight, fitted[weight][1]],
        "loss_of_both": float(both.mean()),
        "difference": float(difference.mean()),
        "lower": float(difference.mean() - half),
        "upper": float(difference.mean() + half),
    }


def table(results):
    header = ["network", "loss at 0", "best weight", "loss", "change"]
    header += ["temperature alone", "loss", "both", "loss", "change by the weight"]
    header += ["accuracy at 0", "best weight", "accuracy", "change"]
    lines = []
    for result in results:
        zero, loss, accuracy = (result[k] for k in ("at_zero", "loss", "accuracy"))
        scaled = result["scaled"]
        ends = [loss[f"loss_difference{end}"] for end in ("", "_lower", "_upper")]
        line = [result["model"]]
        line += [f"{zero['loss']:.3f}", f"{loss['example_weight']:g}"]
        line += [f"{loss['loss']:.3f}", _share(ends, zero["loss"])]
        line += [f"{scaled['temperature']:.2f}", f"{scaled['loss']:.3f}"]
        weight, both = scaled["both"]
        line += [f"{weight:g}, {both:.2f}", f"{scaled['loss_of_both']:.3f}"]
        ends = [scaled[end] for end in ("difference", "lower", "upper")]
        line.append(_share(ends, scaled["loss"]))
        ends = [accuracy[f"accuracy_difference{e}"] for e in ("", "_lower", "_upper")]
        points = [f"{100 * value:+.2f}" for value in ends]
        line += [f"{100 * zero['accuracy']:.2f} %", f"{accuracy['example_weight']:g}"]
        line += [f"{100 * accuracy['accuracy']:.2f} %"]
        line += [f"{points[0]} [{points[1]}, {points[2]}]"]
        lines.append(line)
    return tables.markdown(header, lines)


def _share(ends, whole):
    """A difference and the ends of its interval in percent of a whole."""
    middle, lower, upper = (f"{100 * value / whole:+.1f}" for value in ends)
    return f"{middle} % [{lower}, {upper}]"


def main(arguments=None):
    """Runs the experiment for the networks that the arguments name."""
    options = {
        "models": {"nargs": "+", "metavar": "MODEL.keras"},
        "--dataset": {"default": "cifar100", "help": "a name, or an .npz file"},
        "--split": {"default": "test", "help": "the split to cut into halves"},
    }
    return command.main(
        "keras_bn4.experiments.pretrained",
        __doc__.splitlines()[0],
        lambda **given: print(table(run(**given))),
        options,
        arguments,
        output_dir=FOLDER,
    )


if __name__ == "__main__":
    sys.exit(main())

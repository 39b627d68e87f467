"""Networks from files, one for digits, and what is recorded of them.

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

import importlib.resources

from keras_bn4 import demo
from keras_bn4.common import records
from keras_bn4.datasets import load
from keras_bn4.experiments.shift import measurement
from keras_bn4.shift.small_images import KINDS

# As a resource, so that records are also found where the package is in a zip.
RECORDS = importlib.resources.files(__package__) / "records"


def run(models=(), dataset="digits", *, data_dir=None, kinds=KINDS, **keywords):
    """Measures networks of files, or without one a network that is trained on digits.

    Args:
        models: List of paths of `.keras` files. For the digits there are none.
        dataset: `"digits"`, or as `measurement.run` takes it.
        data_dir, kinds, **keywords: As `measurement.run` takes them.

    Returns:
        What `measurement.run` returns.

    Raises:
        ValueError: if there are models for the digits, none for other images, or two of
            the same name.
    """
    if str(dataset) != "digits":
        keywords |= {"data_dir": data_dir, "kinds": kinds}
        return measurement.run(models, dataset, **keywords)
    if models:
        raise ValueError(
            "For dataset='digits' a network is trained, and no model is loaded. Name "
            "the images that the model was trained for, such as dataset='cifar100'. "
            f"Received: models={list(map(str, models))}, dataset='digits'."
        )
    kinds = [kind for kind in kinds if kind != "saturate"]
    source = {"dataset": "digits"}
    cells = measurement.measure(
        "digits", _trained_on_digits, source, highest=16, kinds=kinds, **keywords
    )
    return {"digits": cells}


def _trained_on_digits():
    """A network of the digits, with the data to choose and to report on."""
    parts = load("digits", ("train", "validation", "test"))
    # Fractions of a shade are kept, as in images of more shades they would be.
    train, *others = ((x.astype("float32"), y) for x, y in parts)
    network = demo.build()
    demo.train(network, *train, steps=300)
    return network, *others


def recorded(end=""):
    """What `run` returned for the networks whose records are published.

    With the end `"_fixed_weights"`, what `run_fixed_weights` returned for them.
    """
    every = {f.name.removesuffix(".json"): f for f in RECORDS.iterdir()}
    names = [n for n in every if every[n].name.endswith(".json")]
    if end:
        names = [name.removesuffix(end) for name in names if name.endswith(end)]
    else:
        names = [name for name in names if not name.endswith("_fixed_weights")]
    # Networks for photographs first, which more readers have.
    names.sort(key=lambda name: (name == "digits", name))
    return {name: records.read(every[f"{name}{end}"]) for name in names}

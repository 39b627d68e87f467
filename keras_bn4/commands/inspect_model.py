"""`keras_bn4 inspect`: the normalizers of a saved model, and what may help it."""

import textwrap

from keras_bn4.commands.inputs import load_model
from keras_bn4.common import tables
from keras_bn4.common.arguments import check_integer
from keras_bn4.common.models import BatchNormalization
from keras_bn4.weight_decay import normalization_paths

# Measurements of this package, from the README and the pages of the methods.
EXAMPLE_WEIGHT = (
    "Sweep the example weight on validation data, which needs no training: "
    "keras_bn4.sweep_example_weight. Measured on four networks: 1.6 to 7.7 points of "
    "accuracy more on shifted images, at most 1.1 less on clean ones. On clean images "
    "alone no accuracy is gained."
)
GHOSTS = (
    "If it overfits, train it with ghosts of 16: keras_bn4.convert(model, "
    "ghost_batch_size=16). Measured on a ResNet-8 that overfits 2,500 images of "
    "CIFAR-100, in minibatches of 128: 1.75 points of accuracy more [1.14, 2.36]; with "
    "ghosts of 2, 6 less."
)
NO_GHOSTS = (
    "If it does not overfit, leave ghosts out. Measured on the digits, with little "
    "overfitting: no gain in accuracy."
)
UNDECIDED = (
    "Decay of γ and β in a residual network made no measurable difference (0.11 points "
    "[-0.37, 0.59]), and batch-group statistics in minibatches of 2 were no better "
    "than group normalization. The paper found both to help."
)


def add(commands):
    inspect = commands.add_parser(
        "inspect",
        help="list the normalizers of a saved model, and what may help it",
        description="Lists the normalizers of a saved model, says which of their γ and "
        "β can act on the output (Sec. 3.3), and what was measured that may help it.",
    )
    inspect.add_argument("model", metavar="MODEL.keras", help="file of the model")
    inspect.add_argument("--batch-size", type=int, help="batch size of the training")
    inspect.add_argument(
        "--overfits",
        choices=("yes", "no"),
        help="whether the model does much better on its training data than on others",
    )
    inspect.set_defaults(command=run)


def run(options):
    """Prints the normalizers of a saved model, their paths, and advice."""
    if options.batch_size is not None:
        check_integer("batch_size", options.batch_size)
    model = load_model(options.model)
    paths = normalization_paths(model)
    if not paths:
        print("The model has no normalizer.")
        return
    lines = [["layer", "class", "channels", "B'", "groups", "α"]]
    for row in paths:
        settings = [
            getattr(row.layer, name, None)
            for name in ("ghost_batch_size", "groups", "example_weight")
        ]
        channels = row.variables[0].shape[0] if row.variables else None
        cells = [channels, *settings]
        cells = ["" if cell is None else f"{cell:g}" for cell in cells]
        lines.append([row.name, type(row.layer).__name__, *cells])
    print(tables.text(lines, left=2), end="\n\n")
    print(paths, end="\n\n")
    layers = [row.layer for row in paths]
    for text in _advice(layers, options.batch_size, options.overfits):
        print(textwrap.fill(text, 88, initial_indent="- ", subsequent_indent="  "))


def _advice(layers, batch_size, overfits):
    layers = [x for x in layers if isinstance(x, BatchNormalization)]
    if not layers:
        return []
    advice = []
    if not any(getattr(layer, "example_weight", 0) for layer in layers):
        advice.append(EXAMPLE_WEIGHT)
    if all(getattr(layer, "ghost_batch_size", None) is None for layer in layers):
        if overfits == "no":
            advice.append(NO_GHOSTS)
        elif batch_size is None or batch_size > 16:
            advice.append(GHOSTS)
    return [*advice, UNDECIDED]

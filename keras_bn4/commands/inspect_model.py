"""`keras_bn4 inspect`: lists the normalizers of a saved model and gives advice."""

from keras_bn4.commands.advice import advise
from keras_bn4.commands.inputs import load_model
from keras_bn4.common import tables
from keras_bn4.weight_decay import normalization_paths


def add(commands):
    inspect = commands.add_parser(
        "inspect",
        help="list the normalizers of a saved model, and advise what to change",
        description="Lists the normalizers of a saved model, says which of their γ and "
        "β can act on the output (Sec. 3.3), and what the paper's findings advise.",
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
    model = load_model(options.model)
    overfits = {None: None, "yes": True, "no": False}[options.overfits]
    advice = advise(model, batch_size=options.batch_size, overfits=overfits)
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
    for item in advice:
        print(f"- {item}")

"""Measures trained networks on shifted images, prints tables and draws figures."""

import pathlib
import sys

from keras_bn4.experiments import command
from keras_bn4.experiments.shift import networks
from keras_bn4.experiments.shift.fixed_weights import (
    fixed_weights_table,
    run_fixed_weights,
)
from keras_bn4.experiments.shift.measurement import IMAGES
from keras_bn4.experiments.shift.report import by_severity, figure, table

OPTIONS = {
    "models": {"nargs": "*", "metavar": "MODEL.keras"},
    "--dataset": {
        "default": "digits",
        "help": "'digits', a name of tensorflow-datasets, or an .npz file with x and y",
    },
    "--recorded": {
        "action": "store_true",
        "help": "measure nothing, and report the published records",
    },
    "--images": {
        "type": int,
        "default": IMAGES,
        "help": "how many images to report on (default: %(default)s)",
    },
}


def main(arguments=None):
    """Runs the experiment for the networks that the arguments name."""
    module, folder = "keras_bn4.experiments.shift", "results/shift"
    return command.main(module, __doc__, run, OPTIONS, arguments, output_dir=folder)


def run(recorded, images, output_dir, **options):
    """Measures what is not recorded, and prints and draws the results."""
    folder = pathlib.Path(output_dir)
    if recorded:
        results = networks.recorded()
        of_fixed_weights = networks.recorded("_fixed_weights")
    else:
        results = networks.run(images=images, output_dir=folder, **options)
        of_fixed_weights = {}
        if options["models"]:
            of_fixed_weights = run_fixed_weights(output_dir=folder, **options)
    print(table(results), by_severity(results), sep="\n\n")
    folder.mkdir(parents=True, exist_ok=True)
    figure(results, folder / "summary.png")
    print(f"\nFigure: {folder / 'summary.png'}")
    if of_fixed_weights:
        print(f"\n{fixed_weights_table(of_fixed_weights)}")


if __name__ == "__main__":
    sys.exit(main())

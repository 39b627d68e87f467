"""Measures trained networks on shifted images, prints tables and draws figures."""

import argparse
import pathlib

from keras_bn4.experiments.shift.fixed_weights import (
    fixed_weights_table,
    run_fixed_weights,
)
from keras_bn4.experiments.shift.networks import recorded, run
from keras_bn4.shift.measurement import IMAGES
from keras_bn4.shift.report import (
    by_severity,
    figure,
    summary_figure,
    table,
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL.keras")
    parser.add_argument(
        "--dataset",
        default="digits",
        help="'digits', a name of tensorflow-datasets, or an .npz file with x and y",
    )
    parser.add_argument("--data-dir", help="folder of tensorflow-datasets")
    parser.add_argument(
        "--output-dir", default="results/shift", help="folder for results and figures"
    )
    parser.add_argument(
        "--recorded",
        action="store_true",
        help="measure nothing, and report what is recorded in the package",
    )
    parser.add_argument(
        "--images", type=int, default=IMAGES, help="how many images to report on"
    )
    options = vars(parser.parse_args())
    folder = pathlib.Path(options["output_dir"])
    if options.pop("recorded"):
        results, of_fixed_weights = recorded(), recorded("_fixed_weights")
    else:
        results, of_fixed_weights = run(**options), {}
        del options["images"]
        if options["models"]:
            of_fixed_weights = run_fixed_weights(**options)
    print(table(results), by_severity(results), sep="\n\n")
    folder.mkdir(parents=True, exist_ok=True)
    for name, cells in results.items():
        figure(cells, folder / f"{name}.png")
    summary_figure(results, folder / "summary.png")
    print(f"\nFigures: {folder}")
    if of_fixed_weights:
        print(f"\n{fixed_weights_table(of_fixed_weights)}")

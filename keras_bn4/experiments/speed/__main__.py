"""Compares how fast the layers are, prints tables and draws a figure."""

import argparse
import pathlib

import keras

from keras_bn4.experiments.speed import figure, run, table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output-dir", default="results/speed")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--only", nargs="+", help="kinds of comparison to make")
    options = parser.parse_args()
    measured = run(**vars(options))
    print(table(measured))
    path = pathlib.Path(options.output_dir, f"{keras.backend.backend()}.png")
    if figure(measured, path):
        print(f"\nFigure: {path}")

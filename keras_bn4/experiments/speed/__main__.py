"""Compares how fast the layers are, and prints tables."""

import argparse

from keras_bn4.experiments.speed import run, table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output-dir", default="results/speed")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--only", nargs="+", help="kinds of comparison to make")
    print(table(run(**vars(parser.parse_args()))))

"""Measures how fast the layers are, and makes tables and a figure of it.

Read `steps`, `measurements`, `comparison`, `report`.
"""

from keras_bn4.experiments.speed.comparison import run
from keras_bn4.experiments.speed.report import figure, table

__all__ = ["figure", "run", "table"]

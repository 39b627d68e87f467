"""Measures how fast the layers are, and makes tables of it.

Read `steps`, `measurements`, `comparison`, `report`.
"""

from keras_bn4.experiments.speed.comparison import run
from keras_bn4.experiments.speed.report import table

__all__ = ["run", "table"]

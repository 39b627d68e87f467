"""How fast the layers are: `comparison` measures, `report` makes tables and figures."""

from keras_bn4.experiments.speed.comparison import run
from keras_bn4.experiments.speed.report import figure, table

__all__ = ["figure", "run", "table"]

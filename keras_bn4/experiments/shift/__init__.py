"""Accuracy of trained networks on shifted images, before and after what adapts them.

Read `adaptations`, `measurement`, `fixed_weights`, `report`.
"""

from keras_bn4.experiments.shift.measurement import run
from keras_bn4.experiments.shift.report import figure, table

__all__ = ["figure", "run", "table"]

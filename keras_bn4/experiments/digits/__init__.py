"""Handwritten digits: robustness to shift, and the paper in miniature.

Read `training`, `measurement`, `report`, `drawing`.
"""

from keras_bn4.experiments.digits.drawing import figure
from keras_bn4.experiments.digits.measurement import run
from keras_bn4.experiments.digits.report import table
from keras_bn4.experiments.digits.training import (
    LEARNING_RATE,
    MOMENTUM,
    build,
    train,
)

__all__ = ["LEARNING_RATE", "MOMENTUM", "build", "figure", "run", "table", "train"]

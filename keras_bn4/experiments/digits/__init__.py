"""The paper in miniature, on handwritten digits, with its table and figure.

Read `training`, `report`.
"""

from keras_bn4.experiments.digits.report import figure, table
from keras_bn4.experiments.digits.training import (
    LEARNING_RATE,
    MOMENTUM,
    build,
    run,
    train,
)

__all__ = ["LEARNING_RATE", "MOMENTUM", "build", "figure", "run", "table", "train"]

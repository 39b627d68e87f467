"""The paper in miniature: `training` runs it, `report` makes its table and figure."""

from keras_bn4.experiments.digits.report import figure, table
from keras_bn4.experiments.digits.training import (
    LEARNING_RATE,
    MOMENTUM,
    build,
    run,
    train,
)

__all__ = ["LEARNING_RATE", "MOMENTUM", "build", "figure", "run", "table", "train"]

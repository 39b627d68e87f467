"""Handwritten digits: robustness to shift, and the paper in miniature.

Read `networks`, `minibatches`, `temperature`, `training`, `measurement`, `report`,
`drawing`.
"""

from keras_bn4.demo.drawing import figure
from keras_bn4.demo.measurement import run
from keras_bn4.demo.networks import resnet
from keras_bn4.demo.report import table
from keras_bn4.demo.training import LEARNING_RATE, MOMENTUM, build, train

__all__ = [
    "LEARNING_RATE",
    "MOMENTUM",
    "build",
    "figure",
    "resnet",
    "run",
    "table",
    "train",
]

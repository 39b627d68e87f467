"""Handwritten digits: robustness to shift, and the paper in miniature.

- `networks`: the network of the digits, and residual networks for small images
- `minibatches`: arrays for `fit` that do not delay its end
- `temperature`: temperature scaling, the control for any change of the loss
- `training`, `measurement`: how the network is trained, and the measurements
- `report`, `drawing`: tables and the figure

Read `networks`, `minibatches`, `temperature`, `training`, `measurement`, `report`,
`drawing`.
"""

from keras_bn4.demo.drawing import figure
from keras_bn4.demo.measurement import run
from keras_bn4.demo.networks import resnet
from keras_bn4.demo.report import table
from keras_bn4.demo.training import (
    LEARNING_RATE,
    MOMENTUM,
    build,
    train,
)

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

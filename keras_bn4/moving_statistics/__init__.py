"""The moving statistics of a trained model (App. A to C).

`keras_bn4.recalibrate` computes them anew from data, and `keras_bn4.discrepancy`
compares batch normalization in training and at inference.

Read `recorder`, `recalibration`, `comparison_result`, `comparison`.
"""

from keras_bn4.moving_statistics.comparison import discrepancy
from keras_bn4.moving_statistics.recalibration import recalibrate

__all__ = ["discrepancy", "recalibrate"]

"""The moving statistics of a trained model (App. A to C).

`keras_bn4.recalibrate` computes them from data, the callback `keras_bn4.Recalibration`
does so before every validation, and `keras_bn4.discrepancy` compares batch
normalization in training and at inference.

Read `recorder`, `recalibration`, `callback`, `comparison_result`, `comparison`.
"""

from keras_bn4.moving_statistics.callback import Recalibration
from keras_bn4.moving_statistics.comparison import discrepancy
from keras_bn4.moving_statistics.recalibration import recalibrate

__all__ = ["Recalibration", "discrepancy", "recalibrate"]

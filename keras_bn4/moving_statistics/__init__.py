"""The moving statistics of a trained model: computed anew, compared (App. A to C).

Read `recorder`, `recalibration`, `comparison_result`, `comparison`.
"""

from keras_bn4.moving_statistics.comparison import discrepancy
from keras_bn4.moving_statistics.recalibration import recalibrate

__all__ = ["discrepancy", "recalibrate"]

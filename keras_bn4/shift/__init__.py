"""Images that are darker, foggier, blurred or noisier, and a network measured on them.

Read `corruptions`, `trained`, `adaptations`, `measurement`, `report`.
"""

from keras_bn4.shift.corruptions import KINDS, SEVERITIES, corrupt
from keras_bn4.shift.measurement import measure, run
from keras_bn4.shift.report import figure, table
from keras_bn4.shift.trained import load_network

__all__ = [
    "KINDS",
    "SEVERITIES",
    "corrupt",
    "figure",
    "load_network",
    "measure",
    "run",
    "table",
]

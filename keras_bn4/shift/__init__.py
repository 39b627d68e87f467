"""Images that are darker, foggier, blurred or noisier, and a network measured on them.

Read `corruptions`, `trained`, `adaptations`, `measurement`, `report`.
"""

from keras_bn4.shift.measurement import measure, run
from keras_bn4.shift.report import figure, table

__all__ = ["figure", "measure", "run", "table"]

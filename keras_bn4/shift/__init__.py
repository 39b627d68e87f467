"""Images that are darker, foggier, blurred or noisier, and a model measured on them.

Read `small_images`, `large_images`, `corruptions`, `evaluation_plot`,
`evaluation_result`, `evaluator`, `evaluation`.
"""

from keras_bn4.shift.corruptions import SEVERITIES, corrupt, kinds
from keras_bn4.shift.evaluation import evaluate_shifts
from keras_bn4.shift.evaluation_result import ShiftEvaluation

__all__ = ["SEVERITIES", "ShiftEvaluation", "corrupt", "evaluate_shifts", "kinds"]

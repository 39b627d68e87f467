"""Inference example weighing of a trained model: sets and finds the weight (Sec. 3.1).

Read `schedules`, `setting`, `metric_attributes`, `example_values`, `step_state`,
`steps`, `evaluation`, `paired_differences`, `curve`, `untrained`, `sweep_plot`,
`sweep_text`, `sweep_result`, `sweep_arguments`, `sweep`, `callback`.
"""

from keras_bn4.example_weight.callback import ExampleWeightTuning
from keras_bn4.example_weight.setting import set_example_weight
from keras_bn4.example_weight.sweep import sweep_example_weight
from keras_bn4.example_weight.sweep_arguments import EXAMPLE_WEIGHTS
from keras_bn4.example_weight.sweep_result import ExampleWeightSweep

__all__ = [
    "EXAMPLE_WEIGHTS",
    "ExampleWeightSweep",
    "ExampleWeightTuning",
    "set_example_weight",
    "sweep_example_weight",
]

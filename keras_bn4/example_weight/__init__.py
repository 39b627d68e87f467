"""Inference example weighing of a trained model: sets and finds the weight (Sec. 3.1).

Read `setting`, `example_values`, `evaluation`, `sweep_result`, `sweep`, `callback`.
"""

from keras_bn4.example_weight.callback import ExampleWeightTuning
from keras_bn4.example_weight.setting import set_example_weight
from keras_bn4.example_weight.sweep import EXAMPLE_WEIGHTS, sweep_example_weight
from keras_bn4.example_weight.sweep_result import ExampleWeightSweep

__all__ = [
    "EXAMPLE_WEIGHTS",
    "ExampleWeightSweep",
    "ExampleWeightTuning",
    "set_example_weight",
    "sweep_example_weight",
]

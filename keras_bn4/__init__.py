"""Four things to improve batch normalization, for Keras 3.

After Summers and Dinneen, "Four Things Everyone Should Know to Improve Batch
Normalization" (ICLR 2020). The parts, in reading order, each importing only from parts
above it:

- `common`: what several parts share, one module for each subject
- `layers`: the two Keras layers, and what they compute with (Sec. 3.1, 3.2, 3.4)
- `datasets`: data to try it on
- `weight_decay`: of γ and β, and where in a network it can act (Sec. 3.3)
- `moving_statistics`: recalibrated, and training against inference (App. A to C)
- `example_weight`: inference example weighing of a trained model (Sec. 3.1)
- `conversion`: any model to these layers, and back
- `tuner`: search by Keras Tuner, `HyperBatchNormalization`
- `shift`: images that are foggier, darker or noisier, and a network measured on them
- `demo`: what `python -m keras_bn4` runs, the paper in miniature on digits
- `commands`: the command line, `python -m keras_bn4 --help`
- `experiments`: reproduction of the paper, in a clone (not installed)

Within a folder the modules stand in the reading order that its own documentation gives.
"""

import importlib.util
from typing import TYPE_CHECKING

from keras_bn4.common.backends import check_backend
from keras_bn4.common.quiet import quiet_in_commands

with quiet_in_commands():
    check_backend()
    from keras_bn4 import datasets, shift
    from keras_bn4.conversion import convert, revert
    from keras_bn4.example_weight import (
        ExampleWeightTuning,
        set_example_weight,
        sweep_example_weight,
    )
    from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization
    from keras_bn4.moving_statistics import Recalibration, discrepancy, recalibrate
    from keras_bn4.shift import evaluate_shifts
    from keras_bn4.weight_decay import (
        CenteredL2,
        exclude_from_weight_decay,
        normalization_paths,
    )

__all__ = [
    "BatchGroupNormalization",
    "CenteredL2",
    "ExampleWeightTuning",
    "GhostBatchNormalization",
    "Recalibration",
    "convert",
    "datasets",
    "discrepancy",
    "evaluate_shifts",
    "exclude_from_weight_decay",
    "normalization_paths",
    "recalibrate",
    "revert",
    "set_example_weight",
    "shift",
    "sweep_example_weight",
]
__version__ = "0.3.0"

# Keras Tuner takes seconds to import, and need not be installed.
_FROM_TUNER = ("HyperBatchNormalization", "tuner")

if TYPE_CHECKING:
    # The aliases say that these are to be had from here.
    from keras_bn4 import tuner as tuner
    from keras_bn4.tuner import HyperBatchNormalization as HyperBatchNormalization
else:  # A type checker would take any name for one that is made when it is asked for.

    def __getattr__(name):
        if name not in _FROM_TUNER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        tuner = importlib.import_module("keras_bn4.tuner")
        return tuner if name == "tuner" else getattr(tuner, name)


def __dir__():
    # What looks at every name, as `help` does, would fail at one that is not there.
    has_tuner = importlib.util.find_spec("keras_tuner") is not None
    return [*__all__, *(_FROM_TUNER if has_tuner else ())]

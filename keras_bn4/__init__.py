"""Four things to improve batch normalization, for Keras 3.

After Summers and Dinneen, "Four Things Everyone Should Know to Improve Batch
Normalization" (ICLR 2020). The rooms, in reading order, each importing only from rooms
above it:

- `backend`: who compiles, and who differentiates
- `statistics`: moments of examples, ghosts and channel groups
- `normalization`: from inputs and moments to outputs
- `fused`: the same by TensorFlow's fused kernel, where it serves
- `replicas`: statistics of a batch that `tf.distribute` has cut into parts
- `arguments`: what the arguments of the layers may be
- `layers`: the two Keras layers
- `convert`: any model to these layers, and back
- `tables`: as text and CSV
- `figures`: where every plot begins
- `paths`: which γ and β can act on the output
- `weight_decay`: of γ and β
- `advice`: what the paper's findings advise for a model
- `batches`: of arrays, data sets and iterables
- `recording`: what normalizers receive, batch by batch
- `recalibration`: moving statistics anew, from data
- `discrepancies`: what a comparison of training with inference found
- `discrepancy`: training against inference, layer by layer
- `evaluation`: losses and metrics, example by example
- `sweeps`: what a sweep of the example weight found
- `example_weight`: set and sweep the weight of an example's own statistics
- `callbacks`: the same during `fit`
- `search_space`: what a search may choose from
- `search_results`: what a search found
- `trials`: one trial of a search
- `example_weight_search`: Keras Tuner's way to the example weight
- `tuner`: search by Keras Tuner, `HyperBatchNormalization`
- `datasets`: data to try it on
- `files`: models and data that commands are given
- `experiments`: what the paper shows, run anew
"""

import importlib

from keras_bn4 import datasets
from keras_bn4.callbacks import ExampleWeightTuning
from keras_bn4.convert import convert, revert
from keras_bn4.discrepancy import discrepancy
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization
from keras_bn4.paths import normalization_paths
from keras_bn4.recalibration import recalibrate
from keras_bn4.weight_decay import CenteredL2, exclude_from_weight_decay

__all__ = [
    "BatchGroupNormalization",
    "CenteredL2",
    "ExampleWeightTuning",
    "GhostBatchNormalization",
    "convert",
    "datasets",
    "discrepancy",
    "exclude_from_weight_decay",
    "normalization_paths",
    "recalibrate",
    "revert",
    "set_example_weight",
    "sweep_example_weight",
]
__version__ = "0.1.0"


def __dir__():
    return [*globals(), "tuner", "HyperBatchNormalization"]


def __getattr__(name):
    # Keras Tuner takes seconds to import, and need not be installed.
    if name not in ("tuner", "HyperBatchNormalization"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        tuner = importlib.import_module("keras_bn4.tuner")
    except ImportError as error:
        raise ImportError(
            f"Keras Tuner is not installed in full: {error}. Install it with all it "
            'needs: pip install "keras_bn4[tune]".'
        ) from error
    return tuner if name == "tuner" else tuner.HyperBatchNormalization

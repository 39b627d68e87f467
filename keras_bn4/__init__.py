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
- `batches`: of arrays, data sets and iterables
- `evaluation`: losses and metrics, example by example
- `sweeps`: what a sweep of the example weight found
- `example_weight`: set and sweep the weight of an example's own statistics
- `callbacks`: the same during `fit`
- `datasets`: data to try it on
- `experiments`: what the paper shows, run anew
"""

from keras_bn4 import datasets
from keras_bn4.callbacks import ExampleWeightTuning
from keras_bn4.convert import convert, revert
from keras_bn4.example_weight import set_example_weight, sweep_example_weight
from keras_bn4.layers import BatchGroupNormalization, GhostBatchNormalization

__all__ = [
    "BatchGroupNormalization",
    "ExampleWeightTuning",
    "GhostBatchNormalization",
    "convert",
    "datasets",
    "revert",
    "set_example_weight",
    "sweep_example_weight",
]
__version__ = "0.1.0"

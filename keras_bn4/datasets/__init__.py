"""Data to try it on, the paper's six data sets among them (Sec. 4.1).

A data set by its name, a split of it by another: `load` gives arrays, and `stream` a
`tf.data.Dataset` where these would not fit into memory. `paper_splits` names the splits
of the paper, and `augmentation` makes the layers that change the training images.
`ImageFolder` reads a folder of images.

Read `array_files`, `digits`, `caltech256`, `builders`, `folders`, `loading`,
`streaming`, `paper`, `non_iid`.
"""

from keras_bn4.datasets.folders import ImageFolder
from keras_bn4.datasets.loading import load, split_names
from keras_bn4.datasets.non_iid import non_iid_batches
from keras_bn4.datasets.paper import augmentation, paper_splits
from keras_bn4.datasets.streaming import stream

__all__ = [
    "ImageFolder",
    "augmentation",
    "load",
    "non_iid_batches",
    "paper_splits",
    "split_names",
    "stream",
]

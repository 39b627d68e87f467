"""The layers (Sec. 3.1, 3.2, 3.4), and what they compute with.

Read `ghosts`, `moments`, `mixing` and `normalize` for the equations, and then the
`call` of `ghost_batch_normalization`.
"""

from keras_bn4.layers.batch_group_normalization import BatchGroupNormalization
from keras_bn4.layers.ghost_batch_normalization import GhostBatchNormalization

__all__ = ["BatchGroupNormalization", "GhostBatchNormalization"]

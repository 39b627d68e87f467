"""The layers (Sec. 3.1, 3.2, 3.4) and their computations.

For the equations see `ghosts`, `moments`, `pooling`, `mixing` and `normalize`, and then
the `call` of `ghost_batch_normalization`.

Read `arguments`, `backend`, `ghosts`, `moments`, `pooling`, `mixing`, `normalize`,
`kernels`, `inference`, `example_weight_variable`, `ghost_batch_normalization`,
`batch_group_normalization`.
"""

from keras_bn4.layers.batch_group_normalization import BatchGroupNormalization
from keras_bn4.layers.ghost_batch_normalization import GhostBatchNormalization

__all__ = ["BatchGroupNormalization", "GhostBatchNormalization"]

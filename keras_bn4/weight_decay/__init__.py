"""Weight decay of γ and β, and in which architectures it can act (Sec. 3.3).

Read `graph`, `paths`, `regularizer`, `optimizer`.
"""

from keras_bn4.weight_decay.optimizer import exclude_from_weight_decay
from keras_bn4.weight_decay.paths import normalization_paths
from keras_bn4.weight_decay.regularizer import CenteredL2

__all__ = ["CenteredL2", "exclude_from_weight_decay", "normalization_paths"]

"""Weight decay of γ and β, and the layers where it has an effect (Sec. 3.3).

An analysis of which γ and β can act on a model's output, a regularizer for γ, and a way
to exclude γ and β from an optimizer's own weight decay.

Read `graph`, `scaling`, `paths`, `regularizer`, `optimizer`.
"""

from keras_bn4.weight_decay.optimizer import exclude_from_weight_decay
from keras_bn4.weight_decay.paths import normalization_paths
from keras_bn4.weight_decay.regularizer import CenteredL2

__all__ = ["CenteredL2", "exclude_from_weight_decay", "normalization_paths"]

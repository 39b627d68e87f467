"""Search of how to normalize, with Keras Tuner.

Read `space`, `fit_arguments`, `trial`, `grid_search`, `hypermodel`, `search_plot`,
`search_results`, `completed_trials`.
"""

try:
    import keras_tuner as _  # noqa: F401 - only to say how to install it
except ImportError as error:
    raise ImportError(
        f"keras_bn4.tuner needs Keras Tuner, which cannot be imported: {error}. "
        'Install it and its dependencies: pip install "keras_bn4[tune]".'
    ) from error

from keras_bn4.tuner.completed_trials import best_model, results
from keras_bn4.tuner.hypermodel import HyperBatchNormalization
from keras_bn4.tuner.search_results import SearchResults

__all__ = [
    "HyperBatchNormalization",
    "SearchResults",
    "best_model",
    "results",
]

"""Search by Keras Tuner: kind of statistics, ghosts, groups, decay, example weight.

Read `space`, `fit_arguments`, `trial`, `grid_search`, `hypermodel`,
`example_weight_search`, `results`, `outcome`.
"""

try:
    import keras_tuner as _  # noqa: F401 - only to say what is missing
except ImportError as error:
    raise ImportError(
        f"Keras Tuner is not installed in full: {error}. Install it with all it needs: "
        'pip install "keras_bn4[tune]".'
    ) from error

from keras_bn4.tuner.example_weight_search import ExampleWeightSearch
from keras_bn4.tuner.hypermodel import HyperBatchNormalization
from keras_bn4.tuner.outcome import best_model, results
from keras_bn4.tuner.results import SearchResults

__all__ = [
    "ExampleWeightSearch",
    "HyperBatchNormalization",
    "SearchResults",
    "best_model",
    "results",
]

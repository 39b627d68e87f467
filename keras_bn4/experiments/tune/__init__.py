"""A search with Keras Tuner, and what it is worth on test data.

Read `task`, `repeats`, `search`.
"""

from keras_bn4.experiments.tune.repeats import table
from keras_bn4.experiments.tune.search import run

__all__ = ["run", "table"]

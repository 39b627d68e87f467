import gc

import keras
import numpy as np
import pytest

# So that their plain asserts show values, too.
pytest.register_assert_rewrite(
    "helpers", "tuner_helpers", "dataset_helpers", "figure_helpers", "sweep_helpers"
)


def pytest_collection_finish():
    """Leaves the millions of objects that imports make out of garbage collection.

    It looks through all of them every few seconds, and Keras Tuner in every trial.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="session")
def data_sets_that_end_at_once():
    """Switches off TensorFlow's tuning of how data sets are read.

    It runs in a thread that sleeps in between, each time twice as long. Where all cores
    are busy, the end of an iterator waits for it: a third of all tests' time.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    iterate = tf.data.Dataset.__iter__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tf.data.Dataset, "__iter__", lambda x: iterate(x.with_options(options))
        )
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def saved_figures(monkeypatch):
    """The figures that were saved so far."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig

    def save_and_keep(figure, *arguments, **keywords):
        save(figure, *arguments, **keywords)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", save_and_keep)
    return figures

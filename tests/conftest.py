import keras
import numpy as np
import pytest

# So that their plain asserts show values, too.
pytest.register_assert_rewrite(
    "helpers", "tuner_helpers", "dataset_helpers", "figure_helpers", "sweep_helpers"
)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


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

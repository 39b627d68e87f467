import pytest


@pytest.fixture
def data():
    """Pairs `(x, y)` to train on and to validate on, of two classes."""
    on_tuner = pytest.importorskip("processes.on_tuner")
    return on_tuner.data()

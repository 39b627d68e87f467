import pytest
from garbage import earlier_objects_are_not_collected  # noqa: F401 - for all tests here


@pytest.fixture
def data():
    """Pairs `(x, y)` to train on and to validate on, of two classes."""
    on_tuner = pytest.importorskip("processes.on_tuner")
    return on_tuner.data()

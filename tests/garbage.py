"""A fixture for tests that collect garbage often, as Keras Tuner does."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def earlier_objects_are_not_collected():
    """Leaves all objects that exist before a test file out of garbage collection.

    Keras Tuner collects garbage twice in every trial, and each time looks at the
    millions of objects that imports and earlier tests have left, which takes seconds.
    """
    gc.freeze()
    yield
    gc.unfreeze()

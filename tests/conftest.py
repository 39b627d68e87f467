import keras
import numpy as np
import pytest

# So that their plain asserts show values, too.
pytest.register_assert_rewrite("helpers", "tuner_helpers", "dataset_helpers")


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)

"""A grid search goes on where it was interrupted."""

import pytest
import tuner_helpers
from processes import on_tuner

pytestmark = tuner_helpers.quiet


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a grid search finds that nothing interrupts."""
    found = on_tuner.search(tmp_path_factory.mktemp("whole"), "GridSearch")
    assert len(found["rows"]) == on_tuner.MAX_TRIALS
    return found


@pytest.mark.slow
def test_an_interrupted_search_goes_on(whole, tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_tuner.search(tmp_path, "GridSearch", 2, end=interrupt)
    rest = on_tuner.search(tmp_path, "GridSearch")
    assert whole["trained"] == on_tuner.MAX_TRIALS
    assert rest == {**whole, "trained": on_tuner.MAX_TRIALS - 2}


@pytest.mark.slow
def test_a_killed_search_goes_on(whole, tmp_path):
    tuner_helpers.check_a_killed_search_goes_on("GridSearch", whole, tmp_path)

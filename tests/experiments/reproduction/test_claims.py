"""Claims: one worker has a piece of work, and one takes over what another left."""

import concurrent.futures
import os
import time

import pytest

from keras_bn4.experiments.reproduction import claims

WORKERS = 16


def left(folder, name, seconds_ago):
    """A claim whose worker is dead since a while."""
    path = folder / name
    path.write_text('{"host": "far", "process": 1}')
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def taken_at_once(folder):
    """The claims that many workers get who all want the same work."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda _: claims.take(folder, "work"), range(WORKERS))
        return [claim for claim in found if claim is not None]


def test_one_worker_gets_it_until_it_is_given_back(tmp_path):
    with claims.take(tmp_path, "work"):
        assert claims.take(tmp_path, "work") is None
        assert f"process {os.getpid()} on " in claims.holder(tmp_path, "work")
        with claims.take(tmp_path, "work.of another kind") as other:
            other.check()
    assert claims.holder(tmp_path, "work") is None
    assert not list(tmp_path.iterdir())
    claims.take(tmp_path, "work").give_back()


def test_it_is_given_back_when_an_error_ends_the_work(tmp_path):
    with pytest.raises(KeyboardInterrupt), claims.take(tmp_path, "work"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("age", [None, 500.0])
def test_of_many_workers_one_gets_it(age, tmp_path):
    if age is not None:
        left(tmp_path, "work.0", age)
        left(tmp_path, "work.1", age)
    for _ in range(20):
        (claim,) = taken_at_once(tmp_path)
        claim.give_back()


def test_a_claim_with_heartbeat_is_left_alone(tmp_path):
    with claims.take(tmp_path, "work", expires=0.4) as claim:
        time.sleep(1)
        assert claims.take(tmp_path, "work", expires=0.4) is None
        claim.check()
    left(tmp_path, "work.0", 60)
    assert claims.take(tmp_path, "work", expires=120) is None


def test_who_was_taken_over_learns_it(tmp_path):
    slow = claims.take(tmp_path, "work")
    left(tmp_path, "work.0", 500)
    fast = claims.take(tmp_path, "work")
    fast.check()
    with pytest.raises(claims.ClaimLost, match="taken over work"):
        slow.check()
    slow.give_back()
    fast.check()
    assert claims.take(tmp_path, "work") is None
    fast.give_back()
    assert not list(tmp_path.iterdir())
    with pytest.raises(claims.ClaimLost):
        fast.check()


def test_who_was_taken_over_does_not_get_the_claim_of_a_third(tmp_path):
    suspended = claims.take(tmp_path, "work")
    left(tmp_path, "work.0", 500)
    claims.take(tmp_path, "work").give_back()
    # Its number was given back, and is taken again.
    third = claims.take(tmp_path, "work")
    assert third.path == suspended.path
    with pytest.raises(claims.ClaimLost):
        suspended.check()
    suspended.give_back()
    third.check()
    third.give_back()
    assert not list(tmp_path.iterdir())

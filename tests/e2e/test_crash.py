"""What a client saw completed survives ``kill -9``. The full number of rounds: ``python -m tests.e2e.crash``."""

from tests.e2e.crash import crash


def test_nothing_that_was_seen_is_lost_and_nothing_is_stuck():
    ended, background = crash(rounds=2, seed=1, lease=1.0)
    assert ended >= 2
    assert set(background) <= {"completed", "failed"}

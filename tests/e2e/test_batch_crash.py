"""Batches survive ``kill -9``. The full number of kills and lines: ``python -m tests.e2e.batch_crash``."""

from tests.e2e.batch_crash import crash


def test_every_line_is_answered_exactly_once():
    total, answered, asked = crash(kills=3, count=120, seed=1, lease=1.0)
    assert total > answered
    # What was being asked at a kill is asked again; what was answered is not.
    assert asked <= answered + 3 * 4

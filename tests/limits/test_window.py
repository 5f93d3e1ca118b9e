from datetime import UTC, datetime

import pytest

from app.limits.window import Window, window


def unix(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        ("day", "2026-11-21T00:00:00", "2026-11-21", "2026-11-22"),
        ("day", "2026-12-31T23:59:59", "2026-12-31", "2027-01-01"),
        ("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-01T00:00:00", "2028-02-01", "2028-03-01"),
        ("month", "2027-02-28T12:00:00", "2027-02-01", "2027-03-01"),
        ("month", "2027-01-01T00:00:00", "2027-01-01", "2027-02-01"),
    ],
)
def test_windows_are_those_of_the_calendar(period, at, start, end):
    assert window(period, unix(at)) == Window(period, unix(start), unix(end))
    assert window(period, unix(at) + 0.999_9) == Window(period, unix(start), unix(end))


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_window_begins_where_the_one_before_ends(period):
    at = unix("2027-01-01")
    for _ in range(800):
        now = window(period, at)
        assert now.start == at
        assert window(period, now.end - 1) == now
        at = now.end

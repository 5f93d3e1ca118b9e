from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.keys import _SHORT
from app.cli.values import _MEANING, parse_duration, parse_expiry
from app.keys.fields import LIMITS

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000), ("2w", 1_209_600), ("0s", 0)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1 d", "1d2h", "1y", "\uff11d", "1" * 10 + "d"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="30d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("30d", datetime(2026, 12, 21, 12, tzinfo=UTC)),
        ("2027-01-01", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T00:00:00Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2027-01-01T00:00:00+02:00", datetime(2026, 12, 31, 22, tzinfo=UTC)),
        ("9999-12-31", datetime(9999, 12, 31, tzinfo=UTC)),
    ],
)
def test_when_a_key_expires(text, when):
    assert parse_expiry(text, NOW) == when.timestamp()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tomorrow", "2027-01-01"),
        ("2027-13-01", "2027-01-01"),
        ("2027-01-01T00:00:00", "offset"),
        ("2026-11-21", "future"),
        ("0d", "future"),
        ("999999999w", "year 10000"),
    ],
)
def test_what_is_no_expiry(text, said):
    with pytest.raises(ValueError, match=said):
        parse_expiry(text, NOW)


@given(st.text(max_size=30))
def test_any_text_is_a_time_to_come_or_refused_with_a_sentence(text):
    try:
        seconds = parse_expiry(text, NOW)
    except ValueError as refused:
        seconds, sentence = None, str(refused)
    assert sentence.startswith("must ") if seconds is None else seconds > NOW


def test_every_limit_is_told_of():
    assert set(_MEANING) == set(_SHORT) == set(LIMITS)

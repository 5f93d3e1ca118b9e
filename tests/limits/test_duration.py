import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.limits.duration import go_duration, roughly, whole_milliseconds

# What Go 1.x prints for time.Duration(n * 1000).String().
TABLE = {
    0: "0s",
    1: "1µs",
    999: "999µs",
    1_000: "1ms",
    1_100: "1.1ms",
    1_001: "1.001ms",
    120_000: "120ms",
    999_999: "999.999ms",
    1_000_000: "1s",
    1_000_001: "1.000001s",
    7_660_000: "7.66s",
    20_000_000: "20s",
    50_529_000: "50.529s",
    59_999_999: "59.999999s",
    60_000_000: "1m0s",
    60_500_000: "1m0.5s",
    179_560_000: "2m59.56s",
    360_000_000: "6m0s",
    3_599_999_999: "59m59.999999s",
    3_600_000_000: "1h0m0s",
    3_660_000_000: "1h1m0s",
    3_600_100_000: "1h0m0.1s",
    86_400_000_000: "24h0m0s",
    360_000_000_000: "100h0m0s",
}
UNITS = {"h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000, "µs": 1}


@pytest.mark.parametrize(("microseconds", "text"), TABLE.items())
def test_durations_are_written_as_go_writes_them(microseconds, text):
    assert go_duration(microseconds) == text


@given(st.one_of(st.integers(0, 10**7), st.integers(0, 2**50)))
def test_a_duration_reads_back_as_it_was(microseconds):
    text = go_duration(microseconds)
    parts = re.findall(r"(\d+)(?:\.(\d+))?(h|ms|µs|m|s)", text)
    assert "".join(f"{w}{'.' + f if f else ''}{u}" for w, f, u in parts) == text
    total = 0
    for whole, fraction, unit in parts:
        assert not fraction.endswith("0")
        total += int(whole) * UNITS[unit]
        total += int(fraction) * UNITS[unit] // 10 ** len(fraction) if fraction else 0
    assert total == microseconds


def test_milliseconds_are_rounded_up():
    assert [whole_milliseconds(value) for value in (0, 1, 1_000, 1_001)] == [0, 1_000, 1_000, 2_000]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "1 minute"),
        (0, "1 minute"),
        (60, "1 minute"),
        (60.5, "2 minutes"),
        (7_200, "120 minutes"),
        (7_201, "3 hours"),
        (48 * 3_600, "48 hours"),
        (48 * 3_600 + 1, "3 days"),
        (9 * 86_400, "9 days"),
        (9 * 86_400 + 1, "10 days"),
    ],
)
def test_long_waits_are_told_roughly_and_not_too_short(seconds, text):
    assert roughly(seconds) == text

"""Durations as OpenAI's headers and messages write them: those of Go's ``time.Duration.String()``."""

from __future__ import annotations

import math
from typing import Final

_MOST_MINUTES: Final = 120
_MOST_HOURS: Final = 48


def go_duration(microseconds: int) -> str:
    """Write a duration as Go does: ``120ms``, ``7.66s``, ``1m0s``, ``1h0m0s``.

    Below a second, the unit is the largest that leaves a whole part; from a second on, hours, minutes and seconds, with
    zero parts kept after the first. Fractions have no trailing zeros.

    Args:
        microseconds: Not negative.
    """
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{_decimal(microseconds, 1_000, 3)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    seconds = f"{_decimal(rest, 1_000_000, 6)}s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def whole_milliseconds(microseconds: int) -> int:
    """The duration, rounded up to milliseconds, still in microseconds."""
    return -(-microseconds // 1_000) * 1_000


def roughly(seconds: float) -> str:
    """A long wait in one unit, rounded up: ``9 days``, ``30 hours``, ``5 minutes``, ``1 minute``.

    Args:
        seconds: How long; less than none counts as none.
    """
    minutes = max(math.ceil(seconds / 60), 1)
    if minutes <= _MOST_MINUTES:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    hours = math.ceil(minutes / 60)
    return f"{hours} hours" if hours <= _MOST_HOURS else f"{math.ceil(hours / 24)} days"


def _decimal(value: int, unit: int, digits: int) -> str:
    whole, fraction = divmod(value, unit)
    return f"{whole}.{fraction:0{digits}d}".rstrip("0") if fraction else str(whole)

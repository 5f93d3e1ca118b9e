"""Durations as OpenAI's headers and messages write them: those of Go's ``time.Duration.String()``."""

from __future__ import annotations


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


def _decimal(value: int, unit: int, digits: int) -> str:
    whole, fraction = divmod(value, unit)
    return f"{whole}.{fraction:0{digits}d}".rstrip("0") if fraction else str(whole)

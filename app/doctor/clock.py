"""The clock: budgets follow the calendar, keys expire, and waits are told as dates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from app.doctor.findings import Finding, Reading, failed, ok, skipped, warning

NOTICED: Final = 5.0
"""Seconds that clocks may differ: a reading may be late, and HTTP dates have whole seconds."""

TOO_MUCH: Final = 60.0
"""With more than this, days and windows are not those of Cloudflare and of the other replicas."""

_ADVICE: Final = "have the machine's time set by NTP (timedatectl set-ntp true); in a container that of its host"


def check_clock(readings: Iterable[Reading]) -> list[Finding]:
    """Compare our clock with others."""
    by = {reading.whose: reading.ours - reading.theirs for reading in readings}
    if not by:
        return [skipped("clock", "nobody told the time")]
    worst = max(by, key=lambda whose: abs(by[whose]))
    off = by[worst]
    if abs(off) <= NOTICED:
        return [ok("clock", f"agrees with {' and '.join(by)}")]
    found = f"{_span(abs(off))} {'ahead of' if off > 0 else 'behind'} {worst}"
    make = failed if abs(off) > TOO_MUCH else warning
    return [make("clock", found, _ADVICE)]


def _span(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"

"""The yardstick: a fixed piece of pure Python, timed beside every measurement.

CPU time drifts with the machine, its neighbours and its clock rate. Divided by what this loop takes in the same moment
it drifts far less, and compares between machines.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Final

REPEATS: Final = 15


def unit() -> int:
    """The work: what a proxy's Python does too, dictionaries, strings and calls. About a millisecond."""
    total = 0
    words: list[str] = []
    for number in range(1500):
        row = {"index": number, "text": f"piece {number}", "last": number % 7 == 0}
        total += _step(row)
        words.append(str(row["text"]).upper())
        if row["last"]:
            total += len(" ".join(words).split("9"))
            words.clear()
    return total


def _step(row: dict[str, object]) -> int:
    text = row.get("text")
    return len(text) if isinstance(text, str) and text.startswith("piece") else 0


def unit_seconds() -> float:
    """The CPU time of one unit, now."""
    times = []
    for _ in range(REPEATS):
        began = time.process_time_ns()
        unit()
        times.append(time.process_time_ns() - began)
    return median(times) / 1e9

"""What a soak comes to: its figures, and what of them is not as it has to be."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.soak.servers import Gauge
from tests.soak.traffic import Tally

WARM_UP: Final = 0.3
"""The part of the time at the beginning that says nothing about what grows."""

SLOPE_SECONDS: Final = 300.0
"""Less time than this does not tell growth from chance."""

PARTS: Final = (0.5, 0.99, 1)
"""The percentiles that are shown."""

TASKS_KEPT: Final = 10
"""Tasks that a proxy has begun when it is first needed, and keeps."""

MOST_SLOPE: Final = 10.0
"""MiB an hour."""


@dataclass(slots=True)
class Soak:
    """All that was seen.

    Attributes:
        minutes: How long there was traffic.
        seed: Of traffic and chaos.
        workers: How many requests were under way at a time.
        tally: What came of the requests.
        gauges: Of the proxy, from the start to the end.
        before: The proxy, before the traffic.
        after: The proxy, when all was done and its clients had left.
        lags: Of ``/healthz``, in seconds.
        loop_lags: How late the proxy's event loop was, in seconds, with how often.
        unanswered: How often ``/healthz`` did not answer.
        chaos: What the emulator's chaos did.
        left_open: Requests that the emulator was still serving at the end.
        status: The proxy's exit status.
        output: The proxy's standard output.
        errors: The proxy's standard error.
    """

    minutes: float
    seed: int
    workers: int
    tally: Tally
    gauges: list[Gauge] = field(default_factory=list)
    before: Gauge | None = None
    after: Gauge | None = None
    lags: list[float] = field(default_factory=list)
    loop_lags: Counter[float] = field(default_factory=Counter)
    unanswered: int = 0
    chaos: dict[str, Any] = field(default_factory=dict)
    left_open: int = 0
    status: int | None = None
    output: str = ""
    errors: str = ""

    def read_logs(self, output: Path, errors: Path) -> None:
        """Take in what the proxy wrote."""
        self.output, self.errors = output.read_text(), errors.read_text()


def slope(gauges: Sequence[Gauge]) -> float:
    """How fast the memory grows after the warm-up, in MiB an hour, by the line that fits best."""
    late = gauges[int(len(gauges) * WARM_UP) :]
    if len(late) < 3:
        return 0.0
    return statistics.linear_regression([one.seconds for one in late], [one.rss for one in late]).slope * 3600


def percentile(values: Sequence[float], part: float) -> float:
    """The value that so large a part of all does not pass."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def weighed(counted: Mapping[float, int], part: float) -> float:
    """The same of values that come with how often there were."""
    left = int(sum(counted.values()) * part)
    for value in sorted(counted):
        left -= counted[value]
        if left < 0:
            return value
    return max(counted, default=0.0)


def logged(output: str, errors: str) -> list[str]:
    """Errors in the proxy's log, and whatever on standard error is no line of its log."""
    found = []
    for line in errors.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            if not line.startswith("flarelay "):
                found.append(line[:300])
            continue
        if entry.get("level") in {"error", "critical"} or "exception" in entry:
            found.append(line[:600])
    found += [line[:600] for line in output.splitlines() if '"status":500' in line]
    return found


def problems(soak: Soak) -> list[str]:
    """What is not as it has to be, in sentences; none when all is well."""
    found = [f"{times} times: {what}" for what, times in soak.tally.wrong.most_common(20)]
    found += [f"in the log: {line}" for line in logged(soak.output, soak.errors)[:20]]
    if not soak.tally.complete:
        found.append("nothing was answered")
    if soak.status != 0:
        found.append(f"the proxy ended with status {soak.status}")
    if soak.unanswered:
        found.append(f"/healthz did not answer {soak.unanswered} times")
    if soak.left_open:
        found.append(f"{soak.left_open} requests were left open at the upstream")
    if soak.before is not None and soak.after is not None:
        # Connections to the upstream are kept for the next request: at most as many as were used at a time.
        kept = soak.after.sockets - soak.before.sockets
        if kept > 2 * soak.workers:
            found.append(f"{kept} sockets more than before")
        if soak.after.tasks > soak.before.tasks + TASKS_KEPT:
            found.append(f"{soak.after.tasks - soak.before.tasks} tasks more than before")
    if soak.minutes * 60 >= SLOPE_SECONDS and slope(soak.gauges) > MOST_SLOPE:
        found.append(f"the memory grows by {slope(soak.gauges):.1f} MiB an hour")
    return found


_SHOWN: Final = (("open files", "files"), ("of them sockets", "sockets"), ("threads", "threads"), ("tasks", "tasks"))


def _process_lines(soak: Soak) -> list[str]:
    if not soak.gauges or soak.before is None or soak.after is None:
        return []
    before, after, most = soak.before, soak.after, soak.gauges
    note = "" if soak.minutes * 60 >= SLOPE_SECONDS else " (too short to tell)"
    rss = [one.rss for one in most]
    figures = [
        f"{name} {getattr(before, key)}, {max(getattr(one, key) for one in most)}, {getattr(after, key)}"
        for name, key in (
            ("open files", "files"),
            ("of them sockets", "sockets"),
            ("threads", "threads"),
            ("tasks", "tasks"),
        )
    ]
    return [
        f"memory: {before.rss:.1f} MiB before, {max(rss):.1f} at most, {rss[-1]:.1f} at the end",
        f"memory after the warm-up: {slope(soak.gauges):+.1f} MiB an hour{note}",
        f"before, at most, after: {'; '.join(figures)}",
    ]


def write(soak: Soak) -> str:
    """What is printed at the end."""
    tally = soak.tally
    asked = sum(tally.asked.values())
    kinds = ", ".join(f"{name} {count:,}" for name, count in tally.asked.most_common())
    wrong = sum(tally.wrong.values())
    faults = soak.chaos.get("faults", {})
    struck = ", ".join(f"{name} {count}" for name, count in faults.items())
    rate = asked / max(soak.minutes * 60, 1e-9)
    lines = [
        f"{soak.minutes:g} minutes, seed {soak.seed}, {soak.workers} at a time",
        f"{asked:,} requests, {rate:.0f} a second",
        f"  {kinds}",
        f"complete and right: {tally.complete:,} answers with {tally.characters:,} characters",
        f"given up by the client: {tally.aborted:,}; lost, doubled or otherwise wrong: {wrong:,}",
        f"failures told: {sum(tally.failed.values()):,}",
        *(f"  {count:,} {what}" for what, count in tally.failed.most_common()),
        f"chaos: {sum(faults.values()):,} faults ({struck})",
        *_process_lines(soak),
    ]
    shown = ", ".join(f"p{part * 100:g} {weighed(soak.loop_lags, part) * 1000:.1f}" for part in PARTS)
    lines.append(f"the event loop's lag in ms: {shown}")
    shown = ", ".join(f"p{part * 100:g} {percentile(soak.lags, part) * 1000:.1f}" for part in PARTS)
    lines.append(f"/healthz in ms over {len(soak.lags):,} pings: {shown}; unanswered {soak.unanswered}")
    lines.append(f"left open at the upstream: {soak.left_open}; exit status {soak.status}")
    found = problems(soak)
    lines += ["all is well"] if not found else ["PROBLEMS", *(f"  {problem}" for problem in found)]
    return "\n".join(lines)

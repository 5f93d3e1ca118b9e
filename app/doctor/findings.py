"""What a check finds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

Verdict: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

Clock: TypeAlias = Callable[[], float]
"""Unix seconds."""


class Finding(Struct, frozen=True):
    """What one check found. Nothing in it is secret.

    Attributes:
        check: What was looked at, such as ``token``.
        verdict: ``failed`` when requests will fail because of it.
        found: How it is, in one sentence.
        advice: What to do about it; empty where nothing has to be done.
        seconds: How long it took.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "check": self.check,
            "verdict": self.verdict,
            "found": self.found,
            "advice": self.advice or None,
            "seconds": round(self.seconds, 3),
        }


class Reading(Struct, frozen=True):
    """What somebody else's clock showed.

    Attributes:
        whose: Whose clock it is, such as ``Cloudflare``.
        theirs: What it showed, in Unix seconds.
        ours: What ours showed then.
    """

    whose: str
    theirs: float
    ours: float


def ok(check: str, found: str, advice: str = "") -> Finding:
    """All is well."""
    return Finding(check, "ok", found, advice)


def warning(check: str, found: str, advice: str = "") -> Finding:
    """Requests are served, and something is not as it should be."""
    return Finding(check, "warning", found, advice)


def failed(check: str, found: str, advice: str = "") -> Finding:
    """Requests will fail."""
    return Finding(check, "failed", found, advice)


def skipped(check: str, found: str) -> Finding:
    """It does not apply, or cannot be told."""
    return Finding(check, "skipped", found)


async def within(check: str, seconds: float, work: Awaitable[Sequence[Finding]]) -> Sequence[Finding]:
    """Wait for a check's findings, for so long at most.

    Args:
        check: What to call it when it does not come to its end.
        seconds: How long to wait.
        work: The check.
    """
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            findings = await work
    except TimeoutError:
        return [replace(failed(check, f"nothing came of it within {seconds:g} seconds"), seconds=seconds)]
    took = time.perf_counter() - began
    return [replace(finding, seconds=finding.seconds or took) for finding in findings]

"""What a caller is told about its limits: headers on every answer, and the errors when one is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.core.caller import Caller
from app.core.errors import RateLimited
from app.limits.duration import go_duration, whole_milliseconds
from app.limits.gcra import SECOND, Decision, decide
from app.limits.spec import Dimension, Plan

SLOT_WAIT = SECOND
"""When to ask again for a place among the requests under way: nobody knows when one ends."""


class Standing(NamedTuple):
    """How a caller stands with its limits, before or after one request.

    Attributes:
        plan: What it may use.
        now: The time of the limits' clock, in microseconds.
        tats: When each bucket of the plan will be full again, in the plan's order.
        running: Requests under way.
    """

    plan: Plan
    now: int
    tats: Sequence[int]
    running: int


def headers(standing: Standing) -> dict[str, str]:
    """The ``x-ratelimit-*`` headers.

    There are three for requests and three for tokens. Where a quantity is limited per minute and per day, they tell of
    the limit that leaves less.
    """
    tightest: dict[str, Decision] = {}
    for row, tat in zip(standing.plan.dimensions, standing.tats, strict=True):
        state = decide(tat, standing.now, row.limit, row.period, 0)
        known = tightest.get(row.unit)
        if known is None or (state.remaining, -state.reset) < (known.remaining, -known.reset):
            tightest[row.unit] = state
    told: dict[str, str] = {}
    for unit, state in tightest.items():
        told[f"x-ratelimit-limit-{unit}"] = str(state.limit)
        told[f"x-ratelimit-remaining-{unit}"] = str(state.remaining)
        told[f"x-ratelimit-reset-{unit}"] = go_duration(whole_milliseconds(state.reset))
    return told


def refusal(standing: Standing, caller: Caller, model: str, tokens: int) -> RateLimited:
    """The error for a request that at least one limit refuses; it tells of the one with the longest wait.

    Args:
        standing: How the caller stands; nothing has been taken for the request.
        caller: Who asks.
        model: For what.
        tokens: What the request would have reserved.
    """
    told = headers(standing)
    refusing: tuple[Dimension, Decision, int] | None = None
    for row, tat in zip(standing.plan.dimensions, standing.tats, strict=True):
        state = decide(tat, standing.now, row.limit, row.period, tokens if row.unit == "tokens" else 1)
        if state.retry_after is None:
            return too_large(row, caller, model, tokens, told)
        if not state.admitted and (refusing is None or state.retry_after > refusing[2]):
            refusing = (row, state, state.retry_after)
    if refusing is None:
        limit = standing.plan.concurrency or 0
        return _limited(caller, model, "concurrent requests", (limit, standing.running, 1), SLOT_WAIT, "requests", told)
    row, state, wait = refusing
    return _limited(caller, model, row.label, (state.limit, state.used, state.requested), wait, row.unit, told)


def too_large(row: Dimension, caller: Caller, model: str, tokens: int, told: Mapping[str, str]) -> RateLimited:
    """The error for a request that alone is larger than a limit: waiting does not help, so no wait is told."""
    return RateLimited(
        f"Request too large for {model} in organization {caller.id} on {row.label}: "
        f"Limit {row.limit}, Requested {tokens}. Shorten the input or lower the token limit of the output.",
        type_=row.unit,
        should_retry=False,
        headers=told,
    )


def _limited(
    caller: Caller, model: str, label: str, figures: tuple[int, int, int], wait: int, unit: str, told: Mapping[str, str]
) -> RateLimited:
    limit, used, requested = figures
    wait = whole_milliseconds(wait)
    return RateLimited(
        f"Rate limit reached for {model} in organization {caller.id} on {label}: "
        f"Limit {limit}, Used {used}, Requested {requested}. Please try again in {go_duration(wait)}.",
        type_=unit,
        retry_after=wait / SECOND,
        headers=told,
    )

"""The arithmetic of every limit: the generic cell rate algorithm, on whole microseconds.

A limit of ``count`` per ``period`` is a bucket that is refilled all the time. What is known of it is one number: the
*theoretical arrival time* (``tat``), the moment at which it will be full again. Taking ``cost`` out of it moves that
moment by ``cost / count * period``; a request fits when the bucket would then be full again within one period.

Everything is an integer below 2**53, so that Lua, whose only numbers are doubles, computes the same to the microsecond.
Rounding is always against the caller: nothing is admitted early.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 60 * MINUTE

MAX_SPAN: Final = 1 << 50
"""The longest time that one charge can add (35 years)."""

MAX_TAT: Final = 1 << 52
"""The latest moment that is told apart (the year 2112)."""

_FINE: Final = 1_000


class Level(NamedTuple):
    """How full a bucket is.

    Attributes:
        tat: When it will be full again.
        since: Names the stretch of time since it was last full: what was taken before is not owed any more. It is
            the moment at which the stretch began, or a little later where two began in one microsecond.
    """

    tat: int
    since: int


FULL: Final = Level(0, 0)


class Decision(NamedTuple):
    """What a bucket says to a request; times are microseconds from now.

    Attributes:
        admitted: It fits.
        tat: When the bucket will be full again; unchanged when the request does not fit.
        limit: What the bucket holds when it is full.
        requested: What the request takes.
        used: What is out of the bucket, rounded up; more than ``limit`` when something cost more than was reserved.
        remaining: The largest cost that still fits.
        reset: Until the bucket is full.
        retry_after: Until the request would fit; 0 when it does, ``None`` when it never will.
    """

    admitted: bool
    tat: int
    limit: int
    requested: int
    used: int
    remaining: int
    reset: int
    retry_after: int | None


def stretched(count: int, period: int) -> int:
    """The period, made a multiple of the count where that costs less than a thousandth of it.

    With it the cost of one is a whole number of microseconds, so that exactly ``count`` of them fit into a full bucket
    (seven per minute would otherwise be six and a bit). The rate falls by less than 0.1 %, and never rises.
    """
    step = -(-period // count)
    return step * count if step >= _FINE else period


def span(cost: int, count: int, period: int) -> int:
    """The time in which the bucket regains what ``cost`` takes, rounded up."""
    taken = -(-cost * period // count)
    if taken > MAX_SPAN:
        return MAX_SPAN
    return taken


def decide(tat: int, now: int, count: int, period: int, cost: int) -> Decision:
    """Ask a bucket whether a request fits.

    Args:
        tat: When the bucket will be full again.
        now: The time.
        count: What it holds when full.
        period: The time in which an empty one is full again.
        cost: What the request takes.
    """
    taken = span(cost, count, period)
    wait = max(tat, now) + taken - now - period
    admitted = wait <= 0
    if admitted:
        tat = max(tat, now) + taken
    reset = max(tat - now, 0)
    used = -(-reset * count // period)
    return Decision(
        admitted,
        tat,
        count,
        cost,
        used,
        max(count - used, 0),
        reset,
        0 if admitted else wait if cost <= count else None,
    )


def charged(level: Level, now: int, taken: int) -> Level:
    """The bucket after a charge, whether it fits or not: what was used has to be paid."""
    tat, since = level
    if tat <= now:
        # Conditions cost less than ``min`` and ``max``, and this is done for every limit of every request.
        tat, since = now, now if since < now else since + 1
    tat += taken
    if tat > MAX_TAT:
        return Level(MAX_TAT, since)
    return Level(tat, since)


def refunded(level: Level, now: int, given: int, since: int) -> Level:
    """The bucket after something is put back.

    Args:
        level: The bucket.
        now: The time.
        given: What is put back, as time.
        since: The stretch in which it was taken. If the bucket has been full meanwhile, time has put it back already,
            and doing it again would make room that the limit does not have.
    """
    if level.since != since or level.tat <= now:
        return level
    return Level(max(level.tat - given, now), since)

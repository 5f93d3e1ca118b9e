"""Buckets: what limits are made of, whoever they are for. One contract for memory and for Redis.

A *plan* says what is counted for an *owner* (a caller, or the account and one of its models). A request takes its
charge out of all of the owner's buckets, or out of none, and puts back in the end what it did not use.

**Rates** are refilled all the time. **Budgets** are counters of what was spent in a calendar day or month (UTC), which
begin anew with each. A process tells the window by its own clock; where clocks disagree, a counter moves on with the
first that reaches the next window, and never back: the others' requests then count in the newer one.

A counter that is not there (in a new window, after a restart, or because Redis has lost it) first has to be *opened*
with what is known to be spent already; all that ask at the same time open it once. While a plan has no budget for a
period, nothing is counted for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from app.limits.spec import MICRO, Charge, Plan
from app.limits.standing import Standing
from app.limits.window import Period

__all__ = [
    "MICRO",
    "BucketStats",
    "Buckets",
    "Charge",
    "Hold",
    "Opening",
    "Period",
    "Refused",
    "nothing_spent",
]

Opening = Callable[[str, Period], Awaitable[int]]
"""Asked for what an owner has spent in the running day or month (UTC), in micro-neurons, where a counter is opened.

It goes by the same clock as the buckets' calendar, bounds its own time, and raises ``Overloaded`` when it does not
know.
"""


async def nothing_spent(owner: str, period: Period) -> int:
    """The opening of buckets that nobody keeps a ledger for."""
    del owner, period
    return 0


class Refused(Exception):
    """A bucket does not hold what was asked of it; nothing was taken.

    Attributes:
        standing: How the owner stands.
        charge: What was asked.
    """

    def __init__(self, standing: Standing, charge: Charge) -> None:
        super().__init__()
        self.standing = standing
        self.charge = charge


class BucketStats(NamedTuple):
    """What buckets have done since they were made.

    Attributes:
        admitted: Requests that have taken their charge.
        refused: Requests for which a bucket did not hold it.
        unavailable: Requests for which that could not be found out.
        degraded: Of those admitted and refused, how many this process has decided alone, because Redis was away.
        away: Redis was not reached when it was last tried.
        away_seconds: How long it was away, all outages together and the present one to this moment.
        outages: How often it went away.
    """

    admitted: int = 0
    refused: int = 0
    unavailable: int = 0
    degraded: int = 0
    away: bool = False
    away_seconds: float = 0.0
    outages: int = 0


class Hold(Protocol):
    """What one request has taken."""

    @property
    def standing(self) -> Standing:
        """How the owner stood when it was taken."""

    def settle(self, tokens: int, cost: int) -> None:
        """Say what was used; the rest is put back, and what is used beyond is charged. Never waits; once is enough.

        Args:
            tokens: Input and output together.
            cost: In micro-neurons. It belongs to the day and the month in which it was taken: once a budget has begun
                anew, nothing of it is changed.
        """


class Buckets(Protocol):
    """The buckets of all owners."""

    @property
    def stats(self) -> BucketStats:
        """What they have done so far."""

    async def take(self, owner: str, plan: Plan, charge: Charge) -> Hold:
        """Take one request's charge: all of it, or nothing. Who is cancelled meanwhile has taken nothing.

        Args:
            owner: Any text that names whose buckets they are.
            plan: What the owner may use; what it has used is kept when the plan changes.
            charge: What the request takes.

        Raises:
            Refused: It is not there.
            Overloaded: Whether it is there cannot be found out at the moment.
        """

    async def aclose(self) -> None:
        """Let go of what it needs."""

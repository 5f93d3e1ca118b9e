"""Buckets kept in this process: exact as long as it is the only one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from app.core.errors import Overloaded
from app.limits.buckets import BucketStats, Charge, Hold, Opening, Period, Refused, nothing_spent
from app.limits.gcra import FULL, Level, charged, refunded
from app.limits.opening import SharedOpening
from app.limits.spec import MAX_SPENT, Plan
from app.limits.standing import Spent, Standing
from app.limits.window import window


def monotonic_microseconds() -> int:
    """The clock of limits that one process keeps for itself."""
    return time.monotonic_ns() // 1_000


class _Counter:
    """What was spent in one window of one budget.

    Attributes:
        window: When it began, in Unix seconds.
        cost: What was spent or is reserved, in micro-neurons.
    """

    __slots__ = ("cost", "window")

    def __init__(self, start: int, cost: int) -> None:
        self.window = start
        self.cost = cost


_NO_COUNTERS: Final[Sequence[_Counter]] = ()


class _Account:
    """What one owner has used.

    Attributes:
        levels: Its buckets, by the names of their dimensions.
        counters: Its budgets' counters.
        running: Its requests under way.
    """

    __slots__ = ("counters", "levels", "running")

    def __init__(self) -> None:
        self.levels: dict[str, Level] = {}
        self.counters: dict[Period, _Counter] = {}
        self.running = 0

    def idle(self, now: int, wall: float) -> bool:
        """Forgetting it changes nothing."""
        return (
            not self.running
            and all(level.tat <= now for level in self.levels.values())
            and all(window(period, counter.window).end <= wall for period, counter in self.counters.items())
        )


class MemoryBuckets:
    """Admits by what this process has seen.

    Args:
        clock: Microseconds that never go back.
        wall: The time of the calendar, in Unix seconds.
        opening: Knows what was spent before.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = monotonic_microseconds,
        wall: Callable[[], float] = time.time,
        opening: Opening = nothing_spent,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._opening = SharedOpening(opening)
        self._accounts: dict[str, _Account] = {}
        self._admitted = 0
        self._refused = 0
        self._unavailable = 0

    def __len__(self) -> int:
        """How many owners are remembered."""
        return len(self._accounts)

    @property
    def stats(self) -> BucketStats:
        """What they have done so far."""
        return BucketStats(self._admitted, self._refused, self._unavailable)

    async def take(self, owner: str, plan: Plan, charge: Charge) -> Hold:
        """Take one request's charge; see ``app.limits.buckets.Buckets``."""
        wall, counters = 0.0, _NO_COUNTERS
        if plan.budgets:
            wall = self._wall()
            counters = await self._opened(owner, plan, wall)
        # From here on nothing is waited for, so nobody comes between.
        account = self._accounts.get(owner) or self._new(owner)
        levels = account.levels
        now = self._clock()
        fits = plan.concurrency is None or account.running < plan.concurrency
        taken: list[Level] = []
        for row in plan.dimensions:
            level = levels.get(row.name, FULL)
            span = row.span(charge.tokens) if row.unit == "tokens" else row.one
            if max(level.tat, now) + span - now > row.period:
                fits = False
                break
            taken.append(charged(level, now, span))
        if counters:
            least = charge.least
            for budget, counter in zip(plan.budgets, counters, strict=True):
                if counter.cost + least > budget.limit:
                    fits = False
        if not fits:
            self._refused += 1
            tats = [levels.get(row.name, FULL).tat for row in plan.dimensions]
            raise Refused(Standing(plan, now, tats, account.running, wall, _spent(counters)), charge)
        for row, level in zip(plan.dimensions, taken, strict=True):
            levels[row.name] = level
        if plan.holds:
            account.running += 1
        self._admitted += 1
        if not counters:
            return _MemoryHold(self._clock, account, plan, charge, now, taken)
        hold = _HoldWithBudgets(self._clock, account, plan, charge, now, taken)
        hold.reserve(wall, counters)
        return hold

    async def aclose(self) -> None:
        """Nothing is open."""

    def forget_spent(self) -> None:
        """Forget what was spent of budgets, so that it is asked for again."""
        for account in self._accounts.values():
            account.counters.clear()

    async def _opened(self, owner: str, plan: Plan, wall: float) -> list[_Counter]:
        """The counters of the plan's budgets; those that are not there, or are of an older window, are opened."""
        known: dict[Period, _Counter] = {}
        while True:
            # While it was waited for, others have opened counters, or have forgotten an account that had none.
            account = self._accounts.get(owner) or self._new(owner)
            counters: list[_Counter] = []
            for budget in plan.budgets:
                start = window(budget.period, wall).start
                counter = account.counters.get(budget.period)
                if counter is None or counter.window < start:
                    counter = known.get(budget.period)
                    if counter is None:
                        break
                    account.counters[budget.period] = counter
                counters.append(counter)
            else:
                return counters
            try:
                known[budget.period] = _Counter(start, await self._opening(owner, budget.period))
            except Overloaded:
                self._unavailable += 1
                raise

    def _new(self, owner: str) -> _Account:
        """A new account. For each, two old ones are looked at, so that those of idle owners do not pile up."""
        accounts = self._accounts
        now, wall = self._clock(), self._wall()
        for _ in range(min(2, len(accounts))):
            oldest = next(iter(accounts))
            account = accounts.pop(oldest)
            if not account.idle(now, wall):
                accounts[oldest] = account
        account = accounts[owner] = _Account()
        return account


class _MemoryHold:
    __slots__ = ("_account", "_charge", "_clock", "_levels", "_now", "_plan", "_running", "_settled")

    def __init__(
        self, clock: Callable[[], int], account: _Account, plan: Plan, charge: Charge, now: int, levels: list[Level]
    ) -> None:
        self._clock = clock
        self._account = account
        self._plan = plan
        self._charge = charge
        self._now = now
        self._levels = levels
        self._running = account.running
        self._settled = not plan.holds

    @property
    def standing(self) -> Standing:
        return Standing(self._plan, self._now, [level.tat for level in self._levels], self._running)

    def settle(self, tokens: int, cost: int) -> None:
        del cost
        if self._settled:
            return
        self._settled = True
        self._account.running -= 1
        reserved = self._charge.tokens
        if tokens == reserved:
            return
        now = self._clock()
        levels = self._account.levels
        for row, taken in zip(self._plan.dimensions, self._levels, strict=True):
            if row.unit == "tokens":
                more = row.span(tokens) - row.span(reserved)
                level = levels[row.name]
                levels[row.name] = charged(level, now, more) if more > 0 else refunded(level, now, -more, taken.since)


class _HoldWithBudgets(_MemoryHold):
    __slots__ = ("_costs", "_counters", "_spent", "_wall")

    def reserve(self, wall: float, counters: Sequence[_Counter]) -> None:
        """Take the cost out of budgets, each of which holds enough of it."""
        most = self._charge.most
        self._wall = wall
        self._counters = counters
        self._costs = [
            min(most, budget.limit - counter.cost) for budget, counter in zip(self._plan.budgets, counters, strict=True)
        ]
        for counter, cost in zip(counters, self._costs, strict=True):
            counter.cost += cost
        self._spent = _spent(counters)

    @property
    def standing(self) -> Standing:
        return super().standing._replace(wall=self._wall, spent=self._spent)

    def settle(self, tokens: int, cost: int) -> None:
        if self._settled:
            return
        super().settle(tokens, cost)
        for budget, counter, taken in zip(self._plan.budgets, self._counters, self._costs, strict=True):
            current = self._account.counters.get(budget.period)
            if current is not None and current.window == counter.window:
                # A counter that was opened since knows nothing of what was reserved.
                back = taken if current is counter else 0
                current.cost = min(max(current.cost + cost - back, 0), MAX_SPENT)


def _spent(counters: Sequence[_Counter]) -> Sequence[Spent]:
    return [Spent(counter.window, counter.cost) for counter in counters]

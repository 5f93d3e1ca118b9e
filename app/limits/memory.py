"""Limits kept in this process: exact as long as it is the only one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from app.core.caller import Caller
from app.core.usage import Usage
from app.limits.admission import UNLIMITED, Estimate, Reservation
from app.limits.gcra import FULL, Level, charged, refunded
from app.limits.spec import DEFAULT_RESERVATION, LimitSpec, Plan, Plans
from app.limits.standing import Standing, headers, refusal


def monotonic_microseconds() -> int:
    """The clock of limits that one process keeps for itself."""
    return time.monotonic_ns() // 1_000


class _Account:
    """What one caller has used.

    Attributes:
        levels: Its buckets, by the names of their dimensions.
        running: Its requests under way.
    """

    __slots__ = ("levels", "running")

    def __init__(self) -> None:
        self.levels: dict[str, Level] = {}
        self.running = 0

    def idle(self, now: int) -> bool:
        """Forgetting it changes nothing."""
        return not self.running and all(level.tat <= now for level in self.levels.values())


class MemoryLimits:
    """Admits by what this process has seen.

    Args:
        lookup: What a caller may use.
        clock: Microseconds that never go back.
        default_reservation: Output tokens reserved for a request that states no limit.
    """

    def __init__(
        self,
        lookup: Callable[[Caller], LimitSpec],
        *,
        clock: Callable[[], int] = monotonic_microseconds,
        default_reservation: int = DEFAULT_RESERVATION,
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._default = default_reservation
        self._plans = Plans()
        self._accounts: dict[str, _Account] = {}

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._accounts)

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve one request, its tokens and a place among those under way: all of them, or nothing.

        Raises:
            RateLimited: A limit refuses it.
        """
        plan = self._plans(self._lookup(caller))
        if not plan.dimensions and plan.concurrency is None:
            return UNLIMITED
        now = self._clock()
        account = self._accounts.get(caller.id) or self._opened(caller.id, now)
        levels = account.levels
        tokens = plan.reserve(estimate, self._default)
        fits = plan.concurrency is None or account.running < plan.concurrency
        taken: list[Level] = []
        for row in plan.dimensions:
            level = levels.get(row.name, FULL)
            span = row.span(tokens) if row.unit == "tokens" else row.one
            if max(level.tat, now) + span - now > row.period:
                fits = False
                break
            taken.append(charged(level, now, span))
        if not fits:
            tats = [levels.get(row.name, FULL).tat for row in plan.dimensions]
            raise refusal(Standing(plan, now, tats, account.running), caller, model, tokens)
        for row, level in zip(plan.dimensions, taken, strict=True):
            levels[row.name] = level
        if plan.holds:
            account.running += 1
        return _MemoryReservation(self._clock, account, plan, now, taken, tokens)

    def _opened(self, caller_id: str, now: int) -> _Account:
        """A new account. For each, two old ones are looked at, so that those of idle callers do not pile up."""
        accounts = self._accounts
        for _ in range(min(2, len(accounts))):
            oldest = next(iter(accounts))
            account = accounts.pop(oldest)
            if not account.idle(now):
                accounts[oldest] = account
        account = accounts[caller_id] = _Account()
        return account


class _MemoryReservation:
    __slots__ = ("_account", "_clock", "_levels", "_now", "_plan", "_running", "_settled", "_tokens")

    def __init__(
        self, clock: Callable[[], int], account: _Account, plan: Plan, now: int, levels: list[Level], tokens: int
    ) -> None:
        self._clock = clock
        self._account = account
        self._plan = plan
        self._now = now
        self._levels = levels
        self._tokens = tokens
        self._running = account.running
        self._settled = not plan.holds

    @property
    def headers(self) -> Mapping[str, str]:
        return headers(Standing(self._plan, self._now, [level.tat for level in self._levels], self._running))

    async def settle(self, usage: Usage | None) -> None:
        if self._settled:
            return
        self._settled = True
        self._account.running -= 1
        now = self._clock()
        levels = self._account.levels
        used = usage.total_tokens if usage is not None else 0
        for row, taken in zip(self._plan.dimensions, self._levels, strict=True):
            if row.unit != "tokens" or used == self._tokens:
                continue
            more = row.span(used) - row.span(self._tokens)
            level = levels[row.name]
            levels[row.name] = charged(level, now, more) if more > 0 else refunded(level, now, -more, taken.since)

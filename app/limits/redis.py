"""Buckets that several processes share through Redis."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

from app.core.errors import Overloaded
from app.limits.buckets import BucketStats, Charge, Hold, Opening, Period, Refused, nothing_spent
from app.limits.channel import Argument, Away, Channel, Reply, Script, answer_within
from app.limits.lua import ADMIT, RENEW, SETTLE
from app.limits.memory import MemoryBuckets
from app.limits.opening import SharedOpening
from app.limits.spec import Plan
from app.limits.standing import Spent, Standing
from app.limits.window import Window, window

_RETRY_AFTER: Final = 1.0
_RENEWALS_PER_LEASE: Final = 3
_RENEWED_TOGETHER: Final = 500
_MOST_OPENINGS: Final = 3
_KEPT_BEYOND: Final = 3_600
"""How much longer than its window a counter is kept, in seconds: others' clocks may be behind."""

_NOT_ADMITTED, _ADMITTED = 0, 1

WhenAway = Literal["refuse", "degrade"]


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisBuckets:
    """Admits by what all processes have seen. Make it inside a running event loop; close it with ``aclose``.

    What a process that died had taken out of buckets and budgets stays taken, because nobody knows what it has used;
    only its places among the requests under way come back, after the lease. So it is with an admission whose answer
    was lost on the way.

    Args:
        url: Where Redis is.
        prefix: Begins the names of all keys.
        when_away: ``refuse`` answers 503 while Redis cannot be reached; ``degrade`` limits by what this process alone
            has seen, so that several processes together may let through as many times the limit. Of budgets it then
            knows what the opening said when the outage began, and what it has admitted itself since; Redis is told
            afterwards.
        timeout: The longest time that an admission waits for Redis, in seconds; each time, where budgets are opened.
        lease: After which time the place of a request is free again when its process has died, in seconds.
        clock: Microseconds; ``None`` for Redis's own clock, which all processes share.
        wall: The time of the calendar, in Unix seconds.
        opening: Knows what was spent before.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "flarelay:limits",
        when_away: WhenAway = "refuse",
        timeout: float = 0.25,
        lease: float = 30.0,
        clock: Callable[[], int] | None = None,
        wall: Callable[[], float] = time.time,
        opening: Opening = nothing_spent,
    ) -> None:
        self._prefix = prefix
        self._timeout = timeout
        self._lease = round(lease * 1_000_000)
        self._clock = clock
        self._wall = wall
        self._opening = SharedOpening(opening)
        self._alone = MemoryBuckets(wall=wall, opening=opening) if when_away == "degrade" else None
        self._admit, self._settle, self._renew = map(_script, (ADMIT, SETTLE, RENEW))
        # Half of the time for the batch under way, half for the one that a request then goes with.
        self._channel = Channel(
            url, (self._admit, self._settle, self._renew), timeout=timeout / 2, on_connect=self._on_connect
        )
        self._held: dict[str, set[str]] = {}
        self._process = secrets.token_hex(8)
        self._made = 0
        self._timer: asyncio.TimerHandle | None = None
        self._admitted = 0
        self._refused = 0
        self._unavailable = 0
        self._degraded = 0

    @property
    def away(self) -> bool:
        """Redis was not reached when it was last tried."""
        return self._channel.away

    @property
    def stats(self) -> BucketStats:
        """What they have done so far."""
        channel = self._channel
        return BucketStats(
            self._admitted,
            self._refused,
            self._unavailable,
            self._degraded,
            channel.away,
            channel.away_seconds,
            channel.outages,
        )

    async def take(self, owner: str, plan: Plan, charge: Charge) -> Hold:
        """Take one request's charge in one round trip, or two where a budget is opened.

        See ``app.limits.buckets.Buckets``.
        """
        try:
            hold = await self._take(owner, plan, charge)
        except Refused:
            self._refused += 1
            raise
        except Overloaded:
            self._unavailable += 1
            raise
        self._admitted += 1
        return hold

    async def aclose(self) -> None:
        """Tell Redis what waits to be told, and let go of it."""
        if self._timer is not None:
            self._timer.cancel()
        await self._channel.aclose()

    def give_back(self, hold: _RedisHold, changes: Sequence[Argument]) -> None:
        """Settle, without waiting for it: what is asked later is answered later."""
        held = self._held.get(hold.owner)
        if held is not None:
            held.discard(hold.id)
            if not held:
                del self._held[hold.owner]
        # Sent a second time it must not count twice: the lease, which it ends, tells.
        first, again = (self._command(self._settle, hold.keys, hold.id, only_held, *changes) for only_held in (0, 1))
        self._channel.post(first, again)

    def tell_spent(self, owner: str, spent: Sequence[tuple[Period, int]], cost: int) -> None:
        """Add what was spent while Redis was not asked to those windows' counters that it still has.

        Counters that it lost are opened with it. Where another process has done so already, it may count twice: the
        budget then errs to the side of less.
        """
        words: list[Argument] = [len(spent)]
        for period, start in spent:
            words += (period, start, "", 0, cost)
        self._channel.post(self._command(self._settle, self._keys(owner), "", 0, *words), None)

    async def _take(self, owner: str, plan: Plan, charge: Charge) -> Hold:
        hold = _RedisHold(self, owner, self._keys(owner), self._new_id() if plan.holds else "", plan, charge)
        if plan.budgets:
            hold.wall = self._wall()
        known: dict[Period, int] = {}
        for _ in range(_MOST_OPENINGS):
            try:
                async with answer_within(self._timeout):
                    reply = await self._channel.call(self._admission(hold, known), partial(self._undo, hold))
            except (Away, TimeoutError):
                if self._alone is not None:
                    return await self._take_alone(self._alone, owner, plan, charge)
                break
            verdict = hold.answered(reply)
            if verdict == _ADMITTED:
                if hold.id:
                    self._hold(hold)
                return hold
            if verdict == _NOT_ADMITTED:
                raise Refused(hold.standing, charge)
            for period in hold.unopened():
                known[period] = await self._opening(owner, period)
        raise Overloaded(
            "This proxy cannot find out at the moment whether your request is within your limits.",
            retry_after=_RETRY_AFTER,
        )

    async def _take_alone(self, alone: MemoryBuckets, owner: str, plan: Plan, charge: Charge) -> Hold:
        try:
            hold = await alone.take(owner, plan, charge)
        except Refused:
            self._degraded += 1
            raise
        self._degraded += 1
        return _HoldAlone(self, owner, hold) if plan.budgets else hold

    def _admission(self, hold: _RedisHold, known: dict[Period, int]) -> tuple[Argument, ...]:
        plan, charge = hold.plan, hold.charge
        words: list[Argument] = [hold.id, self._lease, plan.concurrency or 0]
        if plan.budgets:
            words += (charge.most, charge.least, len(plan.budgets))
            for budget, (_, start, end) in zip(plan.budgets, hold.windows(), strict=True):
                keep = (end - int(hold.wall) + _KEPT_BEYOND) * 1_000
                words += (budget.period, start, budget.limit, known.get(budget.period, ""), keep)
        else:
            words += (0, 0, 0)
        for row in plan.dimensions:
            words += (row.name, row.period, row.span(charge.tokens) if row.unit == "tokens" else row.one)
        return self._command(self._admit, hold.keys, *words)

    def _keys(self, owner: str) -> tuple[bytes, bytes, bytes]:
        # The braces put all keys of an owner on one node of a cluster. Any text can be a name, also one that has lone
        # surrogates.
        key = f"{self._prefix}:{{{owner}}}".encode("utf-8", "surrogatepass")
        return key, key + b":running", key + b":spent"

    def _command(self, script: Script, keys: tuple[bytes, bytes, bytes], *words: Argument) -> tuple[Argument, ...]:
        now = "" if self._clock is None else self._clock()
        return ("EVALSHA", script.sha, len(keys), *keys, now, *words)

    def _undo(self, hold: _RedisHold, reply: Reply | None) -> None:
        """Give back what was taken for a request that did not wait for it."""
        if reply is not None:
            if hold.answered(reply) == _ADMITTED:
                self.give_back(hold, hold.changes(0, 0, requests=0))
        elif hold.id:
            # It may have been admitted. Its place is given back; how much else, nobody knows, so nothing is.
            command = self._command(self._settle, hold.keys, hold.id, 1, 0)
            self._channel.post(command, command)

    def _new_id(self) -> str:
        self._made += 1
        return f"{self._process}:{self._made}"

    def _hold(self, hold: _RedisHold) -> None:
        self._held.setdefault(hold.owner, set()).add(hold.id)
        if self._timer is None:
            self._wind()

    def _wind(self) -> None:
        seconds = self._lease / 1_000_000 / _RENEWALS_PER_LEASE
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._held:
            return
        if not self._channel.away:
            self._renew_all()
        self._wind()

    def _on_connect(self) -> None:
        if self._alone is not None:
            # What is known of budgets is old when Redis goes away the next time.
            self._alone.forget_spent()
        self._renew_all()

    def _renew_all(self) -> None:
        for owner, held in self._held.items():
            ids = list(held)
            for start in range(0, len(ids), _RENEWED_TOGETHER):
                some = ids[start : start + _RENEWED_TOGETHER]
                # Lost renewals are not repeated: the next ones say the same.
                self._channel.post(self._command(self._renew, self._keys(owner), self._lease, *some), None)


class _RedisHold:
    __slots__ = (
        "_buckets",
        "_counters",
        "_now",
        "_running",
        "_settled",
        "_sinces",
        "_tats",
        "charge",
        "id",
        "keys",
        "owner",
        "plan",
        "wall",
    )

    def __init__(
        self,
        buckets: RedisBuckets,
        owner: str,
        keys: tuple[bytes, bytes, bytes],
        id_: str,
        plan: Plan,
        charge: Charge,
    ) -> None:
        self._buckets = buckets
        self.owner = owner
        self.keys = keys
        self.id = id_
        self.plan = plan
        self.charge = charge
        self.wall = 0.0
        self._now = 0
        self._running = 0
        self._counters: Sequence[int] = ()
        self._tats: Sequence[int] = ()
        self._sinces: Sequence[int] = ()
        self._settled = not plan.holds

    def windows(self) -> list[Window]:
        """The windows of the plan's budgets, by this process's calendar."""
        return [window(budget.period, self.wall) for budget in self.plan.budgets]

    def answered(self, reply: Reply) -> int:
        """Take what Redis answered; see ``ADMIT``."""
        first = 3 + 4 * len(self.plan.budgets)
        verdict: int
        self._now, verdict, self._running = reply[:3]
        self._counters = reply[3:first]
        self._tats, self._sinces = reply[first::2], reply[first + 1 :: 2]
        return verdict

    def unopened(self) -> list[Period]:
        """The budgets that Redis does not know."""
        starts = self._counters[::4]
        return [budget.period for budget, start in zip(self.plan.budgets, starts, strict=True) if start < 0]

    @property
    def standing(self) -> Standing:
        spent = [Spent(*pair) for pair in zip(self._counters[::4], self._counters[1::4], strict=True)]
        return Standing(self.plan, self._now, self._tats, self._running, self.wall, spent)

    def changes(self, tokens: int, cost: int, requests: int = 1) -> list[Argument]:
        """What is different when so much was used; see ``SETTLE``."""
        plan, reserved, counters = self.plan, self.charge.tokens, self._counters
        words: list[Argument] = [len(plan.budgets)]
        for budget, at in zip(plan.budgets, range(0, len(counters), 4), strict=True):
            words += (budget.period, counters[at], counters[at + 2], counters[at + 3], cost)
        if tokens != reserved or not requests:
            for row, since in zip(plan.dimensions, self._sinces, strict=True):
                if row.unit == "tokens":
                    words += (row.name, row.span(tokens) - row.span(reserved), since)
                elif not requests:
                    words += (row.name, -row.one, since)
        return words

    def settle(self, tokens: int, cost: int) -> None:
        if not self._settled:
            self._settled = True
            self._buckets.give_back(self, self.changes(tokens, cost))


class _HoldAlone:
    """What was taken while Redis was away, which it is told when it is back."""

    __slots__ = ("_buckets", "_hold", "_owner", "_settled")

    def __init__(self, buckets: RedisBuckets, owner: str, hold: Hold) -> None:
        self._buckets = buckets
        self._owner = owner
        self._hold = hold
        self._settled = False

    @property
    def standing(self) -> Standing:
        return self._hold.standing

    def settle(self, tokens: int, cost: int) -> None:
        if self._settled:
            return
        self._settled = True
        self._hold.settle(tokens, cost)
        standing = self._hold.standing
        starts = [
            (budget.period, spent.window) for budget, spent in zip(standing.plan.budgets, standing.spent, strict=True)
        ]
        if cost:
            self._buckets.tell_spent(self._owner, starts, cost)

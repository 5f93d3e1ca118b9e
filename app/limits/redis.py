"""Limits that several processes share through Redis."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal

from app.core.caller import Caller
from app.core.errors import Overloaded
from app.core.usage import Usage
from app.limits.admission import UNLIMITED, Estimate, Reservation
from app.limits.channel import Argument, Away, Channel, Reply, Script
from app.limits.lua import ADMIT, RENEW, SETTLE
from app.limits.memory import MemoryLimits
from app.limits.spec import DEFAULT_RESERVATION, LimitSpec, Plan, Plans
from app.limits.standing import Standing, headers, refusal

_log = logging.getLogger(__name__)

_RETRY_AFTER: Final = 1.0
_RENEWALS_PER_LEASE: Final = 3
_RENEWED_TOGETHER: Final = 500

WhenAway = Literal["refuse", "degrade"]


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisLimits:
    """Admits by what all processes have seen. Make it inside a running event loop; close it with ``aclose``.

    Args:
        url: Where Redis is.
        lookup: What a caller may use.
        prefix: Begins the names of all keys.
        when_away: ``refuse`` answers 503 while Redis cannot be reached; ``degrade`` limits by what this process alone
            has seen, so that several processes together may let through as many times the limit.
        timeout: The longest time that an admission waits for Redis, in seconds.
        lease: After which time the place of a request is free again when its process has died, in seconds.
        default_reservation: Output tokens reserved for a request that states no limit.
        clock: Microseconds; ``None`` for Redis's own clock, which all processes share.
    """

    def __init__(
        self,
        url: str,
        lookup: Callable[[Caller], LimitSpec],
        *,
        prefix: str = "flarelay:limits",
        when_away: WhenAway = "refuse",
        timeout: float = 0.25,
        lease: float = 30.0,
        default_reservation: int = DEFAULT_RESERVATION,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._lookup = lookup
        self._prefix = prefix
        self._timeout = timeout
        self._lease = round(lease * 1_000_000)
        self._default = default_reservation
        self._clock = clock
        self._plans = Plans()
        self._alone = MemoryLimits(lookup, default_reservation=default_reservation) if when_away == "degrade" else None
        self._admit, self._settle, self._renew = map(_script, (ADMIT, SETTLE, RENEW))
        # Half of the time for the batch under way, half for the one that a request then goes with.
        self._channel = Channel(
            url, (self._admit, self._settle, self._renew), timeout=timeout / 2, on_connect=self._renew_all
        )
        self._held: dict[str, set[str]] = {}
        self._process = secrets.token_hex(8)
        self._made = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def away(self) -> bool:
        """Redis was not reached when it was last tried."""
        return self._channel.away

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve one request, its tokens and a place among those under way, in one round trip: all, or nothing.

        Raises:
            RateLimited: A limit refuses it.
            Overloaded: Redis is away, and then requests are to be refused.
        """
        plan = self._plans(self._lookup(caller))
        if not plan.dimensions and plan.concurrency is None:
            return UNLIMITED
        tokens = plan.reserve(estimate, self._default)
        reservation = _RedisReservation(self, caller.id, self._new_id() if plan.holds else "", plan, tokens)
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._channel.call(self._admission(reservation), partial(self._undo, reservation))
        except (Away, TimeoutError):
            if self._alone is not None:
                return await self._alone.admit(caller, model, estimate)
            raise Overloaded(
                "This proxy cannot find out at the moment whether your request is within your limits.",
                retry_after=_RETRY_AFTER,
            ) from None
        if not reservation.admitted(reply):
            raise refusal(reservation.standing, caller, model, tokens)
        if reservation.id:
            self._hold(reservation)
        return reservation

    async def aclose(self) -> None:
        """Tell Redis what waits to be told, and let go of it."""
        if self._timer is not None:
            self._timer.cancel()
        await self._channel.aclose()

    def give_back(self, reservation: _RedisReservation, used: int) -> None:
        """Settle, without waiting for it: what is asked later is answered later."""
        held = self._held.get(reservation.caller_id)
        if held is not None:
            held.discard(reservation.id)
            if not held:
                del self._held[reservation.caller_id]
        changes = reservation.changes(used)
        first, again = (
            self._command(self._settle, reservation.caller_id, reservation.id, only_if_held, *changes)
            # Sent a second time it must not count twice: the lease, which it ends, tells.
            for only_if_held in (0, 1)
        )
        self._channel.post(first, again)

    def _admission(self, reservation: _RedisReservation) -> tuple[Argument, ...]:
        plan = reservation.plan
        words: list[Argument] = [reservation.id, self._lease, plan.concurrency or 0]
        for row in plan.dimensions:
            words += (row.name, row.period, row.span(reservation.tokens) if row.unit == "tokens" else row.one)
        return self._command(self._admit, reservation.caller_id, *words)

    def _command(self, script: Script, caller_id: str, *words: Argument) -> tuple[Argument, ...]:
        # The braces put both keys of a caller on one node of a cluster.
        key = f"{self._prefix}:{{{caller_id}}}"
        return ("EVALSHA", script.sha, 2, key, f"{key}:running", "" if self._clock is None else self._clock(), *words)

    def _undo(self, reservation: _RedisReservation, reply: Reply | None) -> None:
        """Give back what was reserved for a request that did not wait for it."""
        if not reservation.id:
            return
        if reply is None:
            # It may have been admitted. Its place is given back; how much else, nobody knows, so nothing is.
            command = self._command(self._settle, reservation.caller_id, reservation.id, 1)
            self._channel.post(command, command)
        elif reservation.admitted(reply):
            self.give_back(reservation, 0)

    def _new_id(self) -> str:
        self._made += 1
        return f"{self._process}:{self._made}"

    def _hold(self, reservation: _RedisReservation) -> None:
        self._held.setdefault(reservation.caller_id, set()).add(reservation.id)
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

    def _renew_all(self) -> None:
        for caller_id, held in self._held.items():
            ids = list(held)
            for start in range(0, len(ids), _RENEWED_TOGETHER):
                some = ids[start : start + _RENEWED_TOGETHER]
                # Lost renewals are not repeated: the next ones say the same.
                self._channel.post(self._command(self._renew, caller_id, self._lease, *some), None)


class _RedisReservation:
    __slots__ = ("_limits", "_now", "_running", "_settled", "_sinces", "_tats", "caller_id", "id", "plan", "tokens")

    def __init__(self, limits: RedisLimits, caller_id: str, id_: str, plan: Plan, tokens: int) -> None:
        self._limits = limits
        self.caller_id = caller_id
        self.id = id_
        self.plan = plan
        self.tokens = tokens
        self._now = 0
        self._running = 0
        self._tats: list[int] = []
        self._sinces: list[int] = []
        self._settled = not plan.holds

    def admitted(self, reply: Reply) -> bool:
        """Take what Redis answered."""
        self._now, admitted, self._running = reply[:3]
        self._tats, self._sinces = reply[3::2], reply[4::2]
        return bool(admitted)

    @property
    def standing(self) -> Standing:
        """How the caller stood at the admission."""
        return Standing(self.plan, self._now, self._tats, self._running)

    @property
    def headers(self) -> Mapping[str, str]:
        return headers(self.standing)

    def changes(self, used: int) -> list[Argument]:
        """What a use of so many tokens changes: name, span to charge or give back, and when it was taken."""
        words: list[Argument] = []
        if used != self.tokens:
            for row, since in zip(self.plan.dimensions, self._sinces, strict=True):
                if row.unit == "tokens":
                    words += (row.name, row.span(used) - row.span(self.tokens), since)
        return words

    async def settle(self, usage: Usage | None) -> None:
        if self._settled:
            return
        self._settled = True
        self._limits.give_back(self, usage.total_tokens if usage is not None else 0)

"""Turns: at most so many in any minute, all of which may be taken at once. One contract for memory and for Redis.

What is kept is the exact log of the last minute. A bucket that is refilled would need less room, but either lets
through twice its size in the minute after a rest, or has to be so small that bursts wait which the limit allows.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, Literal, Protocol

from app.core.errors import Overloaded
from app.limits.channel import Argument, Away, Channel, Reply, Script, answer_within
from app.limits.gcra import MINUTE, SECOND
from app.limits.memory import monotonic_microseconds

WINDOW: Final = MINUTE + SECOND
"""How long a turn is away once it was taken, in microseconds: a minute and a margin.

The upstream counts requests when they arrive, which is later than their turns by a delay. A delay that is always the
same changes nothing. Two requests arrive closer together than their turns were when the *earlier* one is the slower: it
had to open a connection, or was one of hundreds that a process had to send at once, and the later one was not. So the
margin makes the window longer, by as much as delays may differ: 300 requests over new connections from one busy process
arrive over most of a second. It costs 1.6 % of what could be sent without a pause.
"""

MOST_TOLD: Final = 500
"""How many of the next turns are told at most."""

TAKEN: Final[Sequence[int]] = ()

_RETRY_AFTER: Final = 1.0
_KEPT_BEYOND: Final = 1_000

_TAKE: Final = """
-- KEYS: the list of the moments at which turns are free again, the soonest first
-- ARGV: now ('' for Redis's own clock, the only one that all processes share), window, limit, how many to tell, for how
--   many milliseconds the list is kept
-- Answers: a number, when the turn that was taken is free again; or a text, now and when each of the next is free
local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
else
  now = tonumber(ARGV[1])
end
local limit, free = tonumber(ARGV[3]), now + tonumber(ARGV[2])
local function at(index) return tonumber(redis.call('LINDEX', KEYS[1], index)) end
local function take() redis.call('RPUSH', KEYS[1], string.format('%.0f', free)) end
-- The clock was put back: nobody knows when these were taken, but it was not later than now.
local ahead = 0
while (at(-1) or 0) > free do
  redis.call('RPOP', KEYS[1])
  ahead = ahead + 1
end
for _ = 1, ahead do take() end
while (at(0) or free) <= now do redis.call('LPOP', KEYS[1]) end
local taken = redis.call('LLEN', KEYS[1])
if taken < limit then
  take()
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return free
end
local away = redis.call('LRANGE', KEYS[1], taken - limit, taken - limit + tonumber(ARGV[4]) - 1)
return string.format('%.0f ', now) .. table.concat(away, ' ')
"""


class Turns(Protocol):
    """The turns of all owners."""

    async def take(self, owner: str, limit: int) -> Sequence[int]:
        """Take a turn, if there is one. Who is cancelled meanwhile has taken none.

        Args:
            owner: Any text that names whose turns they are.
            limit: How many there are in a minute, at least 1.

        Returns:
            Nothing (``TAKEN``) when a turn was taken. Otherwise how long it is until the first, the second, the third
            next turn and so on is free, in microseconds: of each of the ``limit`` turns, but of ``MOST_TOLD`` at most.

        Raises:
            Overloaded: Whether there is one cannot be found out at the moment.
        """

    async def aclose(self) -> None:
        """Let go of what it needs."""


class MemoryTurns:
    """Gives turns by what this process has seen.

    Args:
        clock: Microseconds that never go back.
    """

    def __init__(self, clock: Callable[[], int] = monotonic_microseconds) -> None:
        self._clock = clock
        # For each owner when its turns are free again, the soonest first.
        self._logs: dict[str, deque[int]] = {}

    def __len__(self) -> int:
        """How many owners are remembered."""
        return len(self._logs)

    async def take(self, owner: str, limit: int) -> Sequence[int]:
        """Take a turn, if there is one; see ``Turns``."""
        now = self._clock()
        log = self._log(owner, now)
        if len(log) < limit:
            log.append(now + WINDOW)
            return TAKEN
        return _waits(log, limit, now)

    async def aclose(self) -> None:
        """Nothing is open."""

    def waits(self, owner: str, limit: int) -> Sequence[int]:
        """What ``take`` would answer; nothing is taken."""
        now = self._clock()
        log = self._log(owner, now)
        return TAKEN if len(log) < limit else _waits(log, limit, now)

    def note(self, owner: str) -> None:
        """Remember a turn that was taken elsewhere."""
        now = self._clock()
        self._log(owner, now).append(now + WINDOW)

    def _log(self, owner: str, now: int) -> deque[int]:
        """The turns of an owner that are away."""
        log = self._logs.get(owner)
        if log is None:
            return self._new(owner, now)
        while log and log[0] <= now:
            log.popleft()
        return log

    def _new(self, owner: str, now: int) -> deque[int]:
        """A new log. For each, two old ones are looked at, so that those of idle owners do not pile up."""
        logs = self._logs
        for _ in range(min(2, len(logs))):
            oldest = next(iter(logs))
            log = logs.pop(oldest)
            if log and log[-1] > now:
                logs[oldest] = log
        log = logs[owner] = deque()
        return log


def _waits(log: deque[int], limit: int, now: int) -> Sequence[int]:
    # Where the limit was lowered, more turns are away than there are now.
    beyond = len(log) - limit
    return [free - now for free in islice(log, beyond, beyond + MOST_TOLD)]


class RedisTurns:
    """Gives turns by what all processes have seen. The first turn decides to which event loop it belongs.

    Each process also remembers its own turns, so that no process alone ever takes more than the limit: not when Redis
    goes away, has lost its data, or had its clock put forward.

    Args:
        url: Where Redis is.
        prefix: Begins the names of all keys.
        when_away: ``refuse`` answers 503 while Redis cannot be reached; ``degrade`` goes by this process's own turns,
            so that several processes together may take as many times the limit.
        timeout: The longest time that a turn waits for Redis, in seconds.
        clock: Microseconds; ``None`` for Redis's own clock, which all processes share.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "flarelay:turns",
        when_away: Literal["refuse", "degrade"] = "refuse",
        timeout: float = 0.25,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._degrades = when_away == "degrade"
        self._timeout = timeout
        self._clock = clock
        self._own = MemoryTurns(clock or monotonic_microseconds)
        self._script = Script(_TAKE, hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest())
        self._channel: Channel | None = None

    @property
    def away(self) -> bool:
        """Redis was not reached when it was last tried."""
        return self._channel is not None and self._channel.away

    async def take(self, owner: str, limit: int) -> Sequence[int]:
        """Take a turn in one round trip, if there is one; see ``Turns``."""
        waits = self._own.waits(owner, limit)
        if waits:
            return waits
        channel = self._channel
        if channel is None:
            # Half of the time for the batch under way, half for the one that a turn then goes with.
            channel = self._channel = Channel(self._url, (self._script,), timeout=self._timeout / 2)
        # The braces put a cluster's keys of one owner together. Any text can be a name, also one with lone surrogates.
        key = f"{self._prefix}:{{{owner}}}".encode("utf-8", "surrogatepass")
        try:
            async with answer_within(self._timeout):
                reply = await channel.call(self._command(key, limit), partial(self._give_back, channel, key))
        except (Away, TimeoutError):
            if self._degrades:
                return await self._own.take(owner, limit)
            raise Overloaded(
                "This proxy cannot find out at the moment whether the upstream account has room for your request.",
                retry_after=_RETRY_AFTER,
            ) from None
        if isinstance(reply, int):
            self._own.note(owner)
            return TAKEN
        now, *free = map(int, reply.split())
        return [moment - now for moment in free]

    async def aclose(self) -> None:
        """Tell Redis what waits to be told, and let go of it."""
        if self._channel is not None:
            await self._channel.aclose()

    def _command(self, key: bytes, limit: int) -> tuple[Argument, ...]:
        now = "" if self._clock is None else self._clock()
        keep = WINDOW // 1_000 + _KEPT_BEYOND
        return ("EVALSHA", self._script.sha, 1, key, now, WINDOW, limit, MOST_TOLD, keep)

    @staticmethod
    def _give_back(channel: Channel, key: bytes, reply: Reply | None) -> None:
        """Give back a turn that was taken for somebody who did not wait for it. One of the same moment is as good."""
        if isinstance(reply, int):
            channel.post(("LREM", key, -1, reply), None)

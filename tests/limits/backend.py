"""Where the tests' Redis is, and the clock that they turn by hand."""

import asyncio
import atexit
import contextlib
import functools
import itertools
import os
import secrets
import socket
from urllib.parse import urlsplit

import pytest
import redis

from app.core.caller import Caller
from app.limits.callers import CallerLimits

REDIS_URL = os.environ.get("FLARELAY_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


@functools.cache
def redis_answers() -> bool:
    parts = urlsplit(REDIS_URL)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def need_redis() -> str:
    """The URL of a Redis that answers; without one the test is skipped, and fails where it must not be."""
    if not redis_answers():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Redis at {REDIS_URL}")
        pytest.skip(f"no Redis at {REDIS_URL}")
    return REDIS_URL


_ROOT = f"flarelay-test:{secrets.token_hex(8)}"
_numbers = itertools.count()


def new_prefix() -> str:
    """Nobody else's keys. They are deleted at the end: clocks turned by hand can make them live for years."""
    number = next(_numbers)
    if number == 0:
        atexit.register(_forget)
    return f"{_ROOT}:{number}"


def _forget() -> None:
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(REDIS_URL) as client:
        for key in client.scan_iter(match=f"{_ROOT}:*", count=1_000):
            client.delete(key)


def caller(name: str = "key-1") -> Caller:
    return Caller(name, name)


class Limiter(CallerLimits):
    """Limits that are the same for every caller, and that a test may change."""

    def __init__(self, buckets, spec, **options):
        super().__init__(buckets, **options)
        self.buckets = buckets
        self.spec = spec

    async def admit(self, caller, model, estimate):
        return await super().admit(Caller(caller.id, caller.name, self.spec), model, estimate)


class Ledger:
    """Knows what was spent before; each answer waits until it is let go."""

    def __init__(self, spent=0, *, failure=None):
        self.spent, self.failure, self.asked = spent, failure, []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, owner, period):
        self.asked.append((owner, period))
        spent, failure = self.spent, self.failure
        await self.gate.wait()
        if failure is not None:
            raise failure
        return spent[period] if isinstance(spent, dict) else spent


class HandClock:
    """Microseconds that pass only when the test says so."""

    def __init__(self, now: int = 1_760_000_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def wall(self) -> float:
        """The same time as the calendar has it."""
        return self.now / 1_000_000

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)


async def until(condition, within=5):
    """Wait for what will come about."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.002)

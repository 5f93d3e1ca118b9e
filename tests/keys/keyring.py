"""What the tests of keys share: a clock that is turned by hand, keys with their secrets, and a source in memory."""

import asyncio
import time
from dataclasses import dataclass, field

from app.core.key import ApiKey
from app.keys.secret import digest


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self):
        return self.now


@dataclass
class Changes:
    revision: int
    keys: tuple


@dataclass
class MemorySource:
    """As the store does it: every change has a number."""

    revision: int = 0
    kept: dict = field(default_factory=dict)
    error: Exception | None = None
    asked: list = field(default_factory=list)

    def put(self, key):
        self.revision += 1
        self.kept[key.id] = (self.revision, key)

    async def changes(self, since):
        self.asked.append(since)
        if self.error is not None:
            raise self.error
        after = 0 if since > self.revision else since
        await asyncio.sleep(0)
        return Changes(self.revision, tuple(key for number, key in self.kept.values() if number > after))


def key(name, secret=None, **fields):
    """A key whose id ends in a name; its secret is the name unless another is given."""
    return ApiKey(f"key-{name}", name, digest(secret or name), **fields)


async def eventually(condition, seconds=5.0):
    """Wait for what a job on this loop will bring about; returns how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - began

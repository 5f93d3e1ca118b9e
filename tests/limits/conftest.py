"""Limits of each kind for the tests that hold wherever the numbers are kept."""

import pytest

from app.core.limits import LimitSpec
from app.limits.buckets import nothing_spent
from app.limits.memory import MemoryBuckets
from app.limits.redis import RedisBuckets
from tests.limits.backend import HandClock, Limiter, need_redis, new_prefix
from tests.limits.relay import Relay

ALL = LimitSpec(requests_per_minute=100, tokens_per_minute=1_000, concurrency=5)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture(params=["memory", "redis"])
async def make_buckets(request, clock):
    """Makes buckets of each kind, all on one clock."""
    made = []

    def make(opening=nothing_spent):
        if request.param == "memory":
            return MemoryBuckets(clock=clock, wall=clock.wall, opening=opening)
        made.append(
            RedisBuckets(
                need_redis(), prefix=new_prefix(), clock=clock, wall=clock.wall, opening=opening, lease=10**7, timeout=5
            )
        )
        return made[-1]

    if request.param == "redis":
        need_redis()
    yield make
    for buckets in made:
        await buckets.aclose()


@pytest.fixture
def make_limits(make_buckets):
    """Makes limits that are the same for every caller."""

    def make(spec, opening=nothing_spent, **options):
        return Limiter(make_buckets(opening), spec, **options)

    return make


@pytest.fixture
async def make():
    """Makes limits on Redis, by default with a limit of each kind."""
    made = []

    def make(spec=ALL, url=None, **options):
        made.append(RedisBuckets(url or need_redis(), **{"prefix": new_prefix(), "timeout": 5, **options}))
        return Limiter(made[-1], spec)

    yield make
    for buckets in made:
        await buckets.aclose()


@pytest.fixture
async def relay():
    async with Relay(need_redis()) as relay:
        yield relay

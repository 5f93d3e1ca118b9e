"""Memory and Lua say the same, word for word, whatever happens in whatever order."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import RateLimited
from app.core.usage import Usage
from app.limits.admission import Estimate
from app.limits.memory import MemoryLimits
from app.limits.redis import RedisLimits
from app.limits.spec import LimitSpec
from tests.limits.backend import HandClock, caller, need_redis, new_prefix

SPECS = [
    LimitSpec(requests_per_minute=7, requests_per_day=20),
    LimitSpec(tokens_per_minute=1_000),
    LimitSpec(requests_per_minute=60, tokens_per_minute=999, tokens_per_day=3_333, concurrency=3),
    LimitSpec(tokens_per_minute=7_000_001, tokens_per_day=10**9),
    LimitSpec(concurrency=2),
    LimitSpec(requests_per_minute=1, tokens_per_minute=1),
]
tokens = st.one_of(st.integers(0, 3), st.integers(0, 1_200), st.integers(0, 10**7))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 1), tokens, tokens, st.booleans()),
        st.tuples(st.just("settle"), st.integers(0, 50), st.one_of(st.none(), tokens), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.one_of(st.integers(0, 2), st.integers(0, 9 * 10**7)), *[st.just(0)] * 3),
    ),
    max_size=40,
)


async def told(limits, who, estimate):
    try:
        reservation = await limits.admit(caller(who), "m", estimate)
    except RateLimited as error:
        return None, (error.body(), error.retry_after, error.should_retry, dict(error.headers))
    return reservation, dict(reservation.headers)


async def run(url, spec, steps):
    clock = HandClock()
    memory = MemoryLimits(lambda _: spec, clock=clock)
    redis = RedisLimits(url, lambda _: spec, prefix=new_prefix(), clock=clock, lease=10**6, timeout=5)
    open_ = []
    try:
        for number, (what, first, second, third, stated) in enumerate(steps):
            if what == "wait":
                clock.now += first
            elif what == "settle" and open_:
                for reservation in open_.pop(first % len(open_)):
                    await reservation.settle(None if second is None else Usage(second, 0))
            elif what == "admit":
                estimate = Estimate(second, third, stated)
                here, said_here = await told(memory, f"key-{first}", estimate)
                there, said_there = await told(redis, f"key-{first}", estimate)
                assert said_here == said_there, (number, steps)
                if here is not None:
                    open_.append((here, there))
        return len(open_)
    finally:
        await redis.aclose()


@settings(max_examples=60, deadline=None)
@given(spec=st.sampled_from(SPECS), steps=steps)
def test_memory_and_lua_agree(spec, steps):
    assert asyncio.run(run(need_redis(), spec, steps)) <= len(steps)

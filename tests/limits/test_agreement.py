"""Memory and Lua say the same, word for word, whatever happens in whatever order."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.cost import Cost, Rates
from app.core.errors import ApiError, Overloaded
from app.core.limits import LimitSpec
from app.core.usage import Usage
from app.limits.admission import Estimate
from app.limits.memory import MemoryBuckets
from app.limits.redis import RedisBuckets
from tests.limits.backend import HandClock, Ledger, Limiter, caller, need_redis, new_prefix

RATES = [
    LimitSpec(requests_per_minute=7, requests_per_day=20),
    LimitSpec(tokens_per_minute=1_000),
    LimitSpec(requests_per_minute=60, tokens_per_minute=999, tokens_per_day=3_333, concurrency=3),
    LimitSpec(tokens_per_minute=7_000_001, tokens_per_day=10**9),
    LimitSpec(concurrency=2),
    LimitSpec(requests_per_minute=1, tokens_per_minute=1),
]
BUDGETS = [
    LimitSpec(neurons_per_day=3),
    LimitSpec(usd_per_day=0.0001, neurons_per_month=20.5),
    LimitSpec(requests_per_day=20, tokens_per_minute=3_000, concurrency=4, neurons_per_day=5, usd_per_month=0.0002),
    LimitSpec(neurons_per_month=10**9, usd_per_day=49_000),
]
PRICES = Rates(0.001, 0.0037, 0.0)
DAY, HALF_MONTH = 86_400 * 10**6, 15 * 86_400 * 10**6
SKEWS = (0, -5 * 10**6, 3_600 * 10**6, 86_400 * 10**6)


def admits(counts, keys, skews=(0,)):
    return st.tuples(st.just("admit"), st.integers(1, keys), counts, counts, st.booleans(), st.sampled_from(skews))


def settles(counts, neurons):
    return st.tuples(st.just("settle"), st.integers(0, 50), st.one_of(st.none(), counts), neurons)


def waits(*lengths):
    return st.tuples(st.just("wait"), st.one_of(*lengths))


def changes(specs):
    return st.tuples(st.just("change"), st.sampled_from(specs))


any_count = st.one_of(st.integers(0, 3), st.integers(0, 1_200), st.integers(0, 10**7))
small_count = st.integers(0, 300)
small_cost = st.floats(0.1, 1)
any_cost = st.one_of(st.none(), small_cost, st.floats(0, 4), st.floats(0, 1e12))
moments = st.integers(0, 2)
minutes = st.integers(0, 9 * 10**7)
days = st.integers(DAY // 2, HALF_MONTH)
ledger = st.tuples(st.just("ledger"), st.one_of(st.none(), st.integers(0, 10**7), st.integers(0, 10**20)))
forget = st.tuples(st.just("forget"), st.just(1))
# Requests that fit, of one caller, whose processes' clocks disagree, and whose counters get lost.
of_budgets = st.one_of(
    admits(small_count, 1, SKEWS), settles(small_count, small_cost), waits(st.just(DAY)), forget, changes(BUDGETS)
)
of_rates = st.one_of(admits(any_count, 2), settles(any_count, any_cost), waits(moments, minutes))
of_all = st.one_of(
    admits(any_count, 2, SKEWS),
    settles(any_count, any_cost),
    waits(moments, minutes, days),
    changes(RATES + BUDGETS),
    ledger,
    forget,
)


async def told(limits, who, estimate):
    try:
        reservation = await limits.admit(caller(who), "m", estimate)
    except ApiError as error:
        return None, (type(error), error.body(), error.retry_after, error.should_retry, dict(error.headers))
    standing = reservation._hold.standing
    running = standing.running if standing.plan.concurrency else None
    return reservation, (
        dict(reservation.headers), standing.now, list(standing.tats), standing.wall, list(standing.spent), running,
    )  # fmt: skip


class Both:
    """A limiter of each kind, on one clock and with one ledger."""

    def __init__(self, url, spec):
        self.clock, self.skew, self.prefix, self.ledger = HandClock(), 0, new_prefix(), Ledger()
        options = {"clock": self.clock, "wall": self.wall, "opening": self.ledger}
        self.memory = MemoryBuckets(**options)
        self.redis = RedisBuckets(url, prefix=self.prefix, lease=10**8, timeout=5, **options)
        self.here, self.there = Limiter(self.memory, spec), Limiter(self.redis, spec)

    def wall(self):
        return (self.clock.now + self.skew) / 1e6

    async def forget(self, who):
        """What was spent is lost, as when Redis was started anew; a moment later at the soonest it is known again."""
        self.clock.now += 1
        if who in self.memory._accounts:
            self.memory._accounts[who].counters.clear()
        # Settlements on the way come first.
        await self.redis._channel.call(("DEL", f"{self.prefix}:{{{who}}}:spent"), lambda _: None)


async def run(url, spec, steps):
    both = Both(url, spec)
    open_ = []
    try:
        for number, (what, *more) in enumerate(steps):
            if what == "wait":
                both.clock.now += more[0]
            elif what == "forget":
                await both.forget(f"key-{more[0]}")
            elif what == "change":
                both.here.spec = both.there.spec = more[0]
            elif what == "ledger":
                both.ledger.spent, both.ledger.failure = more[0] or 0, Overloaded() if more[0] is None else None
            elif what == "settle" and open_:
                which, used, spent = more
                usage = None if used is None else Usage(used, 0)
                for reservation in open_.pop(which % len(open_)):
                    await reservation.settle(usage, None if spent is None else Cost(spent, "estimated"))
            elif what == "admit":
                who, prompt, output, stated, both.skew = more
                estimate = Estimate(prompt, output, stated, PRICES)
                here, said_here = await told(both.here, f"key-{who}", estimate)
                there, said_there = await told(both.there, f"key-{who}", estimate)
                assert said_here == said_there, (number, steps)
                if here is not None:
                    open_.append((here, there))
        assert both.memory.stats == both.redis.stats
        return len(open_)
    finally:
        await both.redis.aclose()


@settings(max_examples=150, deadline=None)
@given(spec=st.sampled_from(RATES), steps=st.lists(of_rates, max_size=40))
def test_memory_and_lua_agree_on_rates(spec, steps):
    assert asyncio.run(run(need_redis(), spec, steps)) <= len(steps)


@settings(max_examples=300, deadline=None)
@given(spec=st.sampled_from(BUDGETS), steps=st.lists(of_budgets, min_size=5, max_size=40))
def test_memory_and_lua_agree_on_budgets(spec, steps):
    assert asyncio.run(run(need_redis(), spec, steps)) <= len(steps)


@settings(max_examples=200, deadline=None)
@given(spec=st.sampled_from(RATES + BUDGETS), steps=st.lists(of_all, max_size=40))
def test_memory_and_lua_agree_on_everything(spec, steps):
    assert asyncio.run(run(need_redis(), spec, steps)) <= len(steps)

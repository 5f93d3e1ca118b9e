"""Budgets that several processes share: whose clocks disagree, and whose Redis can go away or forget."""

import asyncio

import pytest
import redis.asyncio

from app.core.cost import Cost, Rates
from app.core.errors import Overloaded, QuotaExhausted
from app.core.limits import LimitSpec
from app.core.usage import Usage
from app.limits.admission import Estimate
from app.limits.spec import MICRO
from tests.limits.backend import HandClock, Ledger, caller, need_redis, new_prefix, until

RATES = Rates(1.0, 1.0, 1.0)
DAY = 86_400
HUNDRED = LimitSpec(neurons_per_day=100)
TEN = Estimate(0, 10, rates=RATES)


def spent(reservation):
    """What is spent or reserved of each budget after an admission, in neurons."""
    return [row.cost / MICRO for row in reservation._hold.standing.spent]


async def know(limits):
    """What limits know to be spent of their first budget, in neurons."""
    reservation = await limits.admit(caller(), "m", Estimate(0, 0, rates=RATES))
    await reservation.settle(None)
    return round(spent(reservation)[0])


@pytest.fixture
async def client():
    async with redis.asyncio.Redis.from_url(need_redis()) as client:
        yield client


async def test_replicas_share_a_budget(make):
    prefix = new_prefix()
    replicas = [make(HUNDRED, prefix=prefix) for _ in range(3)]
    answers = await asyncio.gather(
        *(limits.admit(caller(), "m", TEN) for limits in replicas for _ in range(10)), return_exceptions=True
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 10
    assert {type(answer) for answer in answers if isinstance(answer, BaseException)} == {QuotaExhausted}


async def test_replicas_that_open_at_the_same_time_add_once(make):
    prefix = new_prefix()
    ledgers = [Ledger(40 * MICRO) for _ in range(3)]
    replicas = [make(HUNDRED, prefix=prefix, opening=ledger) for ledger in ledgers]
    for ledger in ledgers:
        ledger.gate.clear()
    asked = [asyncio.ensure_future(limits.admit(caller(), "m", TEN)) for limits in replicas]
    await until(lambda: all(ledger.asked for ledger in ledgers))
    # The first is let in and settles; what the others have read is old by then.
    ledgers[0].gate.set()
    await (await asked[0]).settle(Usage(1, 1), Cost(3, "reported"))
    ledgers[1].gate.set()
    assert spent(await asked[1]) == [53]
    ledgers[2].gate.set()
    assert spent(await asked[2]) == [63]


async def test_only_opening_takes_a_second_round_trip(make, relay):
    calls = []
    limits = make(HUNDRED, url=relay.url)
    ask = limits.buckets._channel.call
    limits.buckets._channel.call = lambda *words: (calls.append(words), ask(*words))[1]
    for number in (2, 3, 4):
        await limits.admit(caller(), "m", TEN)
        assert len(calls) == number


async def test_where_clocks_disagree_a_counter_only_moves_forward(make):
    prefix, clock = new_prefix(), HandClock()
    ahead = make(HUNDRED, prefix=prefix, clock=clock, wall=lambda: clock.wall() + DAY)
    behind = make(HUNDRED, prefix=prefix, clock=clock, wall=clock.wall)
    first = await behind.admit(caller(), "m", TEN)
    assert spent(await ahead.admit(caller(), "m", TEN)) == [10]
    # Its own day is over for all; what it asks for counts in the newer one, and what it had taken is not owed there.
    assert spent(await behind.admit(caller(), "m", TEN)) == [20]
    await first.settle(None)
    with pytest.raises(QuotaExhausted, match="2025-10-11T00:00:00Z"):
        await behind.admit(caller(), "m", Estimate(0, 81, rates=RATES))
    assert await know(ahead) == 20


async def test_counters_are_kept_to_the_end_of_their_windows(make, client):
    prefix, clock = new_prefix(), HandClock()
    key = f"{prefix}:{{key-1}}:spent"
    limits = make(HUNDRED, prefix=prefix, clock=clock, wall=clock.wall)
    await limits.admit(caller(), "m", TEN)
    day = await client.ttl(key)
    till_midnight = 15 * 3_600 + 6 * 60 + 40
    assert till_midnight <= day <= till_midnight + 2 * 3_600
    limits.spec = LimitSpec(neurons_per_day=100, neurons_per_month=500)
    await limits.admit(caller(), "m", TEN)
    month = await client.ttl(key)
    assert month >= till_midnight + 22 * DAY
    clock.advance(till_midnight)
    await (await limits.admit(caller(), "m", TEN)).settle(None)
    assert await client.ttl(key) >= month - 60


async def test_what_redis_forgot_is_asked_for_again_and_not_put_back(make, client):
    prefix, ledger = new_prefix(), Ledger(0)
    limits = make(HUNDRED, prefix=prefix, opening=ledger)
    held = [await limits.admit(caller(), "m", TEN) for _ in range(4)]
    await client.delete(f"{prefix}:{{key-1}}:spent")
    # Nothing to settle with yet; this one will be in the ledger.
    await held[0].settle(Usage(1, 1), Cost(7, "reported"))
    ledger.spent = 7 * MICRO
    assert await know(limits) == 7
    await held[1].settle(None)
    await held[2].settle(Usage(1, 1), Cost(5, "reported"))
    assert await know(limits) == 12


async def test_degraded_it_begins_with_the_ledger_at_every_outage_and_tells_redis_afterwards(make, relay):
    ledger = Ledger(10 * MICRO)
    limits = make(HUNDRED, url=relay.url, timeout=0.4, when_away="degrade", opening=ledger)
    assert await know(limits) == 10
    for outage, known in ((1, 30), (2, 60)):
        ledger.spent = known * MICRO
        relay.become("refuse")
        relay.cut()
        alone = await limits.admit(caller(), "m", TEN)
        assert spent(alone) == [known + 10]
        await alone.settle(Usage(1, 1), Cost(4, "reported"))
        relay.become("open")
        await until(lambda: not limits.buckets.away)
        assert await know(limits) == 10 + 4 * outage
        assert limits.buckets.stats.outages == outage
        assert limits.buckets.stats.degraded >= outage


async def test_outages_are_counted_and_timed(make, relay):
    limits = make(HUNDRED, url=relay.url, timeout=0.4)
    await limits.admit(caller(), "m", TEN)
    assert (limits.buckets.stats.away, limits.buckets.stats.away_seconds) == (False, 0.0)
    relay.become("refuse")
    relay.cut()
    with pytest.raises(Overloaded):
        await limits.admit(caller(), "m", TEN)
    with pytest.raises(Overloaded):
        await limits.admit(caller(), "m", TEN)
    during = limits.buckets.stats
    assert (during.admitted, during.unavailable, during.away, during.outages) == (1, 2, True, 1)
    relay.become("open")
    await until(lambda: not limits.buckets.away)
    after = limits.buckets.stats
    assert after.away_seconds > during.away_seconds > 0
    await limits.admit(caller(), "m", TEN)
    assert limits.buckets.stats.away_seconds == after.away_seconds


async def test_a_cancelled_admission_has_taken_nothing(make):
    clock = HandClock()
    limits = make(LimitSpec(requests_per_day=10**6, tokens_per_day=10**9, neurons_per_day=10**6), clock=clock)
    admitted = cancelled = 0
    for turns in range(60):
        task = asyncio.ensure_future(limits.admit(caller(), "m", TEN))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        admitted += not isinstance(end, BaseException)
        cancelled += isinstance(end, asyncio.CancelledError)
    assert cancelled
    # The answer to the last one may come with that to the next, and what it took goes back only then.
    await know(limits)
    last = await limits.admit(caller(), "m", TEN)
    assert spent(last) == [10 * (admitted + 1)]
    assert int(last.headers["x-ratelimit-remaining-requests"]) == 10**6 - admitted - 2

"""What only a limiter on Redis has: leases, one connection, and a server that can go away."""

import asyncio
import hashlib
import logging
import time

import pytest

from app.core.errors import Overloaded, RateLimited
from app.core.limits import LimitSpec
from app.core.usage import Usage
from app.limits.admission import UNLIMITED, Estimate
from app.limits.channel import Channel, Script
from tests.limits.backend import HandClock, caller, need_redis, new_prefix, until

ONE = Estimate(1, 1)
BIG = Estimate(100, 100)


async def room(limits):
    """How many requests of one token each fit beside those under way, and how many tokens are left."""
    reservation = await limits.admit(caller(), "m", ONE)
    headers = reservation.headers
    await reservation.settle(None)
    return int(headers["x-ratelimit-remaining-tokens"]) + 2


async def places(limits):
    taken = []
    with pytest.raises(RateLimited, match="concurrent"):
        while True:
            taken.append(await limits.admit(caller(), "m", ONE))
    for reservation in taken:
        await reservation.settle(None)
    return len(taken)


async def test_a_place_whose_process_died_is_free_after_the_lease(make):
    clock, prefix = HandClock(), new_prefix()
    spec = LimitSpec(concurrency=2)
    dead, alive = (make(spec, prefix=prefix, clock=clock, lease=30) for _ in range(2))
    for _ in range(2):
        await dead.admit(caller(), "m", ONE)
    clock.advance(29.999999)
    with pytest.raises(RateLimited):
        await alive.admit(caller(), "m", ONE)
    clock.advance(0.000001)
    assert await places(alive) == 2


async def test_places_are_renewed_while_requests_live(make):
    prefix = new_prefix()
    spec = LimitSpec(concurrency=2)
    one, other = make(spec, prefix=prefix, lease=0.15), make(spec, prefix=prefix)
    held = [await one.admit(caller(), "m", ONE) for _ in range(2)]
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.4
    while loop.time() < end:
        with pytest.raises(RateLimited):
            await other.admit(caller(), "m", ONE)
        await asyncio.sleep(0.01)
    for reservation in held:
        await reservation.settle(None)
    assert await places(one) == 2


async def test_replicas_share_every_limit(make):
    prefix = new_prefix()
    replicas = [make(prefix=prefix) for _ in range(3)]
    answers = await asyncio.gather(
        *(limits.admit(caller(), "m", ONE) for limits in replicas for _ in range(20)), return_exceptions=True
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 5


async def test_real_time_refills(make):
    limits = make(LimitSpec(requests_per_minute=6_000))
    before = [await limits.admit(caller(), "m", ONE) for _ in range(50)]
    assert 0 < 6_000 - int(before[-1].headers["x-ratelimit-remaining-requests"]) <= 50


async def test_one_round_trip_and_none_without_limits(make, relay):
    free = make(LimitSpec(), url=relay.url)
    assert await free.admit(caller(), "m", ONE) is UNLIMITED
    assert relay.connections == 0


async def test_a_request_that_is_given_up_gives_back(make, relay):
    limits = make(url=relay.url, timeout=2)
    assert await room(limits) == 1_000
    relay.become("mute")
    waiting = [asyncio.ensure_future(limits.admit(caller(), "m", BIG)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waiting, return_exceptions=True)
    )
    relay.become("open")
    assert await room(limits) == 1_000
    assert await places(limits) == 5


async def test_an_answer_that_comes_with_the_cancellation_is_given_back(make):
    limits = make()
    ends = []
    for turns in range(60):
        task = asyncio.ensure_future(limits.admit(caller(), "m", BIG))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        ends += await asyncio.gather(task, return_exceptions=True)
        if not isinstance(ends[-1], BaseException):
            await ends[-1].settle(None)
    assert any(isinstance(end, asyncio.CancelledError) for end in ends)
    # The answer to the last one may come with that to the next, and what it reserved goes back only then.
    await room(limits)
    assert await room(limits) == 1_000
    assert await places(limits) == 5


async def test_a_script_that_redis_forgot_is_loaded_again():
    scripts = [Script("return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db")]
    channel = Channel(need_redis(), scripts, timeout=1)
    assert await channel.call(("EVALSHA", scripts[0].sha, 0), lambda _: None) == 1
    text = f"return '{new_prefix()}'"
    scripts.append(Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()))
    answers = await asyncio.gather(
        *(channel.call(("EVALSHA", scripts[-1].sha, 0), lambda _: None) for _ in range(3)),
        channel.call(("EVALSHA", scripts[0].sha, 0), lambda _: None),
    )
    assert answers == [text[8:-1].encode()] * 3 + [1]
    await channel.aclose()


async def test_without_redis_requests_are_refused_at_once_and_it_is_logged_once(make, caplog):
    limits = make(url="redis://127.0.0.1:1")
    for _ in range(20):
        with pytest.raises(Overloaded) as raised:
            await limits.admit(caller(), "m", ONE)
        assert (raised.value.status, raised.value.retry_after) == (503, 1.0)
    assert limits.buckets.away
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Redis does not answer" in caplog.text


@pytest.mark.parametrize("connected", [False, True])
async def test_an_admission_never_waits_longer_than_the_timeout(make, relay, connected):
    limits = make(url=relay.url, timeout=0.4)
    if connected:
        await room(limits)
    relay.become("stall")
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(limits.admit(caller(), "m", ONE) for _ in range(1_000)), return_exceptions=True)
    # It stalls for ever; the bound leaves room for a busy machine.
    assert loop.time() - began < 3
    assert all(isinstance(answer, Overloaded) for answer in answers)
    began = loop.time()
    with pytest.raises(Overloaded):
        await limits.admit(caller(), "m", ONE)
    # Not even as long as it would wait for an answer.
    assert loop.time() - began < 0.3


async def test_a_process_that_is_late_itself_does_not_blame_redis(make):
    limits = make(timeout=1.0)
    await room(limits)
    asked = asyncio.create_task(limits.admit(caller(), "m", ONE))
    # Once it was sent, this process does other things until the time for the answer is over.
    asyncio.get_running_loop().call_later(0.001, time.sleep, 1.2)
    await (await asked).settle(None)


async def test_it_heals_by_itself_and_settles_what_waited(make, relay, caplog):
    limits = make(url=relay.url, timeout=0.4)
    reservation = await limits.admit(caller(), "m", BIG)
    relay.become("refuse")
    relay.cut()
    with pytest.raises(Overloaded):
        await limits.admit(caller(), "m", ONE)
    await reservation.settle(Usage(50, 50))
    relay.become("open")
    await until(lambda: not limits.buckets.away)
    # Time has refilled a little.
    assert 900 <= await room(limits) <= 930
    assert await places(limits) == 5
    assert caplog.records[0].message.startswith("Redis does not answer (")
    assert len(caplog.records) == 2
    assert caplog.records[1].message.endswith("; 0 messages to it were given up")


async def test_one_process_knocks_once_however_many_wait(make, relay):
    limits = make(url=relay.url, timeout=0.4)
    await room(limits)
    relay.become("refuse")
    relay.cut()
    before = relay.connections
    for _ in range(50):
        answers = await asyncio.gather(*(limits.admit(caller(), "m", ONE) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(answer, Overloaded) for answer in answers)
    await until(lambda: relay.connections > before)
    assert relay.connections - before <= 3


async def test_a_settlement_whose_answer_was_lost_counts_once(make, relay):
    limits = make(url=relay.url, timeout=0.4)
    first, second = [await limits.admit(caller(), "m", Estimate(200, 200)) for _ in range(2)]
    relay.become("mute")
    await first.settle(None)
    await until(lambda: limits.buckets.away)
    relay.become("open")
    relay.cut()
    await until(lambda: not limits.buckets.away)
    # Twice would have given back the second's tokens too.
    assert 600 <= await room(limits) <= 640
    assert await places(limits) == 4
    await second.settle(None)


async def test_a_place_that_may_have_been_taken_comes_back(make, relay):
    limits = make(url=relay.url, timeout=0.4)
    await room(limits)
    relay.become("mute")
    with pytest.raises(Overloaded):
        await limits.admit(caller(), "m", BIG)
    await until(lambda: limits.buckets.away)
    relay.become("open")
    relay.cut()
    await until(lambda: not limits.buckets.away)
    assert await places(limits) == 5
    # What it had reserved is not given back: nobody knows whether it had.
    assert 800 <= await room(limits) <= 1_000


async def test_places_are_held_through_an_outage_longer_than_their_lease(make, relay):
    limits = make(LimitSpec(concurrency=2), url=relay.url, timeout=0.4, lease=0.2)
    held = await limits.admit(caller(), "m", ONE)
    relay.become("refuse")
    relay.cut()
    await asyncio.sleep(0.3)
    relay.become("open")
    await until(lambda: not limits.buckets.away)
    assert await places(limits) == 1
    await held.settle(None)


async def test_degraded_it_limits_by_itself(make, relay):
    limits = make(LimitSpec(requests_per_minute=2), url=relay.url, timeout=0.4, when_away="degrade")
    relay.become("refuse")
    for _ in range(2):
        await limits.admit(caller(), "m", ONE)
    with pytest.raises(RateLimited, match="Limit 2, Used 2"):
        await limits.admit(caller(), "m", ONE)
    relay.become("open")
    await until(lambda: not limits.buckets.away)
    assert (await limits.admit(caller(), "m", ONE)).headers["x-ratelimit-remaining-requests"] == "1"


async def test_what_waits_is_sent_before_the_end(make):
    prefix = new_prefix()
    leaving, staying = make(prefix=prefix), make(prefix=prefix)
    held = [await leaving.admit(caller(), "m", ONE) for _ in range(5)]
    for reservation in held:
        await reservation.settle(None)
    await leaving.buckets.aclose()
    assert await places(staying) == 5

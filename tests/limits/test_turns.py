"""Turns: as many in any minute as the limit says, never one more, none held back; the same in memory and on Redis."""

import asyncio
import logging
from bisect import bisect_left, bisect_right

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import Overloaded
from app.limits.gcra import MINUTE, SECOND
from app.limits.turns import MOST_TOLD, TAKEN, WINDOW, MemoryTurns, RedisTurns
from tests.limits.backend import HandClock, need_redis, new_prefix, until

OWNER = "account:0123456789abcdef:@cf/test/model"
LIMITS = [1, 2, 3, 7, 20]

pauses = st.one_of(
    st.just(0),
    st.integers(0, 3),
    st.integers(0, 5 * SECOND),
    st.integers(WINDOW - 2, WINDOW + 2),
    st.integers(0, 2 * WINDOW),
)


class Exact:
    """Every turn that was ever taken, counted anew each time."""

    def __init__(self, clock):
        self.clock, self.taken = clock, []

    def take(self, limit):
        now = self.clock.now
        away = [moment for moment in self.taken if moment > now - WINDOW]
        if len(away) < limit:
            self.taken.append(now)
            return []
        return [moment + WINDOW - now for moment in away[len(away) - limit :]][:MOST_TOLD]


def most_in_a_minute(moments):
    """The most of them in any 60 seconds, both ends included."""
    return max((bisect_right(moments, end) - bisect_left(moments, end - MINUTE) for end in moments), default=0)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
async def make():
    """Makes turns on Redis; those of one test share them."""
    made, prefix = [], new_prefix()

    def make(url=None, **options):
        made.append(RedisTurns(url or need_redis(), **{"prefix": prefix, "timeout": 5, **options}))
        return made[-1]

    yield make
    for turns in made:
        await turns.aclose()


def log_on_redis(turns):
    with redis.Redis.from_url(need_redis()) as client:
        key = f"{turns._prefix}:{{{OWNER}}}"
        return [int(moment) for moment in client.lrange(key, 0, -1)], client.pttl(key)


# Both kinds


@settings(max_examples=300, deadline=None)
@given(limit=st.sampled_from(LIMITS), steps=st.lists(pauses, max_size=80))
async def test_memory_gives_every_turn_that_there_is_and_no_other(limit, steps):
    clock = HandClock()
    turns, exact = MemoryTurns(clock), Exact(clock)
    for pause in steps:
        clock.now += pause
        told = turns.waits(OWNER, limit)
        expected = exact.take(limit)
        assert list(told) == expected
        assert list(await turns.take(OWNER, limit)) == expected
        assert len(turns._logs[OWNER]) <= limit
    assert most_in_a_minute(exact.taken) <= limit


async def agree(url, steps, *, own=True):
    clock, prefix = HandClock(), new_prefix()
    exact, memory = Exact(clock), MemoryTurns(clock)
    # Several processes: what one knows of its own turns is not enough.
    replicas = [RedisTurns(url, prefix=prefix, timeout=5, clock=clock) for _ in range(3)]
    try:
        for replica, limit, pause in steps:
            clock.now += pause
            expected = exact.take(limit)
            assert list(await memory.take(OWNER, limit)) == expected
            assert list(await replicas[replica].take(OWNER, limit)) == expected
            if not own:
                replicas[replica]._own._logs.clear()
        assert most_in_a_minute(exact.taken) <= max((limit for _, limit, _ in steps), default=0)
        return len(exact.taken)
    finally:
        for turns in replicas:
            await turns.aclose()


@settings(max_examples=150, deadline=None)
@given(limit=st.sampled_from(LIMITS), steps=st.lists(st.tuples(st.integers(0, 2), pauses), max_size=60))
def test_memory_and_redis_agree(limit, steps):
    assert asyncio.run(agree(need_redis(), [(replica, limit, pause) for replica, pause in steps])) <= len(steps)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.just(0), st.sampled_from(LIMITS), pauses), max_size=60), own=st.booleans())
def test_they_agree_while_the_limit_changes(steps, own):
    assert asyncio.run(agree(need_redis(), steps, own=own)) <= len(steps)


async def busiest(turns, clock, limit, minutes):
    """Take what there is, always at once: how many came in so many minutes, and the most in any of them."""
    taken, end = [], clock.now + minutes * MINUTE
    while clock.now < end:
        waits = await turns.take(OWNER, limit)
        if waits:
            clock.now += waits[0]
        else:
            taken.append(clock.now)
    return len(taken), most_in_a_minute(taken)


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 300])
async def test_who_always_asks_gets_all_but_the_margin(clock, limit):
    assert 61 * MINUTE == 60 * WINDOW
    assert await busiest(MemoryTurns(clock), clock, limit, 61) == (60 * limit, limit)


async def test_as_many_as_are_told_and_no_more(clock, make):
    limit = MOST_TOLD + 100
    for turns in (MemoryTurns(clock), make(clock=clock)):
        began = clock.now
        for _ in range(limit):
            assert await turns.take(OWNER, limit) == TAKEN
            clock.now += 10
        asked = turns if isinstance(turns, MemoryTurns) else make(clock=clock)
        waits = await asked.take(OWNER, limit)
        assert waits == [began + 10 * number + WINDOW - clock.now for number in range(MOST_TOLD)]


async def test_owners_have_turns_of_their_own(clock, make):
    for turns in (MemoryTurns(clock), make(clock=clock)):
        assert await turns.take("a", 1) == TAKEN
        assert await turns.take("b\udcff", 1) == TAKEN
        assert await turns.take("a", 1) == [WINDOW]
        assert await turns.take("b\udcff", 1) == [WINDOW]


# Memory


async def test_idle_owners_are_forgotten_and_others_not(clock):
    turns = MemoryTurns(clock)
    for number in range(5_000):
        await turns.take(f"owner-{number}", 1)
        clock.now += WINDOW // 100
        if not number % 50:
            await turns.take("busy", 10**6)
    assert len(turns) <= 250
    assert len(turns._logs["busy"]) == 2


# Redis


async def test_replicas_share_every_turn(make):
    replicas = [make() for _ in range(3)]
    answers = await asyncio.gather(*(turns.take(OWNER, 20) for turns in replicas for _ in range(20)))
    assert answers.count(TAKEN) == 20
    assert all(59 * SECOND < wait <= WINDOW for waits in answers for wait in waits)
    free, left = log_on_redis(replicas[0])
    assert len(free) == 20
    assert free == sorted(free)
    assert MINUTE < left * 1_000 <= WINDOW + 2 * SECOND


async def test_a_clock_that_is_put_back_holds_turns_back_for_a_minute_and_no_longer(make, clock):
    assert await make(clock=clock).take(OWNER, 2) == TAKEN
    clock.now += 30 * SECOND
    assert await make(clock=clock).take(OWNER, 2) == TAKEN
    clock.now -= 3_600 * SECOND
    assert await make(clock=clock).take(OWNER, 2) == [WINDOW, WINDOW]
    assert await make(clock=clock).take(OWNER, 3) == TAKEN
    clock.now += WINDOW - 1
    assert await make(clock=clock).take(OWNER, 3) == [1, 1, 1]
    clock.now += 1
    assert await busiest(make(clock=clock), clock, 3, 1) == (3, 3)


async def test_it_can_be_made_and_closed_outside_of_an_event_loop():
    turns = RedisTurns("redis://127.0.0.1:1")
    assert not turns.away
    await turns.aclose()


async def test_what_a_process_has_taken_itself_it_does_not_take_again(make):
    turns = make()
    assert [await turns.take(OWNER, 3) for _ in range(3)] == [TAKEN] * 3
    with redis.Redis.from_url(need_redis()) as client:
        assert client.delete(f"{turns._prefix}:{{{OWNER}}}") == 1
    assert len(await turns.take(OWNER, 3)) == 3
    assert await make().take(OWNER, 3) == TAKEN


async def test_a_turn_that_nobody_waits_for_is_given_back(make):
    turns, ends = make(), []
    for rounds in range(60):
        task = asyncio.ensure_future(turns.take(OWNER, 1_000))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        ends += await asyncio.gather(task, return_exceptions=True)
    assert sum(isinstance(end, asyncio.CancelledError) for end in ends) > 1
    assert await turns.take(OWNER, 1_000) == TAKEN
    await turns.aclose()
    free, _ = log_on_redis(turns)
    assert len(free) == ends.count(TAKEN) + 1


async def test_without_redis_they_are_refused_and_it_is_logged_once(make, caplog):
    turns = make("redis://127.0.0.1:1")
    for _ in range(20):
        with pytest.raises(Overloaded) as raised:
            await turns.take(OWNER, 20)
        assert (raised.value.status, raised.value.retry_after) == (503, 1.0)
    assert turns.away
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_no_turn_waits_longer_than_the_timeout(make, relay):
    turns = make(relay.url, timeout=0.1)
    assert await turns.take(OWNER, 20) == TAKEN
    relay.become("stall")
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(turns.take(OWNER, 20) for _ in range(100)), return_exceptions=True)
    # It stalls for ever; the bound leaves room for a busy machine.
    assert loop.time() - began < 3
    assert all(isinstance(answer, Overloaded) for answer in answers)


async def test_alone_a_process_keeps_to_the_limit_and_heals_by_itself(make, relay):
    turns = make(relay.url, timeout=0.2, when_away="degrade")
    assert [await turns.take(OWNER, 5) for _ in range(3)] == [TAKEN] * 3
    relay.become("refuse")
    relay.cut()
    assert [await turns.take(OWNER, 5) for _ in range(2)] == [TAKEN] * 2
    assert turns.away
    assert len(await turns.take(OWNER, 5)) == 5
    relay.become("open")
    await until(lambda: not turns.away)
    # Redis knows of three only.
    assert len(await turns.take(OWNER, 5)) == 5
    assert await turns.take(OWNER, 6) == TAKEN
    assert len(log_on_redis(turns)[0]) == 4

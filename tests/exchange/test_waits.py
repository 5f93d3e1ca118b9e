"""How long an exchange waits for others, and what is left for itself; time is a number that the test moves."""

import asyncio

import httpx
import pytest

from app.core.caller import Caller
from app.core.errors import ApiError
from app.exchange.leg import SLOW_CLIENT_SECONDS
from app.exchange.record import Record
from app.exchange.waits import Waits
from app.limits.guard import AccountGuard
from app.limits.turns import MemoryTurns
from tests.exchange.scripted import HELLO, Refusal, Stream, World, frames


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


async def test_waits_are_counted_and_the_work_between_them_is_not():
    clock = Clock()
    waits = Waits(clock)
    gate = asyncio.Event()

    async def work():
        clock.now += 1
        await gate.wait()
        clock.now += 2
        await asyncio.sleep(0)
        return "done"

    def open_later():
        clock.now += 10
        gate.set()

    asyncio.get_running_loop().call_soon(open_later)
    assert await waits.of(work()) == "done"
    assert waits.seconds == 10


async def test_what_never_waits_has_waited_for_nothing():
    waits = Waits(Clock())

    async def work():
        return 7

    assert await waits.of(work()) == 7
    assert waits.seconds == 0


async def test_failures_and_the_end_of_a_wait_reach_who_waits():
    clock = Clock()
    waits = Waits(clock)
    ended = []

    async def failing():
        raise KeyError("x")

    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(clock.now)
            raise

    with pytest.raises(KeyError):
        await waits.of(failing())
    task = asyncio.create_task(waits.of(stubborn()))
    await asyncio.sleep(0)
    clock.now += 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [103.0]
    assert waits.seconds == 3


async def test_a_timeout_within_ends_the_wait():
    waits = Waits(Clock())

    async def work():
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await waits.of(work())


def record_of(world, legs):
    record = Record(world.wiring.timer, request_id="req_1", surface="chat", caller="key-1", now=world.now)
    record.has_body()
    record.request, record.model, record.legs = HELLO, legs[0].model, legs
    return record


async def test_every_call_is_in_the_record_and_pauses_are_the_upstreams():
    world = World(Refusal(502), httpx.ConnectError("no"), Stream())
    leg = world.leg()
    record = record_of(world, [leg])
    await leg.open()
    while not leg.ended:
        await leg.hear_more()
    await leg.close(finished=True)
    outcome = record.outcome(*record.spent())
    assert outcome.upstream_attempts == (502, 0, 200)
    assert outcome.account == "account-1"
    assert outcome.upstream_seconds == pytest.approx(sum(world.slept))
    assert outcome.seconds == pytest.approx(outcome.upstream_seconds)
    assert (outcome.queue_seconds, outcome.own_seconds) == (0, 0)


async def test_own_time_is_what_nobody_else_took():
    world = World(Stream(frames("One"), frames("Two")))
    leg = world.leg()
    record = record_of(world, [leg])
    world.now += 0.01
    await leg.open()
    world.now += 0.02
    await leg.hear_more()
    # So long nothing is written: it is the client that does not take what it got.
    world.now += 2 * SLOW_CLIENT_SECONDS
    while not leg.ended:
        await leg.hear_more()
    outcome = record.outcome(None, None)
    assert outcome.own_seconds == pytest.approx(0.03)
    assert outcome.seconds == pytest.approx(0.03 + 2 * SLOW_CLIENT_SECONDS)


async def test_the_wait_for_a_turn_is_the_queues():
    world = World(Stream())

    class Slow(AccountGuard):
        async def enter(self, caller_id, model):
            await asyncio.sleep(0)

    guard = Slow(MemoryTurns(), "a", max_wait=1.0)
    world = World(Stream(), guards=[guard])
    leg = world.leg(caller=Caller("key-1", "key-1"))
    record = record_of(world, [leg])
    opening = asyncio.create_task(leg.open())
    await asyncio.sleep(0)
    world.now += 4
    await opening
    outcome = record.outcome(None, None)
    assert (outcome.queue_seconds, outcome.upstream_seconds, outcome.own_seconds) == (4, 0, 0)


async def test_a_request_that_was_never_sent_has_no_account_and_no_calls():
    class Closed:
        async def enter(self, caller_id, model):
            raise ApiError("no", status=429, type_="requests")

    world = World(guards=[Closed()])
    leg = world.leg()
    record = record_of(world, [leg])
    with pytest.raises(ApiError):
        await leg.open()
    outcome = record.outcome(None, None)
    assert (outcome.account, outcome.upstream_attempts) == (None, ())


async def test_the_cost_is_computed_once_when_the_answer_has_ended():
    world = World(Stream())
    leg = world.leg()
    record = record_of(world, [leg])
    assert record.spent() is None
    await leg.open()
    while not leg.ended:
        await leg.hear_more()
    assert record.spent() is record.spent()

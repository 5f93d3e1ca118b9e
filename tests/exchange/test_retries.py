"""One choice on top of an upstream that fails: what is asked again, what is not, and what it counts as."""

import asyncio
from copy import copy

import httpx
import pytest
from msgspec.structs import replace

from app.core.errors import ApiError, BadRequest, Overloaded, QuotaExhausted, RateLimited, UpstreamTimeout
from app.core.events import Delta, Failed, Finished, Started
from app.core.grammar import Grammar
from app.core.request import NamedTool, ResponseFormat, Tool
from app.exchange.attempts import Patience, RetryBudget
from tests.exchange.scripted import HELLO, Refusal, Stream, World, frames

CUT = httpx.ReadError("cut")


def said(events):
    grammar = Grammar()
    for event in events:
        grammar.hear(event)
    return "".join(event.text for event in events if isinstance(event, Delta))


async def refused(world, **more):
    with pytest.raises(ApiError) as caught:
        await world.run(**more)
    return caught.value


@pytest.mark.parametrize(
    "failure",
    [
        Refusal(502),
        Refusal(503, 7009),
        Refusal(500, 8005),
        Refusal(520),
        Refusal(408, 3007),
        Refusal(429, 3040),
        Refusal(429, 3021),
        httpx.ConnectError("no"),
        httpx.ConnectTimeout("no"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
    ],
    ids=repr,
)
async def test_a_passing_failure_is_not_seen(failure):
    world = World(failure, Stream())
    leg, events = await world.run()
    assert said(events) == "Hi"
    assert leg.attempts == 2
    assert len(world.slept) == 1
    assert leg.settled_usage().total_tokens == 10


@pytest.mark.parametrize(
    "failure",
    [
        Refusal(400, 5006),
        Refusal(413, 3006),
        Refusal(403, 5035),
        Refusal(401, 10000),
        Refusal(429, 3036),
        Refusal(408, 3046),
        Refusal(524),
        httpx.ReadTimeout("slow"),
    ],
    ids=repr,
)
async def test_a_lasting_failure_is_told_at_once(failure):
    world = World(failure)
    leg = world.leg()
    with pytest.raises(ApiError):
        await leg.open()
    assert leg.attempts == 1
    assert world.slept == []


async def test_the_last_failure_is_told_when_patience_ends():
    world = World(Refusal(502), Refusal(502), Refusal(503))
    error = await refused(world)
    assert (error.status, error.upstream_status) == (503, 503)
    assert world.slept == [0.25, 0.5]


async def test_without_retries_nothing_is_asked_again():
    world = World(Refusal(502), patience=Patience(retries=0))
    assert (await refused(world)).upstream_status == 502


async def test_retry_after_is_waited_for():
    world = World(Refusal(503, headers={"retry-after": "4"}), Stream())
    await world.run()
    assert world.slept == [4.25]
    world = World(Refusal(503, headers={"retry-after": "40"}))
    assert (await refused(world)).retry_after == 40


async def test_all_requests_share_a_budget():
    world = World(*[Refusal(502)] * 200, remembers=False)
    budget = RetryBudget(share=0.1, per_second=0.0, most=5.0)
    world.upstream._rules = replace(world.upstream._rules, budget=budget)
    for _ in range(100):
        await refused(world)
    # Five saved up, ten of a hundred requests.
    assert 110 <= len(world.script.sent) <= 115


async def test_an_answer_that_is_cut_before_it_said_anything_is_asked_for_again():
    world = World(Stream([], CUT), Stream())
    leg, events = await world.run()
    assert said(events) == "Hi"
    assert leg.attempts == 2
    assert world.script.bodies[0].closed


async def test_the_beginning_is_not_told_twice():
    world = World(Stream(frames(finish=None), CUT), Stream())
    _, events = await world.run()
    assert said(events) == "Hi"
    assert sum(isinstance(event, Started) for event in events) == 1


async def test_what_was_given_is_never_contradicted():
    world = World(Stream(frames("One", finish=None), CUT))
    leg, events = await world.run()
    assert said(events) == "One"
    assert isinstance(events[-1], Failed)
    assert leg.attempts == 1
    assert leg.settled_usage().completion_tokens > 0


async def test_a_failure_in_the_same_read_as_the_text_is_not_begun_anew():
    blocks = [b"".join(frames("One", finish=None)) + b'data: {"error":"x"}\n\n']
    world = World(Stream(blocks))
    leg, events = await world.run()
    assert said(events) == "One"
    assert leg.attempts == 1


@pytest.mark.parametrize("code", [3040, 8005])
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_a_failure_under_a_good_status_is_one_all_the_same(code, kind):
    body = b'{"success":false,"errors":[{"code":%d,"message":"x"}]}' % code
    block = body if kind == "application/json" else b"data: " + body + b"\n\n"
    world = World(Stream([block], kind=kind), Stream())
    leg, events = await world.run()
    assert said(events) == "Hi"
    assert leg.attempts == 2


async def test_a_failure_under_a_good_status_is_told_in_the_end():
    body = b'{"success":false,"errors":[{"code":3040,"message":"x"}]}'
    world = World(*[Stream([body], kind="application/json") for _ in range(3)])
    leg, events = await world.run()
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, RateLimited)
    assert sum(isinstance(event, Failed) for event in events) == 1
    assert leg.attempts == 3


async def test_a_second_call_that_is_refused_ends_the_answer():
    world = World(Stream([], CUT), Refusal(400, 5006))
    leg, events = await world.run()
    assert [type(event) for event in events] == [Failed]
    assert isinstance(events[0].error, BadRequest)
    assert leg.attempts == 2


async def test_an_answer_that_is_held_is_begun_anew_after_a_cut_and_paid_for_twice():
    request = replace(HELLO, tools=(Tool("f"),), tool_choice=NamedTool("f"))
    call = frames("thinking", finish=None)
    world = World(Stream(call, CUT), Stream(frames("no call")), Stream(frames("still none")))
    leg, events = await world.run(request)
    assert said(events) == "still none"
    assert leg.attempts == 3
    assert leg.settled_usage().completion_tokens > 6


async def test_held_json_that_fails_for_good_is_told_once():
    request = replace(HELLO, response_format=ResponseFormat("json_object"))
    body = b'{"success":false,"errors":[{"code":5006,"message":"x"}]}'
    world = World(Stream([body], kind="application/json"))
    _, events = await world.run(request)
    assert [type(event) for event in events][-1] is Failed
    assert sum(isinstance(event, Failed) for event in events) == 1


async def test_an_empty_json_answer_is_asked_for_without_a_stream_and_that_may_fail_too():
    empty = Stream([b'{"result":{},"success":true}'], kind="application/json")
    whole = Stream([b'{"result":{"response":"Hi"},"success":true}'], kind="application/json")
    world = World(empty, Refusal(502), whole)
    leg, events = await world.run()
    assert said(events) == "Hi"
    assert [body["stream"] for _, body, _ in world.script.sent] == [True, False, False]
    world = World(copy(empty), Refusal(400, 5006))
    leg, events = await world.run()
    assert [type(event) for event in events] == [Failed]
    assert leg.attempts == 2


async def test_a_failure_of_a_second_call_counts_once():
    empty = Stream([b'{"result":{},"success":true}'], kind="application/json")
    world = World(empty, Refusal(502), Refusal(502), Refusal(502), Stream())
    _, events = await world.run()
    assert isinstance(events[-1], Failed)
    # The fourth would be one too many.
    _, events = await world.run()
    assert said(events) == "Hi"


async def test_after_a_smaller_limit_failures_are_what_they_always_are():
    overflow = Refusal(400, 8007, "This model's maximum context length is 10 tokens.")
    world = World(overflow, Stream([], CUT), Stream())
    leg, events = await world.run()
    assert said(events) == "Hi"
    limits = [body["max_tokens"] for _, body, _ in world.script.sent]
    assert limits[1] == limits[2] == limits[0] // 2
    assert leg.attempts == 3


async def test_the_gateways_own_retries_are_not_multiplied():
    world = World(Refusal(502))
    await refused(world, headers={"cf-aig-max-attempts": "3"})
    assert len(world.script.sent) == 1


async def test_the_total_time_bounds_all_tries_together(monkeypatch):
    world = World(*[Refusal(503, headers={"retry-after": "2"})] * 9, total_seconds=3.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    monkeypatch.setattr(loop, "time", lambda: began + sum(world.slept), raising=False)
    assert (await refused(world)).upstream_status == 503
    assert world.slept == [2.25]


async def test_the_total_time_ends_a_stream(monkeypatch):
    never = asyncio.Event()
    world = World(Stream([*frames("Some", finish=None), never]), total_seconds=0.05)
    _, events = await world.run()
    assert said(events) == "Some"
    assert isinstance(events[-1], Failed)
    assert (events[-1].error.status, events[-1].error.code) == (504, "total_timeout")


async def test_the_total_time_ends_a_stream_that_never_pauses():
    class Endless(list):
        def __iter__(self):
            yield from frames("x", finish=None)
            while True:
                yield frames("x", finish=None)[1]

    world = World(Stream(Endless()), total_seconds=0.05)
    _, events = await world.run()
    assert events[-1].error.code == "total_timeout"


async def test_the_total_time_bounds_the_wait_for_the_first_byte():
    world = World(asyncio.Event(), total_seconds=0.02)
    error = await refused(world)
    assert isinstance(error, UpstreamTimeout)
    assert error.code == "total_timeout"
    assert error.should_retry is False


async def test_a_client_that_leaves_during_a_pause_ends_it():
    asleep = asyncio.Event()

    async def sleep(_):
        asleep.set()
        await asyncio.Event().wait()

    world = World(Refusal(502), sleep=sleep)
    leg = world.leg()
    task = asyncio.create_task(leg.open())
    await asleep.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await leg.close(finished=False)
    assert len(world.script.sent) == 1
    assert leg.settled_usage().total_tokens == 0


class TestHealth:
    """What is remembered from one request to the next."""

    async def fail(self, world, times):
        for _ in range(times):
            await refused(world)

    async def test_a_model_that_keeps_failing_is_given_a_pause(self):
        world = World(*[Refusal(502)] * 4, Stream(), patience=Patience(retries=0))
        await self.fail(world, 4)
        error = await refused(world)
        assert isinstance(error, Overloaded)
        assert (error.status, error.retry_after) == (503, 5.0)
        assert len(world.script.sent) == 4
        world.now += 5.0
        _, events = await world.run()
        assert said(events) == "Hi"
        assert world.health.clear

    async def test_one_probe_at_a_time(self):
        answer = asyncio.Event()
        world = World(*[Refusal(502)] * 4, answer, Stream(), Stream(), patience=Patience(retries=0))
        await self.fail(world, 4)
        world.now += 5.0
        probe = asyncio.create_task(world.run())
        while len(world.script.sent) < 5:
            await asyncio.sleep(0)
        assert isinstance(await refused(world), Overloaded)
        answer.set()
        await probe
        await world.run()

    async def test_a_probe_whose_client_leaves_makes_room_for_another(self):
        world = World(*[Refusal(502)] * 4, asyncio.Event(), patience=Patience(retries=0))
        await self.fail(world, 4)
        world.now += 5.0
        probe = asyncio.create_task(world.run())
        while len(world.script.sent) < 5:
            await asyncio.sleep(0)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        world.script.steps = [Stream()]
        _, events = await world.run()
        assert said(events) == "Hi"

    async def test_a_breaker_that_opens_ends_the_retries(self):
        world = World(*[Refusal(502)] * 4)
        await refused(world)
        assert (await refused(world)).upstream_status == 502
        assert len(world.script.sent) == 4

    async def test_answers_that_break_off_count_as_failures(self):
        world = World(*[Stream(frames("x", finish=None), CUT) for _ in range(4)])
        for _ in range(4):
            await world.run()
        assert isinstance(await refused(world), Overloaded)

    async def test_clients_mistakes_do_not_count(self):
        world = World(*[Refusal(400, 5006)] * 50)
        await self.fail(world, 50)
        assert world.health.clear

    async def test_a_spent_account_is_not_asked_before_the_day_ends(self):
        world = World(Refusal(429, 3036), Stream())
        await self.fail(world, 1)
        left = 86_400 - world.now % 86_400
        world.now += left - 10
        error = await refused(world)
        assert isinstance(error, QuotaExhausted)
        assert error.retry_after == 10
        assert "in 10 seconds" in error.message
        assert len(world.script.sent) == 1
        world.now += 11
        await world.run()

    async def test_early_in_the_day_it_may_be_yesterdays_quota(self):
        world = World(Refusal(429, 3036), Stream())
        world.now += 86_400 - world.now % 86_400 + 10
        await self.fail(world, 1)
        assert isinstance(await refused(world), QuotaExhausted)
        world.now += 60
        await world.run()

    async def test_a_busy_model_is_asked_all_the_same_when_there_is_no_other(self):
        world = World(Refusal(429, 3040), Stream(), patience=Patience(retries=0))
        await self.fail(world, 1)
        await world.run()
        assert world.health.clear

    async def test_nothing_is_remembered_when_that_is_switched_off(self):
        world = World(*[Refusal(429, 3036)] * 3, Stream(), remembers=False)
        await self.fail(world, 3)
        await world.run()


async def test_a_finished_answer_finishes(monkeypatch):
    world = World(Stream())
    leg, events = await world.run()
    assert isinstance(events[-1], Finished)
    assert (leg.attempts, leg.account, leg.model.short_name, leg.status) == (1, "account-1", "gpt-oss-120b", 200)

"""From account to account and from model to model: where a request goes, in which order, and where it does not."""

import asyncio
from copy import copy

import pytest
from msgspec.structs import replace

from app.core.caller import Caller
from app.core.errors import ApiError, Overloaded, QuotaExhausted, RateLimited, UpstreamRefused
from app.core.request import ImageContent, Message, ResponseFormat, TextContent, Tool
from app.exchange.attempts import Patience, Shun, Trouble
from tests.exchange.scripted import BIG, HELLO, SMALL, Refusal, Stream, World

BUSY = Refusal(429, 3040)
SPENT = Refusal(429, 3036)
FALLBACK = {"gpt-oss-120b": ["gpt-oss-20b"]}
NO_TOOLS = "llama-3.1-8b-instruct-fp8"


def refusals(number, refusal=BUSY):
    return [copy(refusal) for _ in range(number)]


async def test_the_same_model_on_the_next_account_comes_before_the_next_model():
    world = World(*refusals(3), Stream(), accounts=2, fallbacks=FALLBACK)
    leg, _ = await world.run()
    assert world.script.asked == [
        ("one", "gpt-oss-120b"),
        ("two", "gpt-oss-120b"),
        ("one", "gpt-oss-20b"),
        ("two", "gpt-oss-20b"),
    ]
    assert (leg.model, leg.account, leg.attempts) == (SMALL, "account-2", 4)
    assert world.slept == []


async def test_a_busy_model_may_refuse_at_once_only_when_there_is_somewhere_to_go():
    world = World(BUSY, Stream(), fallbacks=FALLBACK)
    await world.run()
    assert world.script.rejecting == [True, False]
    world = World(Stream())
    await world.run()
    assert world.script.rejecting == [False]
    # Where the other is known to be busy there is nowhere to go.
    world = World(BUSY, Stream(), Stream(), fallbacks={"*": ["gpt-oss-20b", "gpt-oss-120b"]})
    await world.run()
    await world.run(model=SMALL)
    assert world.script.rejecting == [True, False, False]


async def test_the_last_target_is_asked_again_after_a_pause():
    world = World(*refusals(3), Stream(), fallbacks=FALLBACK)
    leg, _ = await world.run()
    assert [model for _, model in world.script.asked] == ["gpt-oss-120b"] + ["gpt-oss-20b"] * 3
    assert world.script.rejecting == [True, False, False, False]
    assert len(world.slept) == 2
    assert leg.attempts == 4


async def test_each_target_is_turned_to_once_and_then_it_is_over():
    world = World(*refusals(9, Refusal(403, 5035)), accounts=3, fallbacks=FALLBACK)
    with pytest.raises(ApiError) as caught:
        await world.run()
    assert caught.value.code == "model_requires_paid_plan"
    assert len(world.script.sent) == len(set(world.script.asked)) == 6


async def test_a_failing_target_is_asked_again_before_it_is_left():
    world = World(*refusals(3, Refusal(502)), Stream(), accounts=2)
    leg, _ = await world.run()
    assert [account for account, _ in world.script.asked] == ["one", "one", "one", "two"]
    assert leg.account == "account-2"


async def test_an_outage_of_everything_is_not_multiplied_by_the_targets():
    world = World(*refusals(500, Refusal(502)), accounts=3, patience=Patience(retries=0), remembers=False)
    for _ in range(100):
        with pytest.raises(ApiError):
            await world.run()
    # What is saved up, and a tenth of the requests.
    assert 110 <= len(world.script.sent) <= 120


async def test_a_busy_model_is_left_alone_for_seconds():
    world = World(BUSY, Stream(), Stream(), Stream(), fallbacks=FALLBACK)
    for wait in (0.0, 4.9, 0.2):
        world.now += wait
        await world.run()
    assert [model for _, model in world.script.asked] == ["gpt-oss-120b", "gpt-oss-20b", "gpt-oss-20b", "gpt-oss-120b"]


async def test_an_account_without_neurons_is_left_alone_until_the_day_ends():
    world = World(SPENT, Stream(), Stream(), Stream(), accounts=2, fallbacks=FALLBACK)
    await world.run()
    await world.run(model=SMALL)
    world.now += 86_400 - world.now % 86_400
    await world.run()
    assert world.script.asked == [
        ("one", "gpt-oss-120b"),
        ("two", "gpt-oss-120b"),
        ("two", "gpt-oss-20b"),
        ("one", "gpt-oss-120b"),
    ]


async def test_when_all_accounts_are_spent_nobody_is_asked():
    world = World(SPENT, SPENT, accounts=2, fallbacks=FALLBACK)
    for _ in range(2):
        with pytest.raises(QuotaExhausted):
            await world.run()
    assert world.script.asked == [("one", "gpt-oss-120b"), ("two", "gpt-oss-120b")]


async def test_a_model_of_the_paid_plan_is_left_alone_for_an_hour():
    world = World(Refusal(403, 5035), *[Stream() for _ in range(3)], fallbacks=FALLBACK)
    for wait in (0.0, 3599.0, 2.0):
        world.now += wait
        await world.run()
    assert [model for _, model in world.script.asked] == ["gpt-oss-120b", "gpt-oss-20b", "gpt-oss-20b", "gpt-oss-120b"]


async def test_bad_credentials_of_one_account_are_not_the_clients_trouble():
    world = World(Refusal(401, 10000), Stream(), Stream(), accounts=2)
    await world.run()
    await world.run()
    assert [account for account, _ in world.script.asked] == ["one", "two", "two"]
    world = World(Refusal(401, 10000), Refusal(401, 10000), accounts=2)
    with pytest.raises(UpstreamRefused):
        await world.run()


async def test_a_broken_target_is_passed_over():
    world = World(*refusals(4, Refusal(502)), Stream(), Stream(), accounts=2, patience=Patience(retries=0))
    for _ in range(2):
        # Without a pause between them both accounts fail.
        with pytest.raises(ApiError):
            await world.run()
    assert [account for account, _ in world.script.asked] == ["one", "two", "one", "two"]
    for account in (world.accounts[0],):
        for _ in range(2):
            world.health.fail(account.name, BIG.id, 0, world.now)
    leg, _ = await world.run()
    assert leg.account == "account-2"


async def test_the_failure_that_opens_a_breaker_sends_on_like_any_other():
    world = World(*refusals(3, Refusal(502)), Stream(), Refusal(502), Stream(), accounts=2)
    for _ in range(2):
        leg, _ = await world.run()
        assert leg.account == "account-2"
    assert [account for account, _ in world.script.asked] == ["one", "one", "one", "two", "one", "two"]


async def test_a_target_that_breaks_while_its_turn_is_waited_for_is_not_asked():
    class Slow(Turnstile):
        async def enter(self, caller_id, model):
            for _ in range(4):
                world.health.fail("account-1", model.id, 0, world.now)

    world = World(Stream(), accounts=2, guards=[Slow(), Turnstile()])
    leg, _ = await world.run()
    assert (leg.account, leg.attempts) == ("account-2", 1)


async def test_when_all_targets_are_broken_nobody_is_asked():
    world = World(accounts=2)
    for account in world.accounts:
        for _ in range(4):
            world.health.fail(account.name, BIG.id, 0, world.now)
    with pytest.raises(Overloaded) as caught:
        await world.run()
    assert caught.value.retry_after == 5.0
    assert world.script.sent == []


@pytest.mark.parametrize(
    ("more", "moves"),
    [
        ({}, True),
        ({"tools": (Tool("f"),)}, False),
        ({"tools": (Tool("f"),), "tool_choice": "none"}, True),
        ({"extra": {"raw": True}}, False),
        ({"max_tokens": 500_000}, False),
    ],
)
async def test_a_model_that_does_not_suffice_is_not_asked(more, moves):
    request = replace(HELLO, **more)
    world = World(BUSY, Stream(), fallbacks={"*": [NO_TOOLS]}, patience=Patience(retries=0))
    if moves:
        leg, _ = await world.run(request)
        assert leg.model.short_name == NO_TOOLS
    else:
        with pytest.raises(RateLimited):
            await world.run(request)
    assert world.script.rejecting[0] is moves


async def test_a_model_without_eyes_is_not_shown_images():
    eyes = "llama-4-scout-17b-16e-instruct"
    request = replace(
        HELLO, messages=(Message("user", (TextContent("See"), ImageContent("data:image/png;base64,AA=="))),)
    )
    world = World(BUSY, Stream(), fallbacks={"*": [NO_TOOLS, "gemma-4-26b-a4b-it"]})
    model = world.wiring.catalogue().resolve(eyes)
    leg, _ = await world.run(request, model)
    assert leg.model.short_name == "gemma-4-26b-a4b-it"


async def test_a_key_is_never_served_by_a_model_that_it_may_not_use():
    narrow = Caller("key-1", "one", models=("gpt-oss-120b",))
    world = World(BUSY, fallbacks=FALLBACK, patience=Patience(retries=0))
    with pytest.raises(RateLimited):
        await world.run(caller=narrow)
    wide = Caller("key-2", "two", models=("gpt-oss-*",))
    world = World(BUSY, Stream(), fallbacks=FALLBACK)
    leg, _ = await world.run(caller=wide)
    assert leg.model is SMALL


async def test_strictly_no_model_is_asked_that_would_lose_a_field():
    request = replace(HELLO, reasoning_effort="low")
    world = World(BUSY, Stream(), fallbacks={"*": [NO_TOOLS, "gpt-oss-20b"]}, strict=True)
    leg, _ = await world.run(request)
    assert leg.model is SMALL
    world = World(BUSY, Stream(), fallbacks={"*": [NO_TOOLS, "gpt-oss-20b"]})
    leg, _ = await world.run(request)
    assert leg.model.short_name == NO_TOOLS
    assert "reasoning_effort" in leg.sent.dropped


async def test_a_model_that_is_left_alone_and_has_no_fitting_substitute_is_asked():
    request = replace(HELLO, reasoning_effort="low")
    world = World(Stream(), fallbacks={"*": [NO_TOOLS]}, strict=True)
    world.health.shun("account-1", BIG.id, Shun(Trouble.BUSY, "target", 5.0), None, world.now)
    leg, _ = await world.run(request)
    assert leg.model is BIG


async def test_the_request_is_written_anew_for_the_other_model():
    request = replace(HELLO, response_format=ResponseFormat("json_schema", {"type": "object"}, "thing"))
    body = b'{"result":{"response":{}},"success":true}'
    other = "qwen3-30b-a3b-fp8"
    world = World(BUSY, Stream([body], kind="application/json"), fallbacks={"*": [other]})
    leg, _ = await world.run(request)
    first, second = (body for _, body, _ in world.script.sent)
    assert (first["model"], second["model"]) == (BIG.id, leg.model.id)
    assert second["max_tokens"] != first["max_tokens"]
    assert leg.sent.max_tokens == second["max_tokens"]


class Turnstile:
    """A guard that lets through, or refuses."""

    def __init__(self, *refusals):
        self.refusals = list(refusals)
        self.entered = []
        self.penalties = []

    async def enter(self, caller_id, model):
        self.entered.append((caller_id, model.short_name))
        if self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal

    def penalise(self, model, seconds):
        self.penalties.append((model.short_name, seconds))


async def test_the_accounts_own_limits_are_waited_for_before_every_call():
    guard = Turnstile()
    world = World(Refusal(502), Stream(), guards=[guard])
    await world.run(caller=Caller("key-1", "one"))
    assert guard.entered == [("key-1", "gpt-oss-120b")] * 2
    assert guard.penalties == []


async def test_a_limit_that_the_upstream_tells_is_learnt():
    guard = Turnstile()
    world = World(Refusal(429, 3021), Stream(), guards=[guard])
    await world.run()
    assert guard.penalties == [("gpt-oss-120b", 10)]


async def test_a_full_account_sends_on_to_the_next_and_is_no_failure_of_the_upstream():
    full, free = Turnstile(RateLimited(retry_after=3.0)), Turnstile()
    world = World(Stream(), accounts=2, guards=[full, free])
    leg, _ = await world.run()
    assert (leg.account, leg.attempts) == ("account-2", 1)
    assert world.health.clear


async def test_when_every_account_is_full_the_last_ones_wait_is_told():
    guards = [Turnstile(RateLimited(retry_after=3.0)), Turnstile(RateLimited(retry_after=4.0))]
    world = World(accounts=2, guards=guards)
    leg = world.leg()
    with pytest.raises(RateLimited) as caught:
        await leg.open()
    assert caught.value.retry_after == 4.0
    assert leg.attempts == 0
    assert leg.settled_usage() is None


async def test_the_wait_for_the_accounts_limits_ends_with_the_total_time():
    class Closed(Turnstile):
        async def enter(self, caller_id, model):
            await asyncio.Event().wait()

    world = World(guards=[Closed()], total_seconds=0.02)
    with pytest.raises(ApiError) as caught:
        await world.run()
    assert caught.value.code == "total_timeout"


async def test_files_are_converted_by_the_first_account_that_can():
    body = Stream([b"{}"], kind="application/json")
    world = World(Refusal(401, 10000), Refusal(502), body, accounts=2)
    assert await world.upstream.post_files("/tomarkdown", [("a.pdf", b"%PDF-", "application/pdf")]) == b"{}"
    assert [account for account, _, _ in world.script.sent] == ["one", "two", "two"]
    # A token may run models and not convert files: nothing is held against the account.
    assert world.health.clear

"""Runs: admitted as a whole, several calls at once, tried again by the rules of all requests, settled in the end."""

import asyncio

import httpx
import pytest
from msgspec.structs import replace

from app.cloudflare.carrier import HttpxCarrier
from app.core.caller import ANONYMOUS, Caller
from app.core.cost import cost
from app.core.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamBroken,
    UpstreamTimeout,
)
from app.dialects.embeddings import EmbeddingsDialect
from app.dialects.moderation import ModerationDialect
from app.exchange.run import MOST_AT_ONCE, Run, Service
from app.surfaces.embeddings.surface import EmbeddingsSurface
from app.surfaces.moderations.surface import ModerationsSurface
from app.wire.codec import decode, encode
from tests.exchange.scripted import CATALOGUE, Refusal, Stream, World

EMBEDDINGS = Service(EmbeddingsSurface(), EmbeddingsDialect())
MODERATIONS = Service(ModerationsSurface(), ModerationDialect())
M3 = CATALOGUE.resolve("bge-m3")


class Ledger:
    """Limits and a quota that admit everything, and what they were told; or that refuse."""

    def __init__(self, refusal=None):
        self.refusal = refusal
        self.admitted, self.settled, self.outcomes = [], [], []

    async def admit(self, caller, model, estimate):
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append((caller.id, model, estimate))
        return self

    @property
    def headers(self):
        return {"x-ratelimit-limit-requests": "3"}

    async def settle(self, usage, spent=None):
        self.settled.append((usage, spent))


class Desk:
    """A world of one scripted upstream, and runs in it."""

    def __init__(self, *steps, refusal=None, quota=None, catalogue=CATALOGUE, strict=False, **more):
        self.world = World(*steps, **more)
        self.ledger = Ledger(refusal)
        self.wiring = replace(
            self.world.wiring,
            limits=self.ledger,
            quota=quota,
            report=self.ledger.outcomes.append,
            catalogue=lambda: catalogue,
            strict=strict,
        )

    def run(self, service=EMBEDDINGS, caller=ANONYMOUS, **more):
        return Run(self.wiring, service, caller, "req_1", **more)

    async def ask(self, service=EMBEDDINGS, caller=ANONYMOUS, **fields):
        """One whole request; the run, and its reply or its failure."""
        run = self.run(service, caller)
        try:
            return run, await run.answer(encode({"model": "bge-m3", "input": "x", **fields}))
        except Exception as error:
            run.fail(error)
            raise
        finally:
            await run.settle()
            await run.settle()

    @property
    def outcome(self):
        (outcome,) = self.ledger.outcomes
        return outcome


def vectors(*numbers, tokens=5):
    rows = [{"index": index, "embedding": [number, 1.0]} for index, number in enumerate(numbers)]
    return json_answer({"data": rows, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


def json_answer(body, kind="application/json"):
    return Stream([encode(body)], kind=kind)


async def test_one_call_is_admitted_answered_settled_and_reported():
    desk = Desk(vectors(0.5, tokens=9))
    run, reply = await desk.ask()
    assert decode(reply.body)["data"][0]["embedding"] == [0.5, 1.0]
    ((caller, model, estimate),) = desk.ledger.admitted
    assert (caller, model, estimate.prompt_tokens, estimate.stated) == ("anonymous", M3.id, 1, True)
    ((usage, spent),) = desk.ledger.settled
    assert (usage.prompt_tokens, usage.source) == (9, "reported")
    assert spent == cost(usage, M3)
    assert spent.neurons > 0
    headers = run.headers
    assert headers["x-flarelay-model"] == M3.id
    assert headers["x-flarelay-attempts"] == "1"
    assert headers["x-flarelay-upstream-request-id"] == "ray"
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert float(headers["x-flarelay-neurons"]) == pytest.approx(spent.neurons, abs=1e-6)
    outcome = desk.outcome
    assert (outcome.surface, outcome.dialect, outcome.status, outcome.ending) == (
        "embeddings",
        "embeddings",
        200,
        "completed",
    )
    assert (outcome.model, outcome.upstream_model, outcome.upstream_attempts) == ("bge-m3", M3.id, (200,))
    assert (outcome.usage, outcome.cost, outcome.account) == (usage, spent, "account-1")
    assert all(body.closed for body in desk.world.script.bodies)


async def test_several_calls_answer_in_order_and_count_together():
    desk = Desk(*(vectors(*([float(number)] * size)) for number, size in ((1, 100), (2, 100), (3, 50))))
    run, reply = await desk.ask(input=[f"text {number}" for number in range(250)])
    sent = [body["input"] for _, body, _ in desk.world.script.sent]
    assert sorted(map(len, sent)) == [50, 100, 100]
    rows = decode(reply.body)["data"]
    assert [row["index"] for row in rows] == list(range(250))
    assert len(desk.ledger.admitted) == len(desk.ledger.settled) == 1
    assert desk.ledger.settled[0][0].prompt_tokens == 15
    assert run.headers["x-flarelay-attempts"] == "1"
    assert desk.outcome.upstream_attempts == (200, 200, 200)


async def test_no_more_calls_are_under_way_at_once_than_the_bound():
    under_way = most = 0

    class Counting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(5):
                await asyncio.sleep(0)
            under_way -= 1
            body = encode({"result": {"response": "safe"}, "success": True})
            return httpx.Response(200, headers={"content-type": "application/json"}, stream=httpx.ByteStream(body))

    desk = Desk()
    for account in desk.world.accounts:
        account.client._carrier = HttpxCarrier(Counting())
    _, reply = await desk.ask(MODERATIONS, model=None, input=["x"] * 20)
    assert len(decode(reply.body)["results"]) == 20
    assert most == MOST_AT_ONCE


async def test_a_failure_is_tried_again():
    desk = Desk(Refusal(500, 8005), vectors(0.5))
    run, _ = await desk.ask()
    assert run.headers["x-flarelay-attempts"] == "2"
    assert desk.outcome.upstream_attempts == (500, 200)
    assert desk.world.slept


@pytest.mark.parametrize(
    "broken",
    [
        Stream([b'{"data": ['], kind="application/json"),
        Stream([b'{"data"'], httpx.ReadError("gone"), kind="application/json"),
        json_answer({"success": False, "errors": [{"code": 7009, "message": "upstream"}]}),
    ],
)
async def test_an_answer_that_is_none_is_asked_for_again(broken):
    desk = Desk(broken, vectors(0.5))
    run, _ = await desk.ask()
    assert run.headers["x-flarelay-attempts"] == "2"
    assert all(body.closed for body in desk.world.script.bodies)


async def test_another_account_is_asked_at_once_when_one_has_used_up_its_day():
    desk = Desk(Refusal(429, 3036), vectors(0.5), accounts=2)
    await desk.ask()
    assert [account for account, *_ in desk.world.script.sent] == ["one", "two"]
    assert desk.outcome.account == "account-2"
    assert desk.world.slept == []


async def test_the_last_failure_is_told_and_costs_nothing():
    desk = Desk(Refusal(429, 3036))
    with pytest.raises(QuotaExhausted):
        await desk.ask()
    assert desk.ledger.settled == [(None, None)]
    outcome = desk.outcome
    assert (outcome.status, outcome.ending, outcome.upstream_code) == (429, "failed", 3036)
    assert (outcome.upstream_attempts, outcome.usage) == ((429,), None)


async def test_one_failing_call_ends_the_others():
    never = asyncio.Event()
    hanging = Stream([never], kind="application/json")
    desk = Desk(vectors(*([1.0] * 100)), hanging, Refusal(400, 5006, "AiError: Bad input"))
    with pytest.raises(BadRequest):
        await desk.ask(input=["x"] * 250)
    assert all(body.closed for body in desk.world.script.bodies)
    ((usage, _),) = desk.ledger.settled
    # What was answered, and what was under way when it was given up; not what was refused.
    assert (usage.prompt_tokens, usage.source) == (200, "estimated")
    assert desk.outcome.ending == "failed"


async def test_an_answer_that_cannot_be_understood_is_charged_all_the_same():
    desk = Desk(json_answer({"result": {"response": "I will not say."}, "success": True}))
    with pytest.raises(UpstreamBroken):
        await desk.ask(MODERATIONS, model=None)
    assert desk.ledger.settled[0][0].prompt_tokens > 0
    assert (desk.outcome.status, desk.outcome.ending) == (502, "failed")


async def test_what_is_not_json_is_handed_on_as_bytes():
    desk = Desk(Stream([b"\xff\xfb", b"\x01"], kind="audio/mpeg"))
    run = desk.run()
    seen = []

    class Sound(EmbeddingsDialect):
        def read(self, request, model, answers):
            seen.extend(answers)
            raise UpstreamBroken

    run._dialect = Sound()
    with pytest.raises(UpstreamBroken):
        await run.answer(b'{"model": "bge-m3", "input": "x"}')
    ((given,),) = [seen]
    assert (given.content_type, given.body, given.result) == ("audio/mpeg", b"\xff\xfb\x01", None)


async def test_the_upstreams_complaint_names_the_clients_field():
    text = "AiError: Bad input: Error: oneOf at '/' not met: Type mismatch of '/text/3', 'integer' not in 'string'"
    desk = Desk(Refusal(400, 5006, text))
    with pytest.raises(BadRequest) as refused:
        await desk.ask()
    assert refused.value.param == "input"
    desk = Desk(Refusal(400, 8007, "700 tokens exceed the model's maximum context length of 512"))
    with pytest.raises(BadRequest) as refused:
        await desk.ask(MODERATIONS, model=None)
    assert (refused.value.param, refused.value.code) == ("input", "context_length_exceeded")


async def test_a_field_that_only_the_upstream_knows_is_not_named():
    text = "AiError: Bad input: Error: Type mismatch of '/secret', 'integer' not in 'string'"
    with pytest.raises(BadRequest) as refused:
        await Desk(Refusal(400, 5006, text)).ask()
    assert refused.value.param is None


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"model": "no-such-model"}, NotFound, "model"),
        ({"model": "gpt-oss-20b"}, NotFound, "model"),
        ({"input": []}, BadRequest, "input"),
        ({"dimensions": 7}, BadRequest, "dimensions"),
    ],
)
async def test_what_cannot_be_served_reaches_nobody(fields, error, param):
    desk = Desk()
    with pytest.raises(error) as refused:
        await desk.ask(**fields)
    assert refused.value.param == param
    assert desk.world.script.sent == desk.ledger.admitted == desk.ledger.settled == []
    assert desk.outcome.ending == "refused"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(raw):
    with pytest.raises(BadRequest):
        await Desk().run().answer(raw)


async def test_a_model_that_is_newer_than_the_catalogue_is_taken_to_do_what_is_asked():
    desk = Desk(vectors(0.5))
    run, _ = await desk.ask(model="@cf/some/new-embedding")
    assert run.headers["x-flarelay-model"] == "@cf/some/new-embedding"


async def test_a_stand_in_serves_under_the_name_that_was_asked_for():
    desk = Desk(json_answer({"result": {"response": "safe"}, "success": True}))
    run, reply = await desk.ask(MODERATIONS, model="omni-moderation-latest")
    assert decode(reply.body)["model"] == "omni-moderation-latest"
    assert run.headers["x-flarelay-model"] == "@cf/meta/llama-guard-3-8b"
    with pytest.raises(NotFound):
        await Desk().ask(MODERATIONS, model="omni-something-else")


async def test_a_key_uses_its_own_models_only():
    allowed = Caller("key-1", "one", models=("bge-m3",))
    await Desk(vectors(0.5)).ask(caller=allowed)
    desk = Desk()
    with pytest.raises(Forbidden) as refused:
        await desk.ask(caller=allowed, model="bge-small-en-v1.5")
    assert refused.value.code == "model_not_found"
    assert desk.world.script.sent == []


@pytest.mark.parametrize("refusal", [RateLimited(), Overloaded()])
async def test_what_is_not_admitted_is_not_sent_and_the_account_gets_its_neurons_back(refusal):
    class Hold:
        settled = None

        def settle(self, tokens, spent):
            self.settled = (tokens, spent)

    class Quota:
        hold = Hold()

        async def admit(self, estimate):
            return self.hold

    desk = Desk(refusal=refusal, quota=Quota())
    with pytest.raises(type(refusal)):
        await desk.ask()
    assert Quota.hold.settled == (0, 0)
    assert desk.world.script.sent == desk.ledger.settled == []
    assert desk.outcome.ending == "refused"


async def test_a_client_that_leaves_is_charged_for_what_is_under_way():
    desk = Desk(Stream([asyncio.Event()], kind="application/json"))
    run = desk.run()
    task = asyncio.create_task(run.answer(encode({"model": "bge-m3", "input": "seven!!"})))
    while not desk.world.script.bodies:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    run.leave()
    await run.settle()
    assert desk.world.script.bodies[0].closed
    ((usage, _),) = desk.ledger.settled
    assert (usage.prompt_tokens, usage.source) == (2, "estimated")
    assert (desk.outcome.status, desk.outcome.ending, desk.outcome.error_code) == (499, "disconnected", None)


async def test_the_accounts_limits_are_waited_for_before_every_call():
    class Guard:
        entered = 0

        async def enter(self, caller_id, model):
            Guard.entered += 1

    safe = [json_answer({"result": {"response": "safe"}, "success": True}) for _ in range(3)]
    await Desk(*safe, guards=(Guard(),)).ask(MODERATIONS, model=None, input=["x"] * 3)
    assert Guard.entered == 3


async def test_the_total_time_bounds_the_wait_for_a_turn():
    class Full:
        async def enter(self, caller_id, model):
            await asyncio.Event().wait()

    desk = Desk(guards=(Full(),), total_seconds=0.01)
    with pytest.raises(UpstreamTimeout) as refused:
        await desk.ask()
    assert refused.value.code == "total_timeout"
    assert desk.world.script.sent == []


async def test_a_strict_proxy_refuses_what_it_would_drop():
    desk = Desk(strict=True)
    run = desk.run()
    surface = run._surface

    class Dropping:
        name, main_field, form = surface.name, surface.main_field, None
        answer, stand_in = surface.answer, surface.stand_in

        def read(self, body):
            return replace(surface.read(body), dropped=("sparkle",))

    run._surface = Dropping()
    with pytest.raises(BadRequest) as refused:
        await run.answer(b'{"model": "bge-m3", "input": "x"}')
    assert (refused.value.param, refused.value.code) == ("sparkle", "unsupported_parameter")
    assert run.headers["x-flarelay-dropped"] == "sparkle"

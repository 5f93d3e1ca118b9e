"""The account's limits: neurons per UTC day, requests per minute, models of the paid plan."""

import contextlib
from datetime import UTC, datetime

import httpx
import pytest

from app.emulator.account import PER_MINUTE
from app.emulator.server import create_emulator

ACCOUNT = "0123456789abcdef0123456789abcdef"
GPT = "@cf/openai/gpt-oss-20b"
BIG = "@cf/openai/gpt-oss-120b"
PAID = "@cf/zai-org/glm-5.2"
BGE = "@cf/baai/bge-m3"
MIDNIGHT = datetime(2026, 9, 29, tzinfo=UTC).timestamp()


class Clock:
    """A clock turned by hand."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


class Client(httpx.AsyncClient):
    async def ask(self, model=GPT, account=ACCOUNT, **more):
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
        return await self.post(f"/client/v4/accounts/{account}/ai/v1/chat/completions", json=body)

    async def code(self, *args, **more):
        answer = await self.ask(*args, **more)
        return 200 if answer.status_code == 200 else answer.json()["errors"][0]["code"]

    async def account(self):
        return (await self.get("/_emulator/account")).json()


@contextlib.asynccontextmanager
async def emulated(**options):
    transport = httpx.ASGITransport(create_emulator(**options))
    async with Client(transport=transport, base_url="http://emulator", headers={"authorization": "Bearer x"}) as client:
        yield client


async def test_nothing_is_refused_unless_asked_for_and_all_is_counted():
    async with emulated() as client:
        cost = sum([(await client.ask(model)).json()["usage"]["neurons"] for model in (GPT, GPT, PAID)])
        shown = await client.account()
    assert (shown["plan"], shown["per_minute"], shown["neurons_per_day"]) == (None, {}, None)
    assert shown["requests"] == 3
    assert shown["neurons"] == pytest.approx(cost, abs=1e-3)
    assert shown["refused"] == {"3021": 0, "3036": 0, "3040": 0, "5035": 0}
    models = shown["accounts"][ACCOUNT]["models"]
    assert {name: row["requests"] for name, row in models.items()} == {GPT: 2, PAID: 1}


async def test_neurons_are_counted_by_the_published_prices():
    async with emulated() as client:
        usage = (await client.ask(BIG)).json()["usage"]
        (record,) = (await client.get("/_emulator/requests")).json()
        told = (usage["prompt_tokens"] * 31818 + usage["completion_tokens"] * 68182) / 1e6
        assert usage["neurons"] == pytest.approx(told, abs=1e-3)
        assert record["neurons"] == usage["neurons"]
        assert (await client.account())["neurons"] == pytest.approx(told, abs=1e-3)


async def test_cached_tokens_are_cheaper_where_they_have_a_price():
    async with emulated() as client:
        body = {"model": PAID, "messages": [{"role": "user", "content": "word " * 200}], "max_tokens": 5}
        url = f"/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions"
        first, second = [
            (await client.post(url, json=body, headers={"x-session-affinity": "s"})).json()["usage"] for _ in range(2)
        ]
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert cached > 100
    assert first["neurons"] - second["neurons"] == pytest.approx(cached * (1.4 - 0.26) / 1e6 / 0.000011, abs=1e-3)


async def test_the_free_plan_stops_at_its_allowance_until_midnight_utc():
    clock = Clock(MIDNIGHT - 1)
    async with emulated(plan="free", neurons_per_day=5, clock=clock) as client:
        answered = 0
        while (code := await client.code()) == 200:
            answered += 1
            assert answered < 50
        assert code == 3036
        refused = await client.ask()
        assert refused.status_code == 429
        assert "retry-after" not in refused.headers
        assert "daily free allocation of 5 neurons" in refused.json()["errors"][0]["message"]
        shown = await client.account()
        assert shown["day"] == "2026-09-28"
        assert shown["neurons"] >= 5
        assert shown["requests"] == answered > 1
        assert shown["refused"]["3036"] == 2
        assert shown["accounts"][ACCOUNT]["neurons_left"] == 0.0
        # Other accounts have an allowance of their own.
        assert await client.code(GPT, "f" * 32) == 200
        clock.now = MIDNIGHT
        assert await client.code() == 200
        shown = await client.account()
        assert (shown["day"], shown["accounts"][ACCOUNT]["requests"]) == ("2026-09-29", 1)
        assert shown["accounts"][ACCOUNT]["days"]["2026-09-28"]["requests"] == answered


async def test_the_free_plan_does_not_have_the_models_of_the_paid_one():
    async with emulated(plan="free") as client:
        refused = await client.ask(PAID)
        assert (refused.status_code, refused.json()["result"]) == (403, {})
        assert refused.json()["errors"][0]["code"] == 5035
        assert await client.code(GPT) == 200
        shown = await client.account()
        assert (shown["requests"], shown["refused"]["5035"], shown["neurons_per_day"]) == (1, 1, 10_000)


async def test_the_paid_plan_counts_what_goes_past_the_allowance():
    async with emulated(plan="paid", neurons_per_day=0) as client:
        assert await client.code(PAID) == 200
        row = (await client.account())["accounts"][ACCOUNT]
        assert row["overage_neurons"] == row["neurons"] > 0
        assert row["overage_usd"] == pytest.approx(row["neurons"] * 0.000011, abs=1e-6)


async def test_the_minute_slides():
    clock = Clock(MIDNIGHT + 50)
    async with emulated(rate_limits={GPT: 3}, clock=clock) as client:
        codes = []
        # A minute that began at every full one would let the fourth through.
        for moment in (50, 55, 59, 61, 109.9, 110, 111, 114.9, 115):
            clock.now = MIDNIGHT + moment
            codes.append(await client.code())
        assert codes == [200, 200, 200, 3021, 3021, 200, 3021, 3021, 200]
        refused = await client.ask()
        assert (refused.status_code, "retry-after" in refused.headers) == (429, False)
        assert (
            refused.json()["errors"][0]["message"] == "AiError: rate limiting: inference request per min rate reached"
        )
        shown = await client.account()
        assert (shown["requests"], shown["refused"]["3021"]) == (5, 5)
        assert shown["accounts"][ACCOUNT]["models"][GPT]["last_minute"] == 3


async def test_cloudflares_requests_per_minute():
    clock = Clock(MIDNIGHT)
    async with emulated(rate_limits=True, clock=clock) as client:
        assert (await client.account())["per_minute"] == PER_MINUTE
        assert [await client.code(PAID) for _ in range(21)] == [200] * 20 + [3021]
        # Each model and each account has its own.
        assert await client.code("@cf/zai-org/glm-5.3") == 200
        assert await client.code(PAID, "f" * 32) == 200
        assert [await client.code(GPT) for _ in range(301)] == [200] * 300 + [3021]


async def test_an_alias_shares_the_limit_of_its_model():
    async with emulated(rate_limits={"paid_only": 2}) as client:
        models = ("@cf/moonshotai/kimi-k2.5", "@cf/moonshotai/kimi-k2.6", "@cf/moonshotai/kimi-k2.5")
        assert [await client.code(model) for model in models] == [200, 200, 3021]


async def test_ready_failures_and_listings_are_not_counted_and_broken_bodies_are():
    async with emulated(rate_limits={"Text Generation": 1}) as client:
        assert await client.code("@cf/emulator/engine-error") == 8005
        await client.get(f"/client/v4/accounts/{ACCOUNT}/ai/models/search")
        assert (await client.account())["requests"] == 0
        assert await client.code(GPT, max_tokens="many") == 5006
        assert await client.code(GPT) == 3021
        assert (await client.account())["neurons"] == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"run/{BGE}", {"text": "some words to embed"}),
        ("v1/embeddings", {"model": BGE, "input": "some words to embed"}),
        ("run/@cf/deepgram/aura-1", {"text": "some words to say"}),
        ("run/@cf/black-forest-labs/flux-1-schnell", {"prompt": "a cup"}),
        ("run/@cf/openai/whisper-large-v3-turbo", {"audio": "UklGRg=="}),
        ("run/@cf/meta/m2m100-1.2b", {"text": "Hello", "target_lang": "fr"}),
        ("run/@cf/microsoft/resnet-50", {"image": [1, 2, 3]}),
    ],
)
async def test_other_tasks_cost_something_too(path, body):
    async with emulated() as client:
        answer = await client.post(f"/client/v4/accounts/{ACCOUNT}/ai/{path}", json=body)
        assert answer.status_code == 200
        assert (await client.account())["neurons"] > 0


async def test_a_batch_is_paid_once():
    async with emulated() as client:
        url = f"/client/v4/accounts/{ACCOUNT}/ai/run/{BIG}"
        items = {"requests": [{"input": "Hi"}, {"input": "Ho"}]}
        key = (await client.post(f"{url}?queueRequest=true", json=items)).json()["result"]["request_id"]
        spent = []
        for _ in range(3):
            await client.post(f"{url}?queueRequest=true", json={"request_id": key})
            spent.append((await client.account())["neurons"])
    assert spent[0] == 0
    assert spent[1] == spent[2] > 1


async def test_counting_can_begin_anew():
    async with emulated(plan="free", neurons_per_day=0.01) as client:
        assert [await client.code(), await client.code()] == [200, 3036]
        assert (await client.delete("/_emulator/account")).status_code == 204
        assert await client.code() == 200


@pytest.mark.parametrize(
    "options",
    [
        {"plan": "gold"},
        {"neurons_per_day": 5},
        {"plan": "free", "neurons_per_day": -1},
        {"rate_limits": {"Text Generatoin": 5}},
        {"rate_limits": {GPT: 0}},
        {"capacity": 0},
        {"chaos": 1.5},
        {"chaos": 0.5, "chaos_pause": -1},
    ],
)
def test_limits_that_make_no_sense_are_errors(options):
    with pytest.raises(ValueError, match=r"."):
        create_emulator(**options)

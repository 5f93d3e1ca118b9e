"""A model that serves few at a time: who waits, who is refused, and that every place is given back."""

import asyncio
import contextlib

import httpx
import pytest

from app.emulator.capacity import Capacity
from app.emulator.errors import CloudflareError
from app.emulator.server import create_emulator
from tests.serving import serving

ACCOUNT = "0123456789abcdef0123456789abcdef"
CHAT = f"/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions"
RUN = f"/client/v4/accounts/{ACCOUNT}/ai/run"
GPT = "@cf/openai/gpt-oss-20b"
OTHER = "@cf/meta/llama-3.1-8b-instruct-fp8"
IMPATIENT = {"options": {"rejectIfBusy": True}}


def body(model=GPT, **more):
    return {"model": model, "messages": [{"role": "user", "content": "count to 9"}], **more}


@pytest.fixture(scope="module")
def address():
    with serving(create_emulator(capacity=1)) as made:
        yield made


@pytest.fixture
async def client(address):
    async with httpx.AsyncClient(base_url=address, headers={"authorization": "Bearer x"}, trust_env=False) as made:
        await made.delete("/_emulator/account")
        yield made


async def until_model_is(client, running, queued, model=GPT):
    async with asyncio.timeout(5):
        while True:
            models = (await client.get("/_emulator/account")).json()["capacity"]["models"]
            shown = models.get(model, {"running": 0, "queued": 0})
            if (shown["running"], shown["queued"]) == (running, queued):
                return
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def occupied(client):
    """The model's only place, taken by a stream that stands still."""
    fault = {"x-emulator-fault": "stall"}
    async with client.stream("POST", CHAT, json=body(stream=True), headers=fault) as answer:
        pieces = answer.aiter_raw()  # kept: a reader that is thrown away closes its answer
        await anext(pieces)
        yield


async def test_who_will_not_wait_is_refused_and_who_will_is_served_later(client):
    async with occupied(client):
        refused = await client.post(CHAT, json=body(**IMPATIENT))
        assert refused.status_code == 429
        assert refused.json()["errors"][0]["code"] == 3040
        native = await client.post(f"{RUN}/{GPT}", json={"prompt": "Hi", **IMPATIENT})
        assert native.json()["errors"][0]["code"] == 3040
        inner = await client.post(RUN, json={"model": GPT, "input": {"prompt": "Hi", **IMPATIENT}})
        assert inner.json()["errors"][0]["code"] == 3040
        # Another model has places of its own.
        assert (await client.post(CHAT, json=body(OTHER, **IMPATIENT))).status_code == 200
        waiting = asyncio.create_task(client.post(CHAT, json=body()))
        await until_model_is(client, 1, 1)
    assert (await waiting).status_code == 200
    await until_model_is(client, 0, 0)
    assert (await client.post(CHAT, json=body(**IMPATIENT))).status_code == 200
    shown = (await client.get("/_emulator/account")).json()
    assert shown["refused"]["3040"] == 3
    assert shown["capacity"]["most"] == 1
    assert shown["capacity"]["models"][GPT]["peak"] == 1


async def test_the_queue_is_served_in_the_order_of_arrival(client):
    order = []

    async def one(number):
        answer = await client.post(CHAT, json=body())
        assert answer.status_code == 200
        order.append(number)

    async with occupied(client):
        waiting = []
        for number in range(4):
            waiting.append(asyncio.create_task(one(number)))
            await until_model_is(client, 1, number + 1)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3]


async def test_who_leaves_the_queue_leaves_no_gap(client):
    async with occupied(client):
        with pytest.raises(httpx.ReadTimeout):
            await client.post(CHAT, json=body(), timeout=0.1)
        await until_model_is(client, 1, 0)
        waiting = asyncio.create_task(client.post(CHAT, json=body()))
        await until_model_is(client, 1, 1)
    assert (await waiting).status_code == 200
    await until_model_is(client, 0, 0)


@pytest.mark.parametrize("fault", ["reset", "closed", "cut", "reset-mid-stream", "html-502"])
async def test_a_broken_answer_gives_its_place_back(client, fault):
    with contextlib.suppress(httpx.TransportError):
        await client.post(CHAT, json=body(stream=True), headers={"x-emulator-fault": fault})
    await until_model_is(client, 0, 0)


async def test_a_refused_body_gives_its_place_back(client):
    assert (await client.post(CHAT, json=body(max_tokens="many"))).status_code == 400
    await until_model_is(client, 0, 0)


async def test_without_a_bound_the_peak_is_still_told():
    transport = httpx.ASGITransport(create_emulator())
    async with httpx.AsyncClient(
        transport=transport, base_url="http://emulator", headers={"authorization": "Bearer x"}
    ) as client:
        fault = {"x-emulator-fault": "slow-first:0.05"}
        await asyncio.gather(*(client.post(CHAT, json=body(**IMPATIENT), headers=fault) for _ in range(3)))
        shown = (await client.get("/_emulator/account")).json()["capacity"]
    assert shown == {"most": None, "models": {GPT: {"running": 0, "queued": 0, "peak": 3}}}


async def test_places_are_given_back_once():
    capacity = Capacity(1)
    first = capacity.enter("m", reject_if_busy=False)
    second = capacity.enter("m", reject_if_busy=False)
    third = capacity.enter("m", reject_if_busy=False)
    with pytest.raises(CloudflareError):
        capacity.enter("m", reject_if_busy=True)
    third.leave()
    assert [first.served, second.served, third.served] == [True, False, False]
    first.leave()
    first.leave()
    assert second.served
    assert capacity.shown()["models"]["m"] == {"running": 1, "queued": 0, "peak": 1}

"""Faults by chance: the same under the same seed, bounded, and never a silent change of a text."""

import asyncio
from collections import Counter

import httpx
import orjson
import pytest

from app.emulator.chaos import KINDS, Chaos
from app.emulator.server import create_emulator
from tests.serving import serving

ACCOUNT = "0123456789abcdef0123456789abcdef"
AI = f"/client/v4/accounts/{ACCOUNT}/ai"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"
GPT = "@cf/openai/gpt-oss-20b"
TEXT = "naïve 日本 😀 done"


def kinds(chaos, number):
    fates = [chaos.fate(place) for place in range(1, number + 1)]
    return [fate and fate.kind for fate in fates]


def test_a_seed_has_its_fates_whatever_else_happens():
    one, other = Chaos(0.3, 7), Chaos(0.3, 7)
    in_order = [one.fate(number) for number in range(1, 200)]
    backwards = [other.fate(number) for number in range(199, 0, -1)]
    assert in_order == backwards[::-1]
    assert [one.next_fate() for _ in range(199)] == in_order
    assert kinds(Chaos(0.3, 8), 199) != kinds(one, 199)


def test_every_kind_occurs_as_often_as_told():
    met = Counter(kinds(Chaos(0.05, 7), 20_000))
    assert 900 < 20_000 - met[None] < 1100
    assert set(met) == {None, *KINDS}
    assert all(80 < met[kind] < 170 for kind in KINDS)
    assert Counter(kinds(Chaos(1.0, 7), 100))[None] == 0


def test_pauses_are_bounded():
    fates = [Chaos(1.0, 7, 0.2).fate(number) for number in range(1, 2000)]
    assert all(0 <= fate.scenario.first_byte <= 0.2 for fate in fates)
    assert all(0 <= fate.scenario.seconds <= 0.2 for fate in fates)
    assert max(fate.scenario.first_byte for fate in fates) > 0.19
    assert max(fate.scenario.seconds for fate in fates) > 0.19


def said(text):
    """Read a stream as a careful reader does: the text, and whether it is whole."""
    pieces, done = [], False
    for block in text.split("\n\n"):
        data = block.removeprefix("data: ")
        if data == "[DONE]":
            done = True
        elif block.startswith("data: "):
            try:
                frame = orjson.loads(data)
            except orjson.JSONDecodeError:
                continue
            pieces += [choice["delta"].get("content") or "" for choice in frame["choices"]]
    return "".join(pieces), done


async def play(client, model, number):
    """Ask once; return the text of a whole answer, or the name of what went wrong."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": f"Say exactly: {TEXT} {number}"}]}
    try:
        answer = await client.post(f"{AI}/v1/chat/completions", json=body)
    except httpx.TransportError as error:
        return type(error).__name__
    if answer.status_code != 200:
        return answer.status_code
    text, done = said(answer.content.decode("utf-8", "replace"))
    assert done or "[DONE]" not in answer.text
    # What is cut is a beginning of the text, never anything else.
    assert f"{TEXT} {number}".startswith(text)
    return text if done else "cut"


def chaotic(seed, **more):
    return serving(create_emulator(chaos=0.6, seed=seed, chaos_pause=0.02, **more))


def client_of(address):
    return httpx.AsyncClient(base_url=address, headers={"authorization": "Bearer x"}, trust_env=False, timeout=10)


@pytest.fixture(scope="module")
def twice():
    async def run(address):
        async with client_of(address) as client:
            outcomes = [await play(client, LLAMA, number) for number in range(80)]
            return outcomes, (await client.get("/_emulator/requests")).json(), await shown(client)

    played = []
    for _ in range(2):
        with chaotic(7) as address:
            played.append(asyncio.run(run(address)))
    return played


async def shown(client):
    return (await client.get("/_emulator/chaos")).json()


def test_two_runs_under_one_seed_go_the_same_way(twice):
    (first, _, _), (second, _, _) = twice
    assert first == second


def test_no_answer_that_looks_whole_is_not(twice):
    (outcomes, records, _), _ = twice
    whole = {place for place, outcome in enumerate(outcomes) if outcome == f"{TEXT} {place}"}
    harmless = {None, "delay", "stall", "split", "duplicate", "garbage"}
    assert whole == {place for place, record in enumerate(records) if record["chaos"] in harmless}
    assert 10 < len(whole) < 70


def test_the_control_plane_tells_how_often_each_happened(twice):
    (_, records, told), _ = twice
    met = Counter(record["chaos"] for record in records if record["chaos"])
    assert told["faults"] == {kind: met[kind] for kind in KINDS}
    assert all(told["faults"].values())
    assert (told["requests"], told["probability"], told["seed"], told["longest_pause"]) == (80, 0.6, 7, 0.02)


async def test_side_by_side_as_many_meet_each_fate_as_one_after_the_other(twice):
    (_, _, told), _ = twice
    with chaotic(7) as address:
        async with client_of(address) as client:
            await asyncio.gather(*(play(client, LLAMA, number) for number in range(80)))
            assert (await shown(client))["faults"] == told["faults"]


async def test_listings_are_neither_counted_nor_harmed():
    with serving(create_emulator(chaos=1.0, seed=3)) as address:
        async with client_of(address) as client:
            for _ in range(5):
                assert (await client.get(f"{AI}/models/search")).status_code == 200
            assert (await shown(client))["requests"] == 0


async def test_who_asks_for_a_fault_gets_that_one():
    with serving(create_emulator(chaos=1.0, seed=3)) as address:
        async with client_of(address) as client:
            body = {"messages": [{"role": "user", "content": "Hi"}]}
            url = f"{AI}/v1/chat/completions"
            asked = {"x-emulator-fault": "quota"}
            assert (await client.post(url, json={"model": GPT, **body}, headers=asked)).status_code == 429
            assert (await client.post(url, json={"model": "@cf/emulator/plain", **body})).status_code == 200
            told = await shown(client)
    assert told["requests"] == 2
    assert sum(told["faults"].values()) == 0


async def test_what_the_account_refuses_has_met_no_fault():
    app = create_emulator(chaos=1.0, seed=3, chaos_pause=0.0, rate_limits={"Text Generation": 1})
    with serving(app) as address:
        async with client_of(address) as client:
            outcomes = [await play(client, LLAMA, number) for number in range(20)]
            records = (await client.get("/_emulator/requests")).json()
            told = await shown(client)
            account = (await client.get("/_emulator/account")).json()
    refused = account["refused"]["3021"]
    assert refused > 10
    assert len([record for record in records if record["chaos"] is None]) == refused
    assert sum(told["faults"].values()) == 20 - refused
    assert outcomes.count(429) >= refused


async def test_every_kind_can_meet_every_endpoint():
    async def one(client, path, body):
        try:
            answer = await client.post(f"{AI}/{path}", json=body)
        except httpx.TransportError:
            return
        assert answer.status_code in {200, 408, 429, 500, 502, 503, 520}

    user = [{"role": "user", "content": "Hi"}]
    with serving(create_emulator(chaos=1.0, seed=5, chaos_pause=0.005)) as address:
        async with client_of(address) as client:
            for _ in range(40):
                await one(client, "v1/chat/completions", {"model": GPT, "messages": user})
                await one(client, "v1/responses", {"model": GPT, "input": "Hi"})
                await one(client, "v1/embeddings", {"model": "@cf/baai/bge-m3", "input": "Hi"})
                await one(client, f"run/{LLAMA}", {"messages": user, "stream": True})
                await one(client, "run/@cf/deepgram/aura-1", {"text": "Hi"})
            told = await shown(client)
    assert sum(told["faults"].values()) == told["requests"] == 200
    assert all(told["faults"].values())


async def test_without_chaos_there_is_nothing_to_tell(client):
    assert (await client.get("/_emulator/chaos")).status_code == 404

"""The table of scenarios: complete, documented, and playable on every endpoint."""

import math
import re
from pathlib import Path

import orjson
import pytest

from app.emulator import server, vectors
from app.emulator.faults import ANY_STATUS
from app.emulator.scenarios import SCENARIOS

EVERY = [
    "args-before-name", "capacity", "comments", "crlf", "cut", "cut-clean", "double-encoded-args",
    "duplicate-tool-ids", "empty-429", "empty-tool-calls", "error-1015", "error-first-frame", "error-mid-stream",
    "error-mid-stream-object", "error-string", "forbidden", "garbage-frame", "gateway-error", "hang", "html-502",
    "html-524", "json-empty-for-stream", "json-error-for-stream", "json-for-stream", "leaked-tool-call", "no-done",
    "no-space-data", "no-usage", "null-finaliser", "null-usage", "number-tokens", "object-args", "paid-only", "quota",
    "quota-old", "rate-limited", "slow", "slow-first", "split", "stall", "think-no-open", "think-tag", "unauthorized",
    "xml-tool-call", "zero-usage",
]  # fmt: skip
# Played over real sockets in test_connection.py and test_faults.py.
BREAKING = {
    "closed", "cut", "cut-first", "cut-frame", "hang", "length-long", "reset", "reset-first", "reset-mid-stream",
    "stall", "stall-first",
}  # fmt: skip
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City"}},
            "required": ["city"],
        },
    },
}


def test_every_promised_scenario_exists():
    assert set(EVERY) <= set(SCENARIOS)
    assert all(scenario.about and scenario.stands_for for scenario in SCENARIOS.values())


async def test_the_table_is_served(client):
    table = (await client.get("/_emulator/scenarios")).json()
    assert [row["name"] for row in table] == list(SCENARIOS)


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - BREAKING))
async def test_each_is_playable_on_each_endpoint(client, ai, name):
    model = f"@cf/emulator/{name}"
    scenario = SCENARIOS[name]
    if scenario.first_byte or scenario.seconds:
        model += ":0" if name == "drip" else ":0.001"
    user = {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}
    answers = [
        await client.chat(model, user),
        await client.chat(model, {**user, "stream": True, "tools": [WEATHER]}),
        await client.run(model, user),
        await client.run(model, {**user, "stream": True, "tools": [WEATHER]}),
        await client.run(model, {"prompt": "Hi"}),
        await client.post(f"{ai}/v1/responses", json={"model": model, "input": "Hi"}),
        await client.post(f"{ai}/v1/embeddings", json={"model": model, "input": "Hi"}),
    ]
    expected = scenario.canned.status if scenario.canned else 200
    assert {answer.status_code for answer in answers} == {expected}
    assert all(answer.headers["cf-ray"] for answer in answers)
    if scenario.canned:
        assert {answer.content for answer in answers} == {scenario.canned.body}


def test_paces_are_set_for_what_waits():
    assert math.isinf(SCENARIOS["hang"].first_byte)
    assert SCENARIOS["slow"].seconds > 0


async def calls_in(client, frames, name, text="What is the weather in Oslo?"):
    body = {"messages": [{"role": "user", "content": text}], "tools": [WEATHER], "stream": True}
    *chunks, _ = frames(await client.chat(f"@cf/emulator/{name}", body))
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or []]
    text = "".join(str(delta["content"]) for delta in deltas if delta.get("content") is not None)
    finishes = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    return calls, text, finishes[-1]


async def test_tool_scenarios(client, frames):
    calls, _, _ = await calls_in(client, frames, "object-args")
    assert calls[0]["function"]["arguments"] == {"city": "Oslo"}
    calls, _, _ = await calls_in(client, frames, "double-encoded-args")
    twice = "".join(call["function"]["arguments"] for call in calls)
    assert orjson.loads(orjson.loads(twice)) == {"city": "Oslo"}
    calls, _, _ = await calls_in(client, frames, "args-before-name")
    assert "name" not in calls[0]["function"]
    calls, _, _ = await calls_in(client, frames, "null-finaliser")
    assert calls[-1]["function"] == {"name": None, "arguments": ""}
    calls, text, finish = await calls_in(client, frames, "leaked-tool-call")
    assert (calls, finish) == ([], "stop")
    assert orjson.loads(text) == {"name": "get_weather", "arguments": {"city": "Oslo"}}
    _, text, _ = await calls_in(client, frames, "xml-tool-call")
    assert text.startswith("<tool_call>")
    calls, _, finish = await calls_in(client, frames, "empty-tool-calls", "Hello")
    assert (calls, finish) == ([], "tool_calls")
    _, _, finish = await calls_in(client, frames, "stop-with-tool-calls")
    assert finish == "stop"


async def test_duplicate_ids(client):
    other = {"type": "function", "function": {**WEATHER["function"], "name": "get_time"}}
    body = {
        "messages": [{"role": "user", "content": "get_weather and get_time"}],
        "tools": [WEATHER, other],
    }
    message = (await client.chat("@cf/emulator/duplicate-tool-ids", body)).json()["choices"][0]["message"]
    assert len(message["tool_calls"]) == 2
    assert len({call["id"] for call in message["tool_calls"]}) == 1


async def test_usage_scenarios(client, frames):
    seen = {}
    for name in ("null-usage", "no-usage", "zero-usage", "delta-usage-only"):
        *chunks, _ = frames(await client.say(f"@cf/emulator/{name}", "Hi", stream=True))
        seen[name] = chunks[-1].get("usage", "absent")
        body = (await client.say(f"@cf/emulator/{name}", "Hi")).json()
        if name != "delta-usage-only":
            assert body.get("usage", "absent") == seen[name]
    assert seen["null-usage"] is None
    assert seen["no-usage"] == "absent"
    assert seen["zero-usage"]["total_tokens"] == 0
    assert seen["delta-usage-only"] == "absent"


async def test_traits_of_a_fault_reach_any_model(client, frames):
    await client.fault("number-tokens")
    *chunks, _ = frames(await client.say("@cf/meta/llama-3.1-8b-instruct-fp8", "Say exactly: 7", stream=True))
    assert chunks[0]["choices"][0]["delta"]["content"] == 7


async def test_html_pages_are_html(client):
    for name in ("html-502", "html-524", "error-1015"):
        answer = await client.say(f"@cf/emulator/{name}", "Hi")
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.text.startswith("<!DOCTYPE html>")


async def test_gateway_error_is_a_singular_array(client):
    body = (await client.say("@cf/emulator/gateway-error", "Hi")).json()
    assert body["error"][0]["code"] == 2001
    assert "errors" not in body


def test_the_quirks_page_names_every_quirk_and_no_unknown_scenario():
    page = Path(server.__file__).with_name("QUIRKS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| Q(\d+) \|", page, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 62)]
    assert set(re.findall(r"@cf/emulator/([a-z0-9-]+)", page)) <= set(SCENARIOS)
    table = [line for line in page.split("## Scenarios")[1].splitlines() if line.startswith("| `")]
    assert table == [f"| `{one.name}` | {one.about} | {one.stands_for} |" for one in SCENARIOS.values()]


def test_the_table_of_vectors_is_the_pages_and_names_every_fault():
    page = Path(server.__file__).with_name("QUIRKS.md").read_text(encoding="utf-8")
    table = page.split("## Vectors")[1].split("## Scenarios")[0]
    assert [line for line in table.splitlines() if line.startswith("|")] == vectors.page()
    named = {name for one in vectors.VECTORS for name in one.names}
    assert named == {*SCENARIOS, ANY_STATUS}
    assert all(one.names or one.otherwise for one in vectors.VECTORS)


async def test_the_table_of_vectors_is_served(client):
    rows = (await client.get("/_emulator/vectors")).json()
    assert [row["vector"] for row in rows] == [one.vector for one in vectors.VECTORS]
    assert {name for row in rows for name in row["names"]} == {*SCENARIOS, ANY_STATUS}

"""Tool definitions, choices and calls."""

import orjson
import pytest

GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
SCOUT = "@cf/meta/llama-4-scout-17b-16e-instruct"
GLM = "@cf/zai-org/glm-5.2"


def function(name, **properties):
    properties = properties or {"city": {"type": "string", "description": "City"}}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": f"The {name} tool", "parameters": parameters}


def tool(name, **properties):
    return {"type": "function", "function": function(name, **properties)}


WEATHER, CLOCK = tool("get_weather"), tool("get_time", zone={"type": "string", "description": "Zone"})


def ask(text, *tools, **more):
    return {"messages": [{"role": "user", "content": text}], "tools": list(tools), **more}


async def calls_of(answer):
    choice = answer.json()["choices"][0]
    return [(c["function"]["name"], orjson.loads(c["function"]["arguments"])) for c in choice["message"]["tool_calls"]]


async def test_a_needed_tool_is_called_with_words_of_the_prompt(client):
    answer = await client.chat(GPT, ask("What is the weather in Oslo?", WEATHER, CLOCK))
    assert await calls_of(answer) == [("get_weather", {"city": "Oslo"})]
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["id"].startswith("chatcmpl-tool-")


async def test_two_named_tools_give_parallel_calls_unless_forbidden(client):
    body = ask('Use get_time and get_weather for "Lima"', WEATHER, CLOCK)
    assert [name for name, _ in await calls_of(await client.chat(GPT, body))] == ["get_time", "get_weather"]
    one = await client.chat(GLM, {**body, "parallel_tool_calls": False})
    assert [name for name, _ in await calls_of(one)] == ["get_time"]


async def test_dictated_arguments_are_used(client):
    answer = await client.chat(GPT, ask('Call get_weather({"city": "Zürich 🎉"})', WEATHER))
    assert await calls_of(answer) == [("get_weather", {"city": "Zürich 🎉"})]


async def test_no_tool_without_need(client):
    body = ask("Tell me a joke", WEATHER)
    assert await calls_of(await client.chat(GPT, body)) == []
    assert await calls_of(await client.chat(GPT, {**ask("weather in Rome", WEATHER), "tool_choice": "none"})) == []
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        assert len(await calls_of(await client.chat(GPT, {**body, "tool_choice": choice}))) == 1


async def test_result_is_quoted_and_force_loops(client):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "weather in Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"t":4}'},
    ]
    body = {"messages": messages, "tools": [WEATHER]}
    answer = (await client.chat(GPT, body)).json()
    assert answer["choices"][0]["message"]["content"] == 'The tool answered: {"t":4}'
    assert await calls_of(await client.chat(GPT, {**body, "tool_choice": "required"}))


async def test_streamed_call_has_its_name_first_and_the_harmony_stop_reason(client, frames):
    *chunks, _ = frames(await client.chat(GPT, ask("weather in Oslo", WEATHER, stream=True)))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    parts = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert parts[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert all("id" not in part for part in parts[1:])
    assert orjson.loads("".join(part["function"]["arguments"] for part in parts)) == {"city": "Oslo"}
    assert chunks[-3]["choices"][0]["stop_reason"] == 200012
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == ["tool_calls", "tool_calls"]


async def test_native_shapes(client):
    body = ask("weather in Oslo", WEATHER)
    bare = (await client.run(LLAMA, body)).json()["result"]
    assert bare["response"] is None
    assert bare["tool_calls"] == [{"name": "get_weather", "arguments": {"city": "Oslo"}}]
    (scout,) = (await client.run(SCOUT, body)).json()["result"]["tool_calls"]
    assert scout["function"]["arguments"] == {"city": "Oslo"}
    assert scout["id"]


async def test_native_stream_ends_calls_with_a_null_element(client, frames):
    *parts, last, _ = frames(await client.run(LLAMA, ask("weather in Oslo", WEATHER, stream=True)))
    nothing = {"id": None, "type": None, "index": 0, "function": {"name": None, "arguments": ""}}
    assert parts[-1] == {"tool_calls": [nothing]}
    assert last["response"] == ""


async def test_llama_70b_never_calls_on_v1(client):
    assert await calls_of(await client.chat(LLAMA, ask("use get_weather", WEATHER))) == []


async def test_granite_encodes_twice(client):
    answer = await client.chat("@cf/ibm-granite/granite-4.0-h-micro", ask("weather in Oslo", WEATHER))
    ((_, once),) = await calls_of(answer)
    assert orjson.loads(once) == {"city": "Oslo"}


async def test_kimi_ids_repeat_from_turn_to_turn(client):
    body = ask("get_weather and get_time", WEATHER, CLOCK)
    message = (await client.chat("@cf/moonshotai/kimi-k2.6", body)).json()["choices"][0]["message"]
    assert [call["id"] for call in message["tool_calls"]] == ["functions.get_weather:0", "functions.get_time:1"]


async def test_glm_flash_47_sends_arguments_before_the_name(client, frames):
    *chunks, _ = frames(await client.chat("@cf/zai-org/glm-4.7-flash", ask("weather in Oslo", WEATHER, stream=True)))
    parts = [
        chunk["choices"][0]["delta"]["tool_calls"][0]
        for chunk in chunks
        if chunk["choices"] and "tool_calls" in chunk["choices"][0]["delta"]
    ]
    assert "name" not in parts[0]["function"]
    assert orjson.loads("".join(part["function"]["arguments"] for part in parts)) == {"city": "Oslo"}


async def test_gemma_swallows_required_calls_when_unstreamed(client):
    body = {**ask("weather in Oslo", WEATHER), "tool_choice": "required"}
    choice = (await client.chat("@cf/google/gemma-4-26b-a4b-it", body)).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == []
    assert choice["stop_reason"] == 106


async def test_mistral_leaks_tags_in_native_streams(client, frames):
    model = "@cf/mistralai/mistral-small-3.1-24b-instruct"
    *parts, _, _ = frames(await client.run(model, ask("weather in Oslo", WEATHER, stream=True)))
    text = "".join(str(part["response"]) for part in parts)
    assert text == '<tool_call>\n{"name":"get_weather","arguments":{"city":"Oslo"}}\n</tool_call>'
    choice = (await client.chat(model, ask("weather in Oslo", WEATHER))).json()["choices"][0]
    assert (choice["finish_reason"], len(choice["message"]["tool_calls"])) == ("stop", 1)


async def test_budget_cuts_arguments(client):
    body = ask("weather in Oslo", WEATHER, max_tokens=40)
    choice = (await client.chat(GPT, {**body, "reasoning_effort": "low"})).json()["choices"][0]
    assert choice["finish_reason"] in {"length", "tool_calls"}


FLAT = function("get_weather")
RESPONSES_FLAT = {"type": "function", **function("get_weather")}
CUSTOM = {"type": "custom", "custom": {"name": "sql"}}


@pytest.mark.parametrize(
    ("model", "route", "given", "code"),
    [
        (LLAMA, "run", FLAT, None),
        (LLAMA, "run", WEATHER, None),
        (GPT, "run", FLAT, None),
        (GPT, "chat", FLAT, 5006),
        (GPT, "chat", RESPONSES_FLAT, 5006),
        (GLM, "chat", RESPONSES_FLAT, 5006),
        (LLAMA, "chat", CUSTOM, 5006),
        (GLM, "chat", CUSTOM, None),
        (GPT, "chat", {"type": "function", "function": {"name": "f"}}, None),
        (GPT, "run", {"type": "function", "function": {"name": "f"}}, 5006),
        (GPT, "chat", tool("f", a={"type": "string"}), None),
        (GPT, "run", tool("f", a={"type": "string"}), 5006),
        (
            GPT,
            "chat",
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": []}}},
            8001,
        ),
        (GPT, "chat", {"type": "function", "function": {"name": "f", "description": None}}, 8001),
        (GLM, "chat", {"type": "function", "function": {"name": "f", "description": False}}, 8001),
        (GLM, "chat", tool("f", a={"type": "string", "description": None}), 8001),
        (GLM, "chat", tool("f", description={"type": "string", "description": "About"}), None),
    ],
)
async def test_tool_definitions(client, model, route, given, code):
    answer = await (client.run if route == "run" else client.chat)(model, ask("Hello", given))
    if code is None:
        assert answer.status_code == 200, answer.text
    else:
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)


async def test_flat_tools_are_missed_in_the_known_words(client):
    message = (await client.chat(GPT, ask("Hello", RESPONSES_FLAT))).json()["errors"][0]["message"]
    assert "required properties at '/tools/0/function' are 'name'" in message


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"tool_choice": "any"}, 8001),
        ({"tool_choice": {"type": "function", "function": {"name": "get_weather"}}, "max_tokens": 4}, 8006),
        ({"tool_choice": {"type": "function", "function": {"name": "nothing"}}}, 8007),
    ],
)
async def test_choices_that_are_refused(client, more, code):
    answer = await client.chat(GPT, {**ask("Hello", WEATHER), **more})
    assert answer.json()["errors"][0]["code"] == code


async def test_custom_tool_is_called_with_text(client):
    (call,) = (await client.chat(GLM, ask("use sql", CUSTOM))).json()["choices"][0]["message"]["tool_calls"]
    assert call["custom"] == {"name": "sql", "input": "use sql"}


async def test_custom_tool_streams(client, frames):
    *chunks, _ = frames(await client.chat(GLM, ask("use sql", CUSTOM, stream=True)))
    parts = [part for chunk in chunks for choice in chunk["choices"] for part in choice["delta"].get("tool_calls", [])]
    assert "".join(part["custom"]["input"] for part in parts) == "use sql"

"""The official SDK in front of Chat Completions and the older Completions: what programs do with it, unchanged."""

import json
import re

import httpx
import pydantic
import pytest
from openai import APIStatusError, BadRequestError, OpenAI

from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving, until

GPT = "@cf/openai/gpt-oss-120b"
LEGACY = "@cf/meta/llama-4-scout-17b-16e-instruct"
GLM = "@cf/zai-org/glm-5.3-flash"
MODELS = [GPT, "@cf/openai/gpt-oss-20b", LEGACY, GLM, "@cf/moonshotai/kimi-k2.6"]
THINKERS = [GPT, GLM, "@cf/moonshotai/kimi-k2.6"]


def user(text):
    return {"role": "user", "content": text}


def tool(name, **properties):
    schema = {key: {"type": kind, "description": key} for key, kind in properties.items()}
    parameters = {
        "type": "object",
        "properties": schema,
        "required": list(schema),
        "additionalProperties": False,
    }
    function = {"name": name, "description": f"Tells {name}.", "parameters": parameters, "strict": True}
    return {"type": "function", "function": function}


TOOLS = [tool("get_weather", city="string"), tool("get_time", zone="string")]
ASK_BOTH = 'Call get_weather({"city": "Oslo"}) and get_time({"zone": "CET"}).'
TWO = [("get_weather", {"city": "Oslo"}), ("get_time", {"zone": "CET"})]


def asked(control):
    return [request for request in control.get("/requests").json() if request["method"] == "POST"]


class Weather(pydantic.BaseModel):
    """An answer with a shape."""

    model_config = pydantic.ConfigDict(extra="forbid")

    city: str
    degrees: int
    sky: list[str]


@pytest.fixture(scope="module")
def lax(proxy):
    """For what OpenAI sends too, but its SDK's own types do not know: custom calls in chunks, nulls in completions."""
    with OpenAI(base_url=f"{proxy}/v1", api_key="any", max_retries=0) as client:
        yield client


# --- text


@pytest.mark.parametrize("model", MODELS)
async def test_create_and_stream_say_the_same(sdk, async_sdk, model):
    messages = [user("Tell me about quartz, please.")]
    whole = sdk.chat.completions.create(model=model, messages=messages)
    chunks = [chunk async for chunk in await async_sdk.chat.completions.create(
        model=model, messages=messages, stream=True
    )]  # fmt: skip
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    # Without include_usage there is no usage, and no chunk without a choice.
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", MODELS)
async def test_the_stream_helper_accumulates(async_sdk, model):
    kinds = []
    async with async_sdk.chat.completions.stream(model=model, messages=[user("Count to 5.")]) as stream:
        async for event in stream:
            kinds.append(event.type)
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "1, 2, 3, 4, 5"
    assert {"chunk", "content.delta", "content.done"} <= set(kinds)


@pytest.mark.parametrize("model", THINKERS)
@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_in_both_fields_and_not_in_the_text(sdk, model, stream):
    if stream:
        chunks = list(sdk.chat.completions.create(model=model, messages=[user("Say exactly: hm")], stream=True))
        deltas = [chunk.choices[0].delta for chunk in chunks]
        assert all(getattr(delta, "reasoning", None) == getattr(delta, "reasoning_content", None) for delta in deltas)
        thought = "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
        text = "".join(delta.content or "" for delta in deltas)
    else:
        message = sdk.chat.completions.create(model=model, messages=[user("Say exactly: hm")]).choices[0].message
        thought, text = message.reasoning, message.content
        assert message.reasoning_content == thought
    assert thought.startswith("The user wants something")
    assert text == "hm"


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_ends_the_answer(sdk, model, limit):
    completion = sdk.chat.completions.create(model=model, messages=[user("Write 400 words about rain.")], **{limit: 90})
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens <= 90


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
@pytest.mark.parametrize("include", [False, True])
def test_usage_comes_only_when_asked_for_and_last(sdk, model, include):
    options = {"stream_options": {"include_usage": True}} if include else {}
    chunks = list(sdk.chat.completions.create(model=model, messages=[user("Hello")], stream=True, **options))
    with_usage = [chunk for chunk in chunks if chunk.usage]
    assert with_usage == (chunks[-1:] if include else [])
    assert [chunk for chunk in chunks if not chunk.choices] == with_usage


def test_raw_response_headers(sdk):
    raw = sdk.chat.completions.with_raw_response.create(
        model="gpt-oss-120b", messages=[user("Hello")], logprobs=True, seed=0, extra_headers={"x-request-id": "mine-7"}
    )
    assert raw.headers["x-request-id"] == "mine-7"
    assert raw.headers["x-flarelay-model"] == GPT
    assert raw.headers["x-flarelay-dropped"] == "logprobs"
    assert raw.headers["x-flarelay-adjusted"] == "seed"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse().choices[0].message.content
    with sdk.chat.completions.with_streaming_response.create(
        model=GPT, messages=[user("Hello")], stream=True
    ) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert streamed.headers["x-flarelay-model"] == GPT
        assert b"".join(streamed.iter_bytes()).endswith(b"data: [DONE]\n\n")


# --- several choices


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
async def test_three_choices(sdk, async_sdk, control, model):
    whole = sdk.chat.completions.create(model=model, messages=[user("Count to 9.")], n=3, seed=5)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert {choice.message.content for choice in whole.choices} == {"1, 2, 3, 4, 5, 6, 7, 8, 9"}
    assert whole.usage.completion_tokens % 3 == 0
    sent = asked(control)
    assert sorted(request["body"]["seed"] for request in sent) == [5, 6, 7]
    assert not any("n" in request["body"] for request in sent)
    async with async_sdk.chat.completions.stream(
        model=model, messages=[user("Count to 9.")], n=3, stream_options={"include_usage": True}
    ) as stream:
        final = await stream.get_final_completion()
    assert [choice.message.content for choice in final.choices] == ["1, 2, 3, 4, 5, 6, 7, 8, 9"] * 3
    assert [choice.finish_reason for choice in final.choices] == ["stop"] * 3
    assert final.usage.completion_tokens == whole.usage.completion_tokens


def test_one_failing_choice_fails_the_call(sdk, control):
    control.post("/faults", json={"fault": "cut", "times": 1}).raise_for_status()
    with pytest.raises(APIStatusError) as caught:
        sdk.chat.completions.create(model=GPT, messages=[user("Write 60 words.")], n=2)
    assert caught.value.status_code == 502


# --- stop


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
@pytest.mark.parametrize("stop", ["14, 15", ["never", "14, 15", "absent"]])
@pytest.mark.parametrize("stream", [False, True])
def test_stop_texts_end_the_answer_across_chunks(sdk, control, model, stop, stream):
    answer = sdk.chat.completions.create(
        model=model, messages=[user("Count to 3000.")], stop=stop, stream=stream, max_tokens=20_000
    )
    if stream:
        chunks = list(answer)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
        assert answer.usage.completion_tokens < 500
    assert text == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, "
    assert reason == "stop"
    (request,) = asked(control)
    if model == GLM:
        # The model knows stop texts itself.
        assert request["body"]["stop"]
    else:
        assert "stop" not in request["body"]
        until(lambda: asked(control)[0]["closed_early"])


def test_a_stop_text_that_never_comes_holds_nothing_back(sdk):
    stop = ["9, 10, 12", "\n\n"]
    with sdk.chat.completions.stream(model=GPT, messages=[user("Count to 12.")], stop=stop) as stream:
        assert stream.get_final_completion().choices[0].message.content.endswith("9, 10, 11, 12")


# --- structured output


@pytest.mark.parametrize("model", MODELS)
async def test_parse(sdk, async_sdk, model):
    said = '{"city": "Oslo", "degrees": 4, "sky": ["grey", "0"]}'
    wanted = Weather(city="Oslo", degrees=4, sky=["grey", "0"])
    ask = {"model": model, "messages": [user(f"Say exactly: {said}")], "response_format": Weather}
    completion = sdk.chat.completions.parse(**ask)
    assert completion.choices[0].message.parsed == wanted
    completion = await async_sdk.chat.completions.parse(**ask)
    assert completion.choices[0].message.parsed == wanted
    with sdk.chat.completions.stream(**ask) as stream:
        snapshots = [event for event in stream if event.type == "content.delta"]
        assert stream.get_final_completion().choices[0].message.parsed == wanted
    assert snapshots


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
def test_json_of_a_schema_that_the_model_made_up_itself(sdk, model):
    completion = sdk.chat.completions.parse(
        model=model, messages=[user("The weather in Oslo is 4 degrees.")], response_format=Weather
    )
    assert completion.choices[0].message.parsed.city == "Oslo"
    assert completion.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_wrong_json_is_asked_for_once_more_and_then_refused(http, control, stream):
    schema = {"name": "weather", "strict": True, "schema": Weather.model_json_schema()}
    body = {
        "model": GPT,
        "messages": [user('Say exactly: {"city": 4}')],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "stream": stream,
    }
    answer = http.post("/v1/chat/completions", json=body)
    # The second try is told what was wrong, and the model then makes up its own.
    assert len(asked(control)) == 2
    assert answer.status_code == 200
    control.delete("/requests")
    body["messages"].insert(0, {"role": "system", "content": "x"})
    wrong = {"result": None, "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "{}"}}]}
    fault = {"fault": "status", "status": 200, "times": 2, "body": {**wrong, "object": "chat.completion"}}
    control.post("/faults", json=fault).raise_for_status()
    answer = http.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "invalid_structured_output")
    assert len(asked(control)) == 2


# --- tools


def run(call):
    """What a program's tools say."""
    return {"get_weather": "4 degrees", "get_time": "noon"}[call.function.name]


def made(message):
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_of_three_turns_with_parallel_calls(sdk, model, stream):
    messages = [{"role": "system", "content": "Use the tools."}]
    ids = []
    for _ in range(3):
        messages.append(user(ASK_BOTH))
        message = complete(sdk, stream, model=model, messages=messages, tools=TOOLS)
        assert made(message) == TWO
        ids += [call.id for call in message.tool_calls]
        messages.append(message.to_dict())
        messages += [{"role": "tool", "tool_call_id": call.id, "content": run(call)} for call in message.tool_calls]
        message = complete(sdk, stream, model=model, messages=messages, tools=TOOLS)
        assert message.content == "The tool answered: 4 degrees noon"
        messages.append(message.to_dict())
    assert len(set(ids)) == 6


def complete(sdk, stream, **ask):
    if not stream:
        return sdk.chat.completions.create(**ask).choices[0].message
    with sdk.chat.completions.stream(**ask) as answer:
        (choice,) = answer.get_final_completion().choices
    assert choice.finish_reason == ("tool_calls" if choice.message.tool_calls else "stop")
    return choice.message


@pytest.mark.parametrize("model", MODELS)
async def test_five_turns_with_every_form_of_content(async_sdk, control, model):
    """Absent, null, empty, text and list content beside calls; results as text and as lists; thoughts replayed."""
    beside = [
        {},
        {"content": None},
        {"content": ""},
        {"content": "So:"},
        {"content": [{"type": "text", "text": "So:"}]},
    ]
    messages = []
    for turn, content in enumerate(beside):
        messages.append(
            user(ASK_BOTH) if turn % 2 else {"role": "user", "content": [{"type": "text", "text": ASK_BOTH}]}
        )
        completion = await async_sdk.chat.completions.create(model=model, messages=messages, tools=TOOLS)
        message = completion.choices[0].message
        assert made(message) == TWO
        calls = [call.to_dict() for call in message.tool_calls]
        replay = {"role": "assistant", "tool_calls": calls, **content}
        if thought := getattr(message, "reasoning_content", None):
            replay["reasoning_content" if turn % 2 else "reasoning"] = thought
        said = f"result {turn}"
        results = [said, [{"type": "text", "text": said}]]
        messages.append(replay)
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": result}
            for call, result in zip(calls, results, strict=True)
        ]
        completion = await async_sdk.chat.completions.create(model=model, messages=messages, tools=TOOLS)
        assert completion.choices[0].message.content == f"The tool answered: {said} {said}"
        messages.append({"role": "assistant", "content": completion.choices[0].message.content})
    sent = asked(control)[-1]["body"]["messages"]
    assert all(isinstance(message["content"], str) for message in sent)
    thoughts = [message.get("reasoning_content") or message.get("reasoning") for message in sent]
    assert bool([thought for thought in thoughts if thought]) == (model != LEGACY)


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
@pytest.mark.parametrize("stream", [False, True])
def test_one_call_at_a_time(sdk, model, stream):
    message = complete(
        sdk, stream, model=model, messages=[user(ASK_BOTH)], tools=TOOLS, parallel_tool_calls=False
    )  # fmt: skip
    assert made(message) == TWO[:1]


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ("auto", ["get_weather", "get_time"]),
        ("required", ["get_weather", "get_time"]),
        ({"type": "function", "function": {"name": "get_time"}}, ["get_time"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_time"}}]},
            },
            ["get_time"],
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "get_time"}}],
                },
            },
            ["get_time"],
        ),
    ],
)
def test_every_form_of_tool_choice(sdk, model, choice, names):
    completion = sdk.chat.completions.create(model=model, messages=[user(ASK_BOTH)], tools=TOOLS, tool_choice=choice)
    assert [name for name, _ in made(completion.choices[0].message)] == names


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
@pytest.mark.parametrize("stream", [False, True])
def test_custom_tools(sdk, lax, model, stream):
    patch = {"type": "custom", "custom": {"name": "apply_patch", "description": "Takes a patch."}}
    asked_for = user('Please call apply_patch({"input": "*** Begin\\n+ line"}) now.')
    if stream:
        chunks = list(
            lax.chat.completions.create(
                model=model, messages=[asked_for], tools=[patch, *TOOLS], stream=True, tool_choice="required"
            )
        )
        calls = [call.to_dict() for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        assert (calls[0]["type"], calls[0]["custom"]["name"]) == ("custom", "apply_patch")
        text = "".join(call["custom"].get("input", "") for call in calls)
        call_id = calls[0]["id"]
    else:
        completion = sdk.chat.completions.create(model=model, messages=[asked_for], tools=[patch, *TOOLS])
        (call,) = completion.choices[0].message.tool_calls
        assert (call.type, call.custom.name) == ("custom", "apply_patch")
        text, call_id = call.custom.input, call.id
    assert text == "*** Begin\n+ line"
    turn = {"id": call_id, "type": "custom", "custom": {"name": "apply_patch", "input": text}}
    messages = [
        asked_for,
        {"role": "assistant", "content": None, "tool_calls": [turn]},
        {"role": "tool", "tool_call_id": call_id, "content": "done"},
    ]
    completion = sdk.chat.completions.create(model=model, messages=messages, tools=[patch])
    assert completion.choices[0].message.content == "The tool answered: done"


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
@pytest.mark.parametrize("stream", [False, True])
def test_functions_the_first_form_of_tools(sdk, model, stream):
    functions = [one["function"] for one in TOOLS]
    answer = sdk.chat.completions.create(
        model=model,
        messages=[user(ASK_BOTH)],
        functions=functions,
        function_call={"name": "get_weather"},
        stream=stream,
    )
    if stream:
        chunks = list(answer)
        deltas = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call]
        name, arguments = deltas[0].name, "".join(delta.arguments or "" for delta in deltas)
        reason = chunks[-1].choices[0].finish_reason
    else:
        (choice,) = answer.choices
        name, arguments = choice.message.function_call.name, choice.message.function_call.arguments
        reason = choice.finish_reason
        assert choice.message.tool_calls is None
    assert (name, json.loads(arguments), reason) == ("get_weather", {"city": "Oslo"}, "function_call")
    messages = [
        user(ASK_BOTH),
        {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": arguments}},
        {"role": "function", "name": name, "content": "4 degrees"},
    ]
    completion = sdk.chat.completions.create(model=model, messages=messages, functions=functions)
    assert completion.choices[0].message.content == "The tool answered: 4 degrees"


def test_a_limit_within_a_call_is_told_as_length(sdk):
    big = tool("write_file", text="string")
    asked_for = user(f'Call write_file({{"text": "{"word " * 200}"}}).')
    completion = sdk.chat.completions.create(model=LEGACY, messages=[asked_for], tools=[big], max_tokens=60)
    assert completion.choices[0].finish_reason == "length"


# --- the older Completions


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
def test_completions(sdk, control, model):
    completion = sdk.completions.create(model=model, prompt="Say exactly: once upon", max_tokens=200)
    assert [choice.text for choice in completion.choices] == ["once upon"]
    assert completion.object == "text_completion"
    assert completion.usage.total_tokens > 0
    several = sdk.completions.create(
        model=model, prompt=["Say exactly: one", "Say exactly: two"], n=2, echo=True, max_tokens=200
    )
    said = [(choice.index, choice.text) for choice in several.choices]
    first, second = "Say exactly: oneone", "Say exactly: twotwo"
    assert said == [(0, first), (1, first), (2, second), (3, second)]


@pytest.mark.parametrize("model", [GPT, LEGACY, GLM])
def test_completions_streamed(lax, model):
    stream = lax.completions.create(
        model=model,
        prompt="Count to 30.",
        stream=True,
        stop=["12, 13"],
        max_tokens=300,
        echo=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == (
        "Count to 30.1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, "
    )
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens > 0) == ([], True)


def test_completions_are_short_unless_told_otherwise(sdk):
    completion = sdk.completions.create(model=LEGACY, prompt="Write 400 words about rain.")
    assert (completion.choices[0].finish_reason, completion.usage.completion_tokens) == ("length", 16)


@pytest.mark.parametrize(
    ("more", "param"),
    [({"suffix": "the end"}, "suffix"), ({"best_of": 3}, "best_of"), ({"prompt": [1, 2, 3]}, "prompt")],
)
def test_completions_refuse_by_name(sdk, more, param):
    with pytest.raises(BadRequestError) as caught:
        sdk.completions.create(**{"model": GPT, "prompt": "x", **more})
    assert caught.value.param == param


@pytest.mark.parametrize("stream", [False, True])
def test_raw_and_lora_are_reachable(lax, control, stream):
    model = "@cf/mistral/mistral-7b-instruct-v0.2-lora"
    answer = lax.completions.create(
        model=model, prompt="Say exactly: raw", stream=stream, max_tokens=50, extra_body={"raw": True, "lora": "mine"}
    )
    text = "".join(chunk.choices[0].text for chunk in answer) if stream else answer.choices[0].text
    assert text == "raw"
    (request,) = asked(control)
    assert request["path"].endswith(f"/ai/run/{model}")
    assert (request["body"]["raw"], request["body"]["lora"]) == (True, "mine")
    assert request["body"]["prompt"] == "Say exactly: raw"


# --- caching


@pytest.fixture(scope="module")
def keyed(emulator):
    """A proxy that tells two callers apart."""
    with serving(create_app(settings_for(emulator, api_keys="sk-ada-0123456789abcdef,sk-bob-0123456789abcdef"))) as at:
        yield at


def affinities(control):
    return [request["headers"]["x-session-affinity"] for request in asked(control)]


def converse(http, keyed, key, turns, **more):
    history = [{"role": "system", "content": "Be brief."}]
    for turn in range(turns):
        history.append(user(f"Say exactly: {turn}"))
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        body = {"model": GPT, "messages": history, **more}
        answer = http.post(f"{keyed}/v1/chat/completions", json=body, headers=headers).json()
        history.append(answer["choices"][0]["message"])


def test_a_conversation_keeps_its_affinity_and_no_caller_shares_it(http, keyed, control):
    converse(http, keyed, "sk-ada-0123456789abcdef", 3)
    converse(http, keyed, "sk-bob-0123456789abcdef", 2)
    ada, bob = affinities(control)[:3], affinities(control)[3:]
    assert len(set(ada)) == len(set(bob)) == 1
    assert set(ada).isdisjoint(bob)


@pytest.mark.parametrize(
    "named",
    [
        {"prompt_cache_key": "thread-of-ada"},
        {"user": "thread-of-ada"},
        {"headers": {"x-session-affinity": "thread-of-ada"}},
    ],
)
def test_a_conversations_name_is_never_sent_in_clear(http, keyed, control, named):
    converse(http, keyed, "sk-ada-0123456789abcdef", 1, **named)
    converse(http, keyed, "sk-bob-0123456789abcdef", 1, **named)
    converse(http, keyed, "sk-ada-0123456789abcdef", 1, **named)
    first, other, again = affinities(control)
    assert first == again != other
    sent = json.dumps(asked(control))
    assert "thread-of-ada" not in sent
    assert "sk-ada" not in sent


@pytest.mark.parametrize("stream", [False, True])
def test_cached_tokens_are_told(sdk, stream):
    rules = f"Rules of test {stream}. " + "Be kind and brief. " * 60
    ask = {"model": GPT, "messages": [{"role": "system", "content": rules}, user("Say exactly: hi")]}

    def cached():
        if not stream:
            return sdk.chat.completions.create(**ask).usage.prompt_tokens_details.cached_tokens
        *_, last = sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
        return last.usage.prompt_tokens_details.cached_tokens

    assert cached() == 0
    assert cached() > 200


# --- strictness


@pytest.fixture(scope="module")
def strict(emulator):
    with (
        serving(create_app(settings_for(emulator, strict=True))) as address,
        OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"seed": 0}, "seed", "unsupported_value"),
        ({"top_p": 0}, "top_p", "unsupported_value"),
        ({"reasoning_effort": "max"}, "reasoning_effort", "unsupported_value"),
        ({"max_tokens": 900_000}, "max_tokens", "unsupported_value"),
    ],
)
def test_strict_refuses_what_would_be_dropped_or_changed(strict, sdk, control, more, param, code):
    ask = {"model": GPT, "messages": [user("Hello")], **more}
    with pytest.raises(BadRequestError) as caught:
        strict.chat.completions.create(**ask)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert asked(control) == []
    raw = sdk.chat.completions.with_raw_response.create(**ask)
    header = "x-flarelay-dropped" if code == "unsupported_parameter" else "x-flarelay-adjusted"
    assert raw.headers[header] == param


def test_strict_serves_what_is_served_in_full(strict):
    completion = strict.chat.completions.create(
        model=GPT, messages=[user("Say exactly: ok")], temperature=0.5, n=2, stop="x", logprobs=False
    )
    assert [choice.message.content for choice in completion.choices] == ["ok", "ok"]


# --- bytes


IDS = re.compile(rb"(chatcmpl-|call_|resp_|msg_|rs_|fc_)[0-9a-zA-Z_-]{16,}|chatcmpl-tool-[0-9a-f]{32}")
TIMES = re.compile(rb'"(created|created_at|completed_at)":\d+')


def normalised(body):
    """Bytes with ids numbered in the order in which they appear, and without times."""
    seen = {}

    def number(found):
        return seen.setdefault(found[0], found[1] or b"tool-") + b"%d" % list(seen).index(found[0])

    return TIMES.sub(rb'"\1":0', IDS.sub(number, body))


@pytest.mark.parametrize(("model", "stream"), [(GPT, False), (GPT, True), (LEGACY, True), (GLM, True)])
def test_a_conversation_of_five_turns_is_the_same_byte_by_byte(proxy, control, model, stream):
    def conversation(split):
        bodies = []
        messages = []
        with httpx.Client(base_url=proxy, timeout=30, trust_env=False) as client:
            for turn in range(5):
                messages.append(user(ASK_BOTH if turn % 2 == 0 else f"Say exactly: turn {turn} — 日本 🎉 0"))
                rounds = 2 if turn % 2 == 0 else 1
                for step in range(rounds):
                    if split:
                        control.post("/faults", json={"fault": "split", "times": 1}).raise_for_status()
                    body = {"model": model, "messages": messages, "tools": TOOLS, "stream": stream}
                    body |= {} if model == LEGACY else {"reasoning_effort": "low"}
                    answer = client.post("/v1/chat/completions", json=body)
                    assert answer.status_code == 200, answer.text
                    bodies.append(normalised(answer.content))
                    if step + 1 < rounds:
                        # Ids of our own making, so that both conversations are one.
                        calls = [
                            {"id": f"call_{turn}_{index}", "type": "function", "function": dict(one["function"])}
                            for index, one in enumerate(TOOLS)
                        ]
                        for call, (_, arguments) in zip(calls, TWO, strict=True):
                            call["function"] = {"name": call["function"]["name"], "arguments": json.dumps(arguments)}
                        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
                        messages += [
                            {"role": "tool", "tool_call_id": call["id"], "content": f"{turn} degrees"} for call in calls
                        ]
                messages.append({"role": "assistant", "content": f"So much for {turn}."})
        return bodies

    # The first time fills the upstream's prefix cache, which usage tells of.
    conversation(split=False)
    whole, bytewise = conversation(split=False), conversation(split=True)
    assert len(whole) == 8
    assert bytewise == whole

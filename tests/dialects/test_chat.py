import copy

import pytest

from app.core.errors import BadRequest
from app.core.model import Model, ReasoningEfforts
from app.core.request import (
    GenerationRequest,
    ImageContent,
    Message,
    NamedTool,
    ResponseFormat,
    TextContent,
    Tool,
    ToolCall,
)
from app.core.upstream import Emulation
from app.dialects.chat import ChatDialect
from app.dialects.native import NativeDialect

LEGACY = Model("@cf/meta/llama-4", function_calling=True, vision=True, context_window=8000)
OPENAI = Model(
    "@cf/moonshotai/kimi",
    shape="openai",
    function_calling=True,
    reasoning=True,
    json_schema="envelope",
    context_window=8000,
    reasoning_efforts=ReasoningEfforts(("high", "none"), "high"),
)
OSS = Model(
    "@cf/openai/gpt-oss-20b",
    shape="hybrid",
    function_calling=True,
    reasoning=True,
    context_window=128_000,
    reasoning_efforts=ReasoningEfforts(("low", "medium", "high"), "medium", mandatory=True),
)
BARE = Model("@cf/meta/old", json_schema="none")
USER = Message("user", "Hi")
TOOL = Tool("get", "Gets.", {"type": "object", "properties": {"a": {"type": "string", "description": "A."}}})


def write(model=LEGACY, *, stream=True, dialect=None, messages=(USER,), **fields):
    return (dialect or ChatDialect()).write(GenerationRequest("m", tuple(messages), **fields), model, stream=stream)


def test_a_plain_request() -> None:
    sent = write(max_tokens=100, knobs={"temperature": 0.5})
    assert sent.path == "/v1/chat/completions"
    assert sent.json == {
        "model": LEGACY.id,
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "max_tokens": 100,
        "stream": True,
    }
    assert (sent.stream, sent.max_tokens, sent.dropped, sent.adjusted, sent.headers) == (True, 100, (), (), {})


def test_openais_shape() -> None:
    sent = write(OPENAI, max_tokens=100)
    assert sent.json["max_completion_tokens"] == 100
    assert "max_tokens" not in sent.json
    assert sent.json["stream_options"] == {"include_usage": True}
    assert "stream_options" not in write(OPENAI, stream=False).json
    assert write(OPENAI, stream=False).json["stream"] is False


def test_a_conversation_with_tools() -> None:
    history = (
        Message("developer", "Be brief."),
        Message("user", (TextContent("Weather"), TextContent("in Oslo?"))),
        Message("assistant", "", (ToolCall("c1", "get", ""),), reasoning="Ask."),
        Message("tool", (TextContent("4"),), tool_call_id="c1"),
    )
    call = {"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{}"}}
    assert write(OSS, messages=history).json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather\nin Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "Ask."},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ]
    openai = write(OPENAI, messages=history).json["messages"]
    assert openai[0]["role"] == "developer"
    assert openai[2]["reasoning"] == "Ask."
    assert "reasoning" not in write(LEGACY, messages=history).json["messages"][2]


def test_names_are_kept() -> None:
    assert write(messages=[Message("user", "Hi", name="ann")]).json["messages"] == [
        {"role": "user", "content": "Hi", "name": "ann"}
    ]


def test_images() -> None:
    image = Message("user", (TextContent("What?"), ImageContent("data:image/png;base64,AA", "low")))
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    assert write(messages=[image]).json["messages"][0]["content"] == [{"type": "text", "text": "What?"}, part]
    with pytest.raises(BadRequest) as refused:
        write(OSS, messages=[image])
    assert (refused.value.param, refused.value.code) == ("messages", "unsupported_value")
    assert OSS.id in refused.value.message


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ({"type": "object", "properties": []}, {"type": "object", "properties": {}}),
        ({"type": "object", "properties": None}, {"type": "object", "properties": {}}),
        ({"type": "object"}, {"type": "object", "properties": {}}),
        (
            {"properties": {"a": {"type": "string"}, "b": True, "c": {"description": False}}},
            {
                "type": "object",
                "properties": {
                    "a": {"type": "string", "description": ""},
                    "b": {"description": ""},
                    "c": {"description": ""},
                },
            },
        ),
        (
            {
                "$schema": "x",
                "type": "object",
                "properties": {
                    "description": {"type": "object", "description": "D", "properties": []},
                    "items": {"type": "array", "description": "I", "items": {"anyOf": [{"description": None}]}},
                },
            },
            {
                "$schema": "x",
                "type": "object",
                "properties": {
                    "description": {"type": "object", "description": "D", "properties": {}},
                    "items": {"type": "array", "description": "I", "items": {"anyOf": [{"description": ""}]}},
                },
            },
        ),
    ],
)
def test_tools_are_mended_without_touching_the_clients_object(parameters, expected) -> None:
    before = copy.deepcopy(parameters)
    sent = write(tools=(Tool("get", parameters=parameters, strict=True),)).json["tools"]
    assert sent == [{"type": "function", "function": {"name": "get", "description": "", "parameters": expected}}]
    assert parameters == before


def test_openais_shape_keeps_strict_and_adds_no_descriptions() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    sent = write(OPENAI, tools=(Tool("get", "G", schema, strict=True),)).json["tools"][0]["function"]
    assert sent == {"name": "get", "description": "G", "parameters": schema, "strict": True}


def test_a_very_deep_schema_is_no_accident() -> None:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(200):
        schema = {"type": "object", "properties": {"a": schema}}
    assert write(tools=(Tool("get", parameters=schema),)).json["tools"][0]["function"]["name"] == "get"


NAMED = {"type": "function", "function": {"name": "get"}}


@pytest.mark.parametrize(
    ("choice", "count", "expected"),
    [
        ("auto", 1, "auto"),
        ("none", 1, "none"),
        ("required", 1, NAMED),
        ("required", 2, "required"),
        (NamedTool("get"), 2, NAMED),
        (None, 1, None),
    ],
)
def test_tool_choice(choice, count, expected) -> None:
    sent = write(tools=(TOOL, Tool("put"))[:count], tool_choice=choice)
    assert sent.json.get("tool_choice") == expected
    assert sent.adjusted == ()


def test_a_forced_choice_is_relaxed_after_a_result() -> None:
    history = (USER, Message("tool", "4", tool_call_id="c1"))
    sent = write(messages=history, tools=(TOOL,), tool_choice=NamedTool("get"))
    assert (sent.json["tool_choice"], sent.adjusted) == ("auto", ("tool_choice",))


def test_no_tools_no_choice() -> None:
    sent = write(tool_choice="auto", parallel_tool_calls=False)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(sent.json)
    assert sent.dropped == ()


def test_a_model_without_tools_refuses_them() -> None:
    with pytest.raises(BadRequest) as refused:
        write(BARE, tools=(TOOL,))
    assert (refused.value.param, refused.value.code) == ("tools", "unsupported_parameter")
    assert "tools" not in write(BARE, tools=(TOOL,), tool_choice="none").json


@pytest.mark.parametrize(
    ("model", "value", "sent_value", "one_call"),
    [
        (OPENAI, False, False, True),
        (OPENAI, True, True, False),
        (OPENAI, None, None, False),
        (LEGACY, True, None, False),
        (LEGACY, False, None, True),
    ],
)
def test_parallel_tool_calls(model, value, sent_value, one_call) -> None:
    sent = write(model, tools=(TOOL,), parallel_tool_calls=value)
    assert (sent.json.get("parallel_tool_calls"), sent.dropped) == (sent_value, ())
    assert sent.emulation == Emulation(one_call=one_call, tools=frozenset({"get"}))


def test_response_formats() -> None:
    wanted = ResponseFormat("json_schema", {"type": "object"}, "answer", "An answer.", strict=True)
    bare = {"type": "object", "title": "answer", "description": "An answer."}
    envelope = {"name": "answer", "schema": {"type": "object"}, "description": "An answer.", "strict": True}
    for model, schema in ((LEGACY, bare), (OSS, bare), (OPENAI, envelope)):
        sent = write(model, response_format=wanted)
        assert sent.json["response_format"] == {"type": "json_schema", "json_schema": schema}
        # JSON mode does not stream.
        assert (sent.stream, sent.json["stream"]) == (False, False)
    assert write(response_format=ResponseFormat("json_object")).json["response_format"] == {"type": "json_object"}
    with pytest.raises(BadRequest) as refused:
        write(BARE, response_format=wanted)
    assert refused.value.param == "response_format"


GLM = ReasoningEfforts(("max", "high", "low"), "max", mandatory=True)
OFF = {"enable_thinking": False, "thinking": False}


@pytest.mark.parametrize(
    ("model", "effort", "fields", "adjusted", "dropped"),
    [
        (OSS, None, {}, (), ()),
        (OSS, "low", {"reasoning_effort": "low"}, (), ()),
        (OSS, "minimal", {"reasoning_effort": "low"}, ("reasoning_effort",), ()),
        (OSS, "none", {"reasoning_effort": "low"}, ("reasoning_effort",), ()),
        (OSS, "xhigh", {"reasoning_effort": "high"}, ("reasoning_effort",), ()),
        (OSS, "max", {"reasoning_effort": "high"}, ("reasoning_effort",), ()),
        (OSS, "odd", {"reasoning_effort": "medium"}, ("reasoning_effort",), ()),
        (OPENAI, "none", {"reasoning_effort": "none", "chat_template_kwargs": OFF}, (), ()),
        (OPENAI, "low", {"reasoning_effort": "high"}, ("reasoning_effort",), ()),
        (LEGACY, "high", {}, (), ("reasoning_effort",)),
        (LEGACY, "none", {}, (), ()),
        (Model("g", shape="openai", reasoning_efforts=GLM), "medium", {"reasoning_effort": "high"}, None, ()),
        (Model("g", shape="openai", reasoning_efforts=GLM), "none", {"reasoning_effort": "low"}, None, ()),
        (Model("g", shape="openai", reasoning_efforts=GLM), "xhigh", {"reasoning_effort": "max"}, None, ()),
        (
            Model("n", shape="openai", reasoning_efforts=ReasoningEfforts(("low", "high"))),
            "none",
            {"chat_template_kwargs": OFF},
            (),
            (),
        ),
    ],
)
def test_reasoning_effort(model, effort, fields, adjusted, dropped) -> None:
    sent = write(model, reasoning_effort=effort)
    found = {key: sent.json[key] for key in ("reasoning_effort", "chat_template_kwargs") if key in sent.json}
    assert found == fields
    assert sent.adjusted == (("reasoning_effort",) if adjusted is None else adjusted)
    assert sent.dropped == dropped


def test_the_clients_own_switches_win() -> None:
    extra = {"chat_template_kwargs": {"thinking": True, "x": 1}}
    sent = write(OPENAI, reasoning_effort="none", extra=extra).json["chat_template_kwargs"]
    assert sent == {"enable_thinking": False, "thinking": True, "x": 1}


@pytest.mark.parametrize(
    ("knobs", "sent_knobs", "adjusted", "dropped"),
    [
        ({"top_p": 0}, {"top_p": 0.001}, ("top_p",), ()),
        ({"temperature": 2}, {"temperature": 2}, (), ()),
        ({"seed": 7}, {"seed": 7}, (), ()),
        ({"seed": 0}, {}, ("seed",), ()),
        ({"seed": -5}, {}, ("seed",), ()),
        ({"seed": 2**60}, {}, ("seed",), ()),
        ({"presence_penalty": 0, "frequency_penalty": 0}, {}, (), ()),
        ({"presence_penalty": -1.5}, {"presence_penalty": -1.5}, (), ()),
        ({"stop": ["x"], "logit_bias": {"1": 2}}, {}, (), ("logit_bias",)),
        ({"n": 2, "logprobs": True, "top_logprobs": 3}, {}, (), ("n", "logprobs", "top_logprobs")),
        ({"n": 1, "logprobs": False, "logit_bias": {}, "verbosity": "medium", "stop": []}, {}, (), ()),
        ({"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "auto"}, {}, (), ()),
        ({"service_tier": "flex", "verbosity": "low"}, {}, (), ("service_tier", "verbosity")),
    ],
)
def test_knobs_of_the_older_schemas(knobs, sent_knobs, adjusted, dropped) -> None:
    for model in (LEGACY, OSS):
        sent = write(model, knobs=knobs)
        rest = {
            key: value for key, value in sent.json.items() if key not in {"model", "messages", "max_tokens", "stream"}
        }
        assert (rest, sent.adjusted, sent.dropped) == (sent_knobs, adjusted, dropped)


def test_knobs_of_openais_shape() -> None:
    knobs = {"top_p": 0, "seed": 0, "stop": ["x"], "logit_bias": {"1": 2}, "presence_penalty": 0}
    sent = write(OPENAI, knobs={**knobs, "logprobs": True, "n": 3})
    assert {key: sent.json.get(key) for key in knobs} == knobs
    assert (sent.adjusted, sent.dropped) == ((), ("logprobs", "n"))


def test_unknown_fields_travel_on() -> None:
    extra = {"my_field": 1, "top_k": 90, "repetition_penalty": 1.1, "lora": "x", "raw": True, "nothing": None}
    sent = write(LEGACY, extra=extra)
    assert {key: sent.json.get(key) for key in extra} == {**extra, "top_k": 50}
    assert (sent.adjusted, sent.dropped) == (("top_k",), ())
    sent = write(OPENAI, extra=extra)
    assert sent.json["my_field"] == 1
    assert sent.dropped == ("top_k", "repetition_penalty", "lora", "raw")
    assert write(extra={"guided_json": {}, "min_p": 0.1}).dropped == ("min_p",)
    assert write(OSS, extra={"guided_json": {}, "chat_template_kwargs": {}}).dropped == (
        "guided_json",
        "chat_template_kwargs",
    )


@pytest.mark.parametrize(
    "name",
    ["options", "prompt", "input", "requests", "functions", "stream", "model", "messages", "image", "max_tokens"],
)
def test_fields_that_would_change_the_request_do_not(name) -> None:
    plain = write(LEGACY)
    sent = write(LEGACY, extra={name: ["x"]})
    assert sent.json == plain.json
    assert sent.dropped == (name,)


@pytest.mark.parametrize(
    ("window", "wanted", "text", "limit", "adjusted"),
    [
        (None, None, "", 4096, False),
        (None, 7, "", 7, False),
        (8000, 100, "", 100, False),
        (8000, None, "", 8000 - 256 - 6, False),
        (8000, 9000, "", 8000 - 64 - 5, True),
        (8000, 8000 - 64 - 5, "", 8000 - 64 - 5, False),
        (8000, None, "x" * 3500, 8000 - 256 - 1306, False),
        (8000, None, "x" * 35_000, 1024, False),
        (8000, 20, "x" * 35_000, 20, False),
        (8000, 4000, "x" * 35_000, 1024, True),
    ],
)
def test_the_token_limit(window, wanted, text, limit, adjusted) -> None:
    model = Model("m", context_window=window)
    sent = write(model, messages=[Message("user", text)], max_tokens=wanted, raw={"max_completion_tokens": wanted})
    assert sent.max_tokens == sent.json["max_tokens"] == limit
    assert sent.adjusted == (("max_completion_tokens",) if adjusted else ())


def test_tools_and_images_take_room() -> None:
    plain = write().max_tokens
    image = Message("user", (ImageContent("data:image/png;base64," + "A" * 9_000_000),))
    assert write(tools=(TOOL,)).max_tokens < plain
    assert plain - 2000 < write(messages=[image]).max_tokens < plain - 1000


def test_the_cache_key_is_not_the_dialects_business() -> None:
    sent = write(cache_key="ann@example.org")
    assert sent.headers == {}
    assert sent.json == write().json


def test_native() -> None:
    sent = write(LEGACY, dialect=NativeDialect(), max_tokens=9)
    assert sent.path == "/run/@cf/meta/llama-4"
    assert sent.json == {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, "stream": True}
    assert write(LEGACY, dialect=NativeDialect(), stream=False).json["stream"] is False
    for model in (OSS, OPENAI):
        sent = write(model, dialect=NativeDialect())
        assert (sent.stream, sent.json["stream"]) == (False, False)


@pytest.mark.parametrize("dialect", [ChatDialect(), NativeDialect()])
def test_a_dialects_reader_knows_the_limit_and_the_model(dialect) -> None:
    model = Model("r1", thinks_inline=True)
    sent = write(model, dialect=dialect, max_tokens=3)
    events = dialect.reader(sent, model, 0.0).read(
        b'{"response":"hm</think>yes","usage":{"prompt_tokens":1,"completion_tokens":3}}'
    )
    assert [event.kind for event in events if hasattr(event, "kind")] == ["reasoning", "text"]
    assert events[-1].reason == "length"

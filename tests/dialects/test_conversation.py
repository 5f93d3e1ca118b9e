"""Later turns of a conversation with tools: what is written, and that the strict schema takes it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.facts import bundled
from app.core.request import GenerationRequest, Message, NamedTool, TextContent, Tool, ToolCall
from app.dialects.callids import CallIds
from app.dialects.chat import ChatDialect
from app.dialects.native import NativeDialect
from app.emulator.ask import read_ask
from app.emulator.catalogue import find
from app.emulator.validation import check_ask, check_body
from app.surfaces.chat.surface import ChatSurface

MODELS = [
    "@cf/openai/gpt-oss-120b",
    "@cf/openai/gpt-oss-20b",
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
    "@cf/zai-org/glm-5.2",
    "@cf/moonshotai/kimi-k2.6",
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    },
    {"type": "function", "function": {"name": "now"}},
]


def call(call_id, name="get_weather", arguments='{"city":"Oslo"}'):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


FIVE_TURNS = [
    {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "tool_calls": [call("functions.get_weather:0")], "reasoning_content": "Ask."},
    {"role": "tool", "tool_call_id": "functions.get_weather:0", "content": "4"},
    {"role": "assistant", "content": None, "tool_calls": [call("functions.get_weather:0"), call("b", "now", "")]},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "12"}, {"type": "text", "text": ":30"}]},
    {"role": "tool", "tool_call_id": "functions.get_weather:0", "content": [{"type": "text", "text": "5"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "4, then 5."}], "reasoning": "Both.", "tool_calls": []},
    {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "now?"}]},
    {"role": "assistant", "content": "", "tool_calls": [call("functions.get_weather:0")]},
    {"role": "tool", "tool_call_id": "functions.get_weather:0", "content": '{"t":6}'},
    {"role": "assistant", "content": "6."},
    {"role": "user", "content": "Again."},
    {"role": "assistant", "content": None, "tool_calls": [call("b", "now", "{}")], "reasoning_content": "Hm."},
    {"role": "tool", "tool_call_id": "b", "content": ""},
]


def written(model_id, dialect, **fields):
    body = {"model": model_id, "messages": FIVE_TURNS, "tools": TOOLS, **fields}
    return dialect.write(ChatSurface().read(body), bundled().models[model_id], stream=True)


@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.parametrize("dialect", [ChatDialect(), NativeDialect()])
def test_q17_q18_q19_five_turns_are_what_the_strict_schema_takes(model_id, dialect) -> None:
    body = json.loads(json.dumps(dict(written(model_id, dialect).json)))
    route = "chat" if dialect.name == "chat" else "run"
    check_body(body, find(model_id), route)
    check_ask(read_ask(body, find(model_id), route), body)
    assert all(type(message["content"]) is str for message in body["messages"])
    assert body["messages"][5]["content"] == "12\n:30"


@pytest.mark.parametrize("model_id", MODELS)
def test_q14_ids_that_come_again_are_told_apart_and_keep_their_results(model_id) -> None:
    messages = written(model_id, ChatDialect()).json["messages"]
    calls = [one["id"] for message in messages for one in message.get("tool_calls", ())]
    results = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    first = "functions.get_weather:0"
    assert calls == [first, f"{first}_2", "b", f"{first}_3", "b_2"]
    assert results == [first, "b", f"{first}_2", f"{first}_3", "b_2"]


@pytest.mark.parametrize(
    ("model_id", "field"),
    [(MODELS[0], "reasoning_content"), (MODELS[3], "reasoning"), (MODELS[4], "reasoning"), (MODELS[2], None)],
)
def test_q20_thoughts_go_back_in_their_own_field(model_id, field) -> None:
    messages = written(model_id, ChatDialect()).json["messages"]
    thoughts = {name: message[name] for message in messages for name in message if name.startswith("reasoning")}
    assert thoughts == ({field: "Hm."} if field else {})
    assert not any("Hm." in message["content"] for message in messages)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "now"}}])
def test_q12_after_a_result_nothing_is_forced(choice) -> None:
    sent = written(MODELS[0], ChatDialect(), tool_choice=choice)
    assert (sent.json["tool_choice"], sent.emulation.forced, sent.adjusted) == ("auto", False, ("tool_choice",))


def test_q12_before_a_result_it_is() -> None:
    request = GenerationRequest("m", (Message("user", "Hi"),), tools=(Tool("a"), Tool("b")), tool_choice=NamedTool("b"))
    sent = ChatDialect().write(request, bundled().models[MODELS[0]], stream=True)
    assert sent.json["tool_choice"] == {"type": "function", "function": {"name": "b"}}
    assert sent.emulation.forced


def test_q60_a_result_is_sent_as_the_text_that_it_is() -> None:
    texts = [TextContent('{"t":'), TextContent("4}")]
    history = (
        Message("assistant", "", (ToolCall("a", "get", "{}"), ToolCall("b", "get", "{}"))),
        Message("tool", '{"t":4}', tool_call_id="a"),
        Message("tool", tuple(texts), tool_call_id="b"),
    )
    sent = ChatDialect().write(GenerationRequest("m", history), bundled().models[MODELS[0]], stream=True)
    assert [message["content"] for message in sent.json["messages"][1:]] == ['{"t":4}', '{"t":\n4}']


def test_q14_one_id_twice_in_a_turn() -> None:
    ids = CallIds()
    ids.turn()
    assert [ids.call("a"), ids.call("a"), ids.call("a_2")] == ["a", "a_2", "a_2_2"]
    assert [ids.result("a"), ids.result("a"), ids.result("a_2"), ids.result("a"), ids.result("x")] == [
        "a", "a_2", "a_2_2", "a_2", "x",
    ]  # fmt: skip


def test_q14_what_an_earlier_turn_still_waits_for_does_not_take_a_later_result() -> None:
    ids = CallIds()
    ids.turn()
    ids.call("a")
    ids.turn()
    assert ids.call("a") == "a_2"
    assert ids.result("a") == "a_2"


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a_2", ""]), min_size=1, max_size=3), max_size=5))
def test_q14_every_call_has_its_own_id_and_its_own_result(turns) -> None:
    ids = CallIds()
    seen: list[str] = []
    for turn in turns:
        ids.turn()
        made = [ids.call(one) for one in turn]
        assert [ids.result(one) for one in turn] == made
        seen += made
    assert len(set(seen)) == len(seen)

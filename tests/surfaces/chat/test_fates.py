"""Nothing that OpenAI's clients can send is forgotten: the SDK's own request type is the list."""

import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsBase,
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from app.core.errors import BadRequest
from app.core.request import Message, NamedTool, ResponseFormat, Tool
from app.surfaces.chat.fates import FATES
from app.surfaces.chat.read import read_request
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.fates import fates_table

TYPES = (CompletionCreateParamsBase, CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming)


def named(kind):
    return {name for name, fate in FATES.items() if fate.kind == kind}


def properties():
    # A TypedDict's own __mro__ does not know what it inherits; its annotations do.
    return {name for kind in TYPES for name in kind.__annotations__}


def test_the_list_is_the_whole_list():
    assert {"model", "messages", "stream", "temperature", "tools", "functions"} <= properties()
    assert len(properties()) >= 35


def test_every_property_has_a_fate():
    assert properties() - set(FATES) == set()


def test_every_fate_is_of_a_property_that_the_sdk_knows():
    assert set(FATES) - properties() == set()


def test_nothing_is_only_echoed():
    assert {fate.kind for fate in FATES.values()} == {
        *("mapped", "relayed", "emulated", "dropped", "refused", "ignored"),
    }


def test_the_table_tells_every_fate():
    head, rule, *rows = fates_table(ChatSurface()).splitlines()
    assert (head, rule) == ("| Field | Fate | What happens |", "|---|---|---|")
    assert [row.split(" | ")[0] for row in rows] == [f"| `{name}`" for name in FATES]
    assert "| `store` | dropped | `true` is told in the header: chat completions are not stored. |" in rows


FUNCTION = {"name": "f"}

CHANGES = {
    # A value that asks for something, and what is read from it.
    "model": ({"model": "other"}, {"model": "other"}),
    "messages": ({"messages": [{"role": "user", "content": "x"}]}, {"messages": (Message("user", "x"),)}),
    "stream": ({"stream": True}, {"stream": True}),
    "max_completion_tokens": ({"max_completion_tokens": 7}, {"max_tokens": 7}),
    "max_tokens": ({"max_tokens": 7}, {"max_tokens": 7}),
    "tools": ({"tools": [{"type": "function", "function": FUNCTION}]}, {"tools": (Tool("f"),)}),
    "tool_choice": ({"tool_choice": "none"}, {"tool_choice": "none"}),
    "functions": ({"functions": [FUNCTION]}, {"tools": (Tool("f"),)}),
    "function_call": (
        {"functions": [FUNCTION], "function_call": FUNCTION},
        {"tools": (Tool("f"),), "tool_choice": NamedTool("f")},
    ),
    "response_format": (
        {"response_format": {"type": "json_object"}},
        {"response_format": ResponseFormat("json_object")},
    ),
    "reasoning_effort": ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
    "prompt_cache_key": ({"prompt_cache_key": "k"}, {"cache_key": "k"}),
    "user": ({"user": "u"}, {"cache_key": "u"}),
    "stop": ({"stop": ["a"]}, {"knobs": {"stop": ["a"]}}),
    "parallel_tool_calls": ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
}

VALUES = {
    "temperature": 0,
    "top_p": 0,
    "frequency_penalty": -2,
    "presence_penalty": 2,
    "seed": 0,
    "logit_bias": {"1": -100},
}

DROPPED = {
    # What asks for something, and what asks for nothing.
    "logprobs": (True, False),
    "top_logprobs": (1, 0),
    "verbosity": ("low", "medium"),
    "prediction": ({"type": "content", "content": "x"}, None),
    "moderation": ({"model": "omni-moderation-latest"}, None),
    "store": (True, False),
    "service_tier": ("flex", "default"),
}

IGNORED = {
    "metadata": {"k": "v"},
    "safety_identifier": "x",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
}

REFUSED = {
    "audio": {"voice": "alloy", "format": "mp3"},
    "modalities": ["text", "audio"],
    "web_search_options": {},
}


def body(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}


def differences(read):
    plain = read_request(body())
    slots = set(plain.__slots__) - {"raw"}
    return {slot: getattr(read, slot) for slot in slots if getattr(read, slot) != getattr(plain, slot)}


def test_the_samples_are_complete():
    # What the usage option and the number of choices do is seen in the answer.
    assert set(CHANGES) == (named("mapped") | named("emulated")) - {"stream_options", "n"}
    assert set(VALUES) == named("relayed")
    assert set(DROPPED) == named("dropped")
    assert set(IGNORED) == named("ignored")
    assert set(REFUSED) == named("refused")


@pytest.mark.parametrize(("sent", "read"), CHANGES.values(), ids=CHANGES)
def test_what_is_mapped_becomes_a_part_of_the_request(sent, read):
    assert differences(read_request(body(**sent))) == read


@pytest.mark.parametrize("name", VALUES)
def test_what_is_relayed_arrives_as_it_is(name):
    assert differences(read_request(body(**{name: VALUES[name]}))) == {"knobs": {name: VALUES[name]}}


@pytest.mark.parametrize("name", DROPPED)
def test_what_is_dropped_is_told_when_it_asked_for_something(name):
    something, nothing = DROPPED[name]
    assert differences(read_request(body(**{name: something}))) == {"dropped": (name,)}
    assert differences(read_request(body(**{name: nothing}))) == {}


@pytest.mark.parametrize("name", IGNORED)
def test_what_is_ignored_changes_nothing_but_the_record(name):
    read = read_request(body(**{name: IGNORED[name]}))
    assert differences(read) == {}
    assert read.raw[name] == IGNORED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_by_name(name):
    with pytest.raises(BadRequest) as caught:
        read_request(body(**{name: REFUSED[name]}))
    assert caught.value.param == name


@pytest.mark.parametrize("name", sorted(FATES.keys() - {"model", "messages"}))
def test_an_explicit_null_is_as_good_as_nothing(name):
    assert differences(read_request(body(**{name: None}))) == {}

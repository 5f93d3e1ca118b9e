"""What clients really send, and what is read from it."""

import pytest
from msgspec.structs import replace

from app.core.errors import BadRequest
from app.core.request import (
    FileContent,
    GenerationRequest,
    ImageContent,
    Message,
    NamedTool,
    ResponseFormat,
    TextContent,
    Tool,
    ToolCall,
)
from app.surfaces.chat.read import read_request
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.choices import MAX_CHOICES
from app.surfaces.closing import wants_usage
from app.surfaces.custom import custom_arguments
from app.surfaces.depth import MAX_DEPTH
from app.surfaces.sampling import MAX_SEED
from app.wire.codec import decode, encode

HI = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "$schema": "http://json-schema.org/draft-07"}


def body(*messages, **more):
    return {"model": "gpt-oss-120b", "messages": list(messages or (HI,)), **more}


def expected(raw, **more):
    more.setdefault("messages", (Message("user", "Hi"),))
    return GenerationRequest(model="gpt-oss-120b", raw=raw, **more)


def call(call_id="c1", name="f", arguments="{}"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def function(name="f", **more):
    return {"type": "function", "function": {"name": name, **more}}


def custom(name, description="", rule=""):
    text = {"type": "string", "description": "The tool's whole input, as plain text." + rule}
    schema = {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}
    return Tool(name, description, schema)


def image(index, url, detail=None):
    return ImageContent(url, detail, f"messages[0].content[{index}].image_url")


def nested(levels):
    value = 1
    for _ in range(levels):
        value = {"a": value}
    return value


FIELDS = {
    "nothing else": ({}, {}),
    "langchain": (
        {"stream": False, "max_completion_tokens": 64, "seed": 0, "stop": ["Observation:"], "temperature": 0.0},
        {"max_tokens": 64, "knobs": {"temperature": 0.0, "seed": 0, "stop": ["Observation:"]}},
    ),
    "opencode": (
        {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 32000, "tool_choice": "auto",
         "reasoning_effort": "low"},
        {"stream": True, "max_tokens": 32000, "tool_choice": "auto", "reasoning_effort": "low"},
    ),
    "pi": (
        {"max_completion_tokens": 8192, "store": False, "reasoning_effort": "medium"},
        {"max_tokens": 8192, "reasoning_effort": "medium"},
    ),
    "aider": ({"stream": True, "temperature": 0}, {"stream": True, "knobs": {"temperature": 0}}),
    "the new limit wins": ({"max_tokens": 10, "max_completion_tokens": 20}, {"max_tokens": 20}),
    "an integral limit": ({"max_tokens": 10.0}, {"max_tokens": 10}),
    "the largest limit": ({"max_tokens": 2**53 - 1}, {"max_tokens": 2**53 - 1}),
    "zeros are values": (
        {"seed": 0, "top_p": 0, "temperature": 0, "frequency_penalty": 0, "top_logprobs": 0, "logprobs": False},
        {"knobs": {"seed": 0, "top_p": 0, "temperature": 0, "frequency_penalty": 0}},
    ),
    "the ends of the ranges": (
        {"temperature": 2, "top_p": 1.0, "frequency_penalty": -2, "presence_penalty": 2, "top_logprobs": 20},
        {"knobs": {"temperature": 2, "top_p": 1.0, "frequency_penalty": -2, "presence_penalty": 2},
         "dropped": ("top_logprobs",)},
    ),
    "a negative seed": ({"seed": -(2**63)}, {"knobs": {"seed": -(2**63)}}),
    "one stop": ({"stop": "END"}, {"knobs": {"stop": ["END"]}}),
    "no stop": ({"stop": []}, {}),
    "an empty stop": ({"stop": ""}, {}),
    "empty stops": ({"stop": ["", "END", ""]}, {"knobs": {"stop": ["END"]}}),
    "four stops": ({"stop": list("abcd")}, {"knobs": {"stop": list("abcd")}}),
    "biases": ({"logit_bias": {"50256": -100, "1": 1.5}}, {"knobs": {"logit_bias": {"50256": -100, "1": 1.5}}}),
    "one choice": ({"n": 1, "modalities": ["text"]}, {}),
    "plain text": ({"response_format": {"type": "text"}}, {}),
    "any JSON": (
        {"response_format": {"type": "json_object"}},
        {"response_format": ResponseFormat("json_object")},
    ),
    "a schema": (
        {"response_format": {"type": "json_schema", "json_schema": {
            "name": "answer", "description": "d", "strict": True, "schema": SCHEMA}}},
        {"response_format": ResponseFormat("json_schema", SCHEMA, "answer", "d", strict=True)},
    ),
    "a schema with its name only": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": None}}},
        {"response_format": ResponseFormat("json_schema", name="answer")},
    ),
    "a cache key": ({"prompt_cache_key": "k", "user": "u"}, {"cache_key": "k"}),
    "a user is a cache key": ({"user": "u"}, {"cache_key": "u"}),
    "litellm's effort": ({"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
    "no effort": ({"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
    "every effort": ({"reasoning_effort": "xhigh"}, {"reasoning_effort": "xhigh"}),
    "unknown fields travel on": (
        {"top_k": 40, "chat_template_kwargs": {"thinking": True}, "provider": None},
        {"extra": {"top_k": 40, "chat_template_kwargs": {"thinking": True}}},
    ),
    "an unknown field as deep as may be": ({"x": nested(MAX_DEPTH)}, {"extra": {"x": nested(MAX_DEPTH)}}),
    "the tools of an agent": (
        {"tools": [function(description="Does f.", parameters=SCHEMA, strict=True)], "parallel_tool_calls": False,
         "tool_choice": "required"},
        {"tools": (Tool("f", "Does f.", SCHEMA, strict=True),), "parallel_tool_calls": False,
         "tool_choice": "required"},
    ),
    "tools without description or parameters": (
        {"tools": [function("Weather-get"), function("g", description=None, parameters=None, strict=None)]},
        {"tools": (Tool("Weather-get"), Tool("g"))},
    ),
    "no parameters at all": ({"tools": [function(parameters={})]}, {"tools": (Tool("f", parameters={}),)}),
    "flat tools": (
        {"tools": [{"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False}],
         "tool_choice": {"type": "function", "name": "f"}},
        {"tools": (Tool("f", "d", SCHEMA, strict=False),), "tool_choice": NamedTool("f")},
    ),
    "no tools": ({"tools": [], "tool_choice": "none"}, {"tool_choice": "none"}),
    "a named tool": (
        {"tools": [function(), function("g")], "tool_choice": function("g")},
        {"tools": (Tool("f"), Tool("g")), "tool_choice": NamedTool("g")},
    ),
    "allowed tools": (
        {"tools": [function(), function("g"), function("h")],
         "tool_choice": {"type": "allowed_tools", "allowed_tools": {
             "mode": "required", "tools": [function("h"), {"type": "function", "name": "f"}]}}},
        {"tools": (Tool("f"), Tool("h")), "tool_choice": "required"},
    ),
    "allowed tools, flat": (
        {"tools": [function(), function("g")],
         "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}},
        {"tools": (Tool("g"),), "tool_choice": "auto"},
    ),
    "the old functions, empty": ({"functions": [], "function_call": "auto"}, {}),
    "the old functions": (
        {"functions": [{"name": "f", "description": "d", "parameters": SCHEMA}, {"name": "g"}],
         "function_call": "auto"},
        {"tools": (Tool("f", "d", SCHEMA), Tool("g")), "tool_choice": "auto"},
    ),
    "the old functions, none to be called": (
        {"functions": [{"name": "f"}], "function_call": "none"}, {"tools": (Tool("f"),), "tool_choice": "none"},
    ),
    "the old functions, one forced, and the new form empty": (
        {"functions": [{"name": "f"}, {"name": "g"}], "function_call": {"name": "g"}, "tools": []},
        {"tools": (Tool("f"), Tool("g")), "tool_choice": NamedTool("g")},
    ),
    "a custom tool": (
        {"tools": [function(), {"type": "custom", "custom": {"name": "c", "description": "d"}}],
         "tool_choice": {"type": "custom", "custom": {"name": "c"}}},
        {"tools": (Tool("f"), custom("c", "d")), "tool_choice": NamedTool("c")},
    ),
    "a custom tool in plain text": (
        {"tools": [{"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}]}, {"tools": (custom("c"),)},
    ),
    "a custom tool with a grammar": (
        {"tools": [{"type": "custom", "custom": {
            "name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}}}]},
        {"tools": (custom("c", rule=" It must match this lark grammar:\nstart: WORD"),)},
    ),
    "a custom tool, flat, as Responses has it": (
        {"tools": [{"type": "custom", "name": "c", "description": None,
                    "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}}],
         "tool_choice": {"type": "custom", "name": "c"}},
        {"tools": (custom("c", rule=" It must match this regex grammar:\na+"),), "tool_choice": NamedTool("c")},
    ),
    "allowed tools, one of them custom": (
        {"tools": [function(), {"type": "custom", "custom": {"name": "c"}}],
         "tool_choice": {"type": "allowed_tools", "allowed_tools": {
             "mode": "auto", "tools": [{"type": "custom", "custom": {"name": "c"}}]}}},
        {"tools": (custom("c"),), "tool_choice": "auto"},
    ),
    "metadata": ({"metadata": {f"k{number}": "v" * 512 for number in range(16)}}, {}),
    "no metadata": ({"metadata": {}}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("more", "read"), FIELDS.values(), ids=FIELDS)
def test_fields(more, read):
    raw = body(**more)
    assert read_request(raw) == expected(raw, **read)


CONVERSATIONS = {
    "every role": (
        [{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}, HI,
         {"role": "assistant", "content": "a"}],
        [Message("system", "s"), Message("developer", "d"), Message("user", "Hi"), Message("assistant", "a")],
    ),
    "content arrays in every role": (
        [{"role": role, "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]}
         for role in ("system", "developer", "user", "assistant")],
        [Message(role, (TextContent("x"), TextContent("y"))) for role in ("system", "developer", "user", "assistant")],
    ),
    "a tool's result as an array": (
        [{"role": "assistant", "content": None, "tool_calls": [call()]},
         {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]}],
        [Message("assistant", "", (ToolCall("c1", "f", "{}"),)),
         Message("tool", (TextContent("42"),), tool_call_id="c1")],
    ),
    "no content beside calls": (
        [{"role": "assistant", "tool_calls": [call("a"), call("b", "g", '{"x":1}')]},
         {"role": "tool", "tool_call_id": "b", "content": ""},
         {"role": "tool", "tool_call_id": "a", "content": "1", "name": "f"}, HI],
        [Message("assistant", "", (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x":1}'))),
         Message("tool", "", tool_call_id="b"), Message("tool", "1", tool_call_id="a"), Message("user", "Hi")],
    ),
    "an id used again in a later turn": (
        [{"role": "assistant", "tool_calls": [call()]}, {"role": "tool", "tool_call_id": "c1", "content": "1"}] * 2,
        [Message("assistant", "", (ToolCall("c1", "f", "{}"),)), Message("tool", "1", tool_call_id="c1")] * 2,
    ),
    "a call without arguments or type": (
        [{"role": "assistant", "tool_calls": [{"id": "c1", "type": None, "function": {"name": "f"}}]},
         {"role": "tool", "tool_call_id": "c1", "content": "1"}],
        [Message("assistant", "", (ToolCall("c1", "f", ""),)), Message("tool", "1", tool_call_id="c1")],
    ),
    "a custom call": (
        [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "ls"}}]},
         {"role": "tool", "tool_call_id": "c", "content": "1"}],
        [Message("assistant", "", (ToolCall("c", "f", '{"input":"ls"}'),)), Message("tool", "1", tool_call_id="c")],
    ),
    "a custom call without input": (
        [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f"}}]},
         {"role": "tool", "tool_call_id": "c", "content": "1"}],
        [Message("assistant", "", (ToolCall("c", "f", '{"input":""}'),)), Message("tool", "1", tool_call_id="c")],
    ),
    "a custom call of many lines": (
        [{"role": "assistant", "tool_calls": [
            {"id": "c", "type": "custom", "custom": {"name": "f", "input": 'a"b\n\u2028'}}]},
         {"role": "tool", "tool_call_id": "c", "content": "1"}],
        [Message("assistant", "", (ToolCall("c", "f", custom_arguments('a"b\n\u2028')),)),
         Message("tool", "1", tool_call_id="c")],
    ),
    "our own answer sent back whole": (
        [{"role": "assistant", "content": "a", "refusal": None, "annotations": [], "audio": None, "function_call": None,
          "tool_calls": None, "reasoning_content": "hm", "reasoning": "hm", "provider_specific_fields": {"x": 1}}],
        [Message("assistant", "a", reasoning="hm")],
    ),
    "reasoning by its other name": (
        [{"role": "assistant", "content": "a", "reasoning": "hm"}],
        [Message("assistant", "a", reasoning="hm")],
    ),
    "reasoning that is no text": (
        [{"role": "assistant", "content": "a", "reasoning": {"effort": "low"}, "reasoning_content": ""}],
        [Message("assistant", "a")],
    ),
    "cut off while thinking": (
        [{"role": "assistant", "content": None, "reasoning_content": "hm"}],
        [Message("assistant", "", reasoning="hm")],
    ),
    "a refusal": (
        [{"role": "assistant", "content": None, "refusal": "No."},
         {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
        [Message("assistant", "No."), Message("assistant", (TextContent("No."),))],
    ),
    "earlier audio": ([{"role": "assistant", "audio": {"id": "a1"}}], [Message("assistant", "")]),
    "images": (
        [{"role": "user", "content": [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": None}}]}],
        [Message("user", (TextContent("What?"), image(1, "data:image/png;base64,AA==", "low"),
                          image(2, "https://x.test/a.png")))],
    ),
    "images from anywhere": (
        [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "http://x.test/a.png", "detail": "auto"}},
            {"type": "image_url", "image_url": {"url": "HTTPS://X.test/a.png"}},
            {"type": "image_url", "image_url": {"url": "DATA:image/gif;base64,AA=="}}]}],
        [Message("user", (image(0, "http://x.test/a.png", "auto"), image(1, "HTTPS://X.test/a.png"),
                          image(2, "DATA:image/gif;base64,AA==")))],
    ),
    "files": (
        [{"role": "user", "content": [
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a b.pdf"}},
            {"type": "file", "file": {"file_data": "aGk=", "filename": "notes.md"}},
            {"type": "text", "text": "Compare."}]}],
        [Message("user", (FileContent("a b.pdf", b"%PDF-", "messages[0].content[0].file"),
                          FileContent("notes.md", b"hi", "messages[0].content[1].file"), TextContent("Compare.")))],
    ),
    "names": (
        [{"role": "user", "content": "Hi", "name": "ann"}, {"role": "assistant", "content": "a", "name": "bob"}],
        [Message("user", "Hi", name="ann"), Message("assistant", "a", name="bob")],
    ),
    "the deprecated function messages": (
        [{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x":1}'}},
         {"role": "function", "name": "f", "content": "42"},
         {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": ""}},
         {"role": "function", "name": "f", "content": None}],
        [Message("assistant", "", (ToolCall("call_f", "f", '{"x":1}'),)), Message("tool", "42", tool_call_id="call_f"),
         Message("assistant", "", (ToolCall("call_f", "f", ""),)), Message("tool", "", tool_call_id="call_f")],
    ),
    "empty texts": (
        [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
        [Message("system", ""), Message("user", "")],
    ),
    "empty arrays, such as of a tool that says nothing": (
        [{"role": "user", "content": []}, {"role": "assistant", "content": [], "tool_calls": [call()]},
         {"role": "tool", "tool_call_id": "c1", "content": []}],
        [Message("user", ""), Message("assistant", "", (ToolCall("c1", "f", "{}"),)),
         Message("tool", "", tool_call_id="c1")],
    ),
    "NUL and half a character": (
        [{"role": "user", "content": "a\x00b\ud83d", "name": "\x00"}, {"role": "assistant", "content": "\ude00"}],
        [Message("user", "a\x00b\ud83d", name="\x00"), Message("assistant", "\ude00")],
    ),
    "unknown keys of a message": (
        [{**HI, "phase": "x", "cache_control": {"type": "ephemeral"}}],
        [Message("user", "Hi")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("messages", "read"), CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_conversations(messages, read):
    raw = body(*messages)
    assert read_request(raw) == expected(raw, messages=tuple(read))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, False),
        ({"stream_options": None}, False),
        ({"stream_options": {}}, False),
        ({"stream_options": {"include_usage": None}}, False),
        ({"stream_options": {"include_usage": False}}, False),
        ({"stream_options": {"include_usage": True, "include_obfuscation": False}}, True),
    ],
)
def test_usage_is_wanted_only_when_it_is_asked_for(options, wanted):
    assert wants_usage(read_request(body(stream=True, **options))) is wanted


def test_the_surface_reads_as_this_module_does():
    raw = body()
    assert ChatSurface().read(raw) == read_request(raw)
    assert ChatSurface().name == "chat"


@pytest.mark.parametrize("count", [2, MAX_CHOICES])
def test_several_choices_are_several_requests(count):
    raw = body(n=count, temperature=1, tools=[function()], stream=True)
    read = read_request(raw)
    plain = expected(raw, knobs={"temperature": 1}, tools=(Tool("f"),), stream=True)
    assert read.branches == (plain,) * count
    assert replace(read, branches=()) == plain


def test_the_seed_of_each_choice_is_its_own():
    read = read_request(body(n=3, seed=-1, stop="x"))
    assert read.knobs == {"seed": -1, "stop": ["x"]}
    assert [branch.knobs for branch in read.branches] == [{"seed": seed, "stop": ["x"]} for seed in (-1, 0, 1)]


def test_the_largest_seed_still_fits():
    (*_, last) = read_request(body(n=MAX_CHOICES, seed=MAX_SEED)).branches
    assert decode(encode(last.knobs)) == last.knobs


def test_one_choice_is_the_request_itself():
    assert read_request(body(n=1)).branches == ()


def test_the_bound_on_choices_is_told():
    with pytest.raises(BadRequest, match=r"Expected a value <= 16, but got 17 instead\.$"):
        read_request(body(n=17))

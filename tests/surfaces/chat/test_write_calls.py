"""Calls come back in the form in which the tools were offered."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from app.core.events import Closed, Delta, Finished, Opened, Started
from app.surfaces.custom import custom_arguments, custom_input
from tests.surfaces.chat.chunk_rules import Call, fold
from tests.surfaces.chat.event_streams import event_streams
from tests.surfaces.chat.test_write import body_of, heard, replayed, written

CUSTOM = {
    "tools": [
        {"type": "custom", "custom": {"name": "shell"}},
        {"type": "custom", "name": "sql"},
        {"type": "function", "function": {"name": "f"}},
    ]
}
OLDER = {"functions": [{"name": "f"}, {"name": "g"}]}


def called(*calls, reason="tool_calls"):
    events = [Started()]
    for part, (name, *pieces) in enumerate(calls):
        events += [Opened(part, "tool_call", f"c{part}", name), *(Delta(part, piece) for piece in pieces), Closed(part)]
    return [*events, Finished(reason)]


def input_of(part):
    text = custom_input(part.text) if part.text else ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@settings(max_examples=120, deadline=None)
@given(event_streams())
def test_custom_calls_keep_every_rule_and_are_the_same_in_a_body(events):
    folded = fold(b"".join(written(events, **CUSTOM)), include_usage=False)
    parts = heard(events).tool_calls()
    expected = [
        (part.name, "custom", input_of(part)) if part.name == "shell" else (part.name, "function", part.text or "{}")
        for part in parts
    ]
    assert [(call.name, call.kind, call.arguments) for call in folded.calls] == expected
    assert folded.text == heard(events).text("text")
    if folded.error:
        return
    message = body_of(events, **CUSTOM)["choices"][0]["message"]
    for call, streamed in zip(message.get("tool_calls", ()), folded.calls, strict=True):
        inner = call[call["type"]]
        assert (call["id"], call["type"], inner["name"]) == (streamed.id, streamed.kind, streamed.name)
        assert inner.get("arguments", inner.get("input")) == streamed.arguments


@settings(max_examples=100, deadline=None)
@given(event_streams())
def test_the_older_form_has_one_call_and_its_own_reason(events):
    folded = fold(b"".join(written(events, **OLDER)), include_usage=False)
    generation = heard(events)
    calls = [Call(None, call.name, call.text or "{}") for call in generation.tool_calls()[:1]]
    assert folded.calls == calls
    assert folded.text == generation.text("text")
    assert folded.finish_reason == ("function_call" if generation.reason == "tool_calls" else generation.reason)
    state = replayed(folded.chunks)
    if folded.error:
        return
    choice = ChatCompletion.model_validate(body_of(events, **OLDER), strict=True).choices[0]
    assert choice.finish_reason == folded.finish_reason
    assert choice.message.tool_calls is None
    made = choice.message.function_call
    assert ([Call(None, made.name, made.arguments)] if made else []) == calls
    assert state.current_completion_snapshot.choices[0].message.function_call == made


def test_a_custom_call_byte_for_byte():
    events = called(("shell", '{"inp', 'ut":"ls -l\\n', '"}'), ("f", "{", "}"), ("sql",))
    folded = fold(b"".join(written(events, **CUSTOM)), include_usage=False)
    deltas = [chunk["choices"][0]["delta"].get("tool_calls") for chunk in folded.chunks]
    assert deltas == [
        None,
        [{"index": 0, "id": "c0", "type": "custom", "custom": {"name": "shell", "input": ""}}],
        [{"index": 0, "custom": {"input": "ls -l\n"}}],
        [{"index": 1, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}],
        [{"index": 1, "function": {"arguments": "{"}}],
        [{"index": 1, "function": {"arguments": "}"}}],
        [{"index": 2, "id": "c2", "type": "custom", "custom": {"name": "sql", "input": ""}}],
        None,
    ]
    assert folded.finish_reason == "tool_calls"


def test_a_custom_call_in_a_body():
    body = body_of(called(("shell", '{"input":"ls"}'), ("f", "[]"), ("sql",)), **CUSTOM)
    message = ChatCompletion.model_validate(body, strict=True).choices[0].message
    assert message.content is None
    assert [call.model_dump() for call in message.tool_calls] == [
        {"id": "c0", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "[]"}},
        {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": ""}},
    ]


def test_the_sdk_accumulates_a_custom_call():
    state = ChatCompletionStreamState()
    events = called(("shell", '{"input":"ls"}'), ("f", "[]"))
    for chunk in fold(b"".join(written(events, **CUSTOM)), include_usage=False).chunks:
        # Its type of a streamed call knows functions only, and its client does not validate.
        list(state.handle_chunk(ChatCompletionChunk.construct(**chunk)))
    calls = state.current_completion_snapshot.choices[0].message.tool_calls
    assert (calls[0].id, calls[0].type, calls[0].custom) == ("c0", "custom", {"name": "shell", "input": "ls"})
    assert calls[1].function.arguments == "[]"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"ls"}', "ls"),
        ('{"command":"ls"}', "ls"),
        ('"ls"', "ls"),
        ("ls -l", "ls -l"),
        ('{"input":"ls', "ls"),
        ('{"input":3}', '{"input":3}'),
        ('{"input":"\\ud83d\\ude42"}', "🙂"),
    ],
)
def test_what_models_make_of_a_custom_tools_arguments(arguments, text):
    folded = fold(b"".join(written(called(("shell", *arguments)), **CUSTOM)), include_usage=False)
    assert folded.calls == [Call("c0", "shell", text, "custom")]


@given(st.text(max_size=20))
def test_a_custom_call_sent_back_is_the_one_that_was_made(text):
    assert custom_input(custom_arguments(text)) == text


def test_the_older_form_byte_for_byte():
    events = called(("f", '{"a":', "1}"), ("g", "{}"))
    folded = fold(b"".join(written(events, **OLDER)), include_usage=False)
    assert [chunk["choices"][0]["delta"] for chunk in folded.chunks[1:]] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"a":'}},
        {"function_call": {"arguments": "1}"}},
        {},
    ]
    assert folded.finish_reason == "function_call"
    message = body_of(events, **OLDER)["choices"][0]["message"]
    assert message["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert message["content"] is None
    assert "tool_calls" not in message


def test_the_older_form_without_arguments_has_an_empty_object():
    for more in ((), ("{}",)):
        folded = fold(b"".join(written(called(("f", *more)), **OLDER)), include_usage=False)
        assert folded.calls == [Call(None, "f", "{}")]
        assert (
            json.loads(body_of(called(("f", *more)), **OLDER)["choices"][0]["message"]["function_call"]["arguments"])
            == {}
        )


def test_a_cut_answer_is_cut_in_the_older_form_too():
    folded = fold(b"".join(written(called(("f", "{"), reason="length"), **OLDER)), include_usage=False)
    assert (folded.finish_reason, folded.calls) == ("length", [Call(None, "f", "{")])

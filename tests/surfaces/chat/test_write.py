import collections
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from app.core.errors import Internal, RateLimited
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.usage import Usage
from app.surfaces.chat.surface import ChatSurface
from tests.surfaces.chat.chunk_rules import Call, fold
from tests.surfaces.chat.event_streams import event_streams

SURFACE = ChatSurface()
MODEL = "gpt-oss-120b"
NOW = 1_790_000_000.75

TEXT = [Started(), Opened(0, "text"), Delta(0, "He"), Delta(0, "y"), Closed(0), Finished("stop", Usage(3, 2))]
TOOLS = [
    Started(), Opened(0, "reasoning"), Delta(0, "hm"), Closed(0), Opened(1, "tool_call", "c1", "f"),
    Opened(2, "tool_call", None, "g"), Delta(1, '{"a":'), Delta(2, "[]"), Delta(1, "1}"), Closed(2), Closed(1),
    Opened(3, "tool_call", None, "h"), Closed(3), Finished("tool_calls", Usage(3, 2, 1, 1)),
]  # fmt: skip


def new_ids():
    numbers = collections.defaultdict(lambda: itertools.count(1))
    return lambda prefix: f"{prefix}{next(numbers[prefix])}"


def request(*, include_usage=False, **more):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True, **more}
    if include_usage:
        body["stream_options"] = {"include_usage": True}
    return SURFACE.read(body)


def written(events, *, include_usage=False, model=MODEL, **more):
    writer = SURFACE.writer(request(include_usage=include_usage, **more), model, new_ids(), NOW)
    return [writer.feed(event) for event in events]


def heard(events):
    generation = Generation()
    for event in events:
        generation.hear(event)
    return generation


def body_of(events, **more):
    return SURFACE.body(request(**more), (heard(events),), MODEL, new_ids(), NOW)


def replayed(chunks):
    """Let the SDK accumulate the chunks, each of which must be what it calls one."""
    state = ChatCompletionStreamState()
    for chunk in chunks:
        parsed = ChatCompletionChunk.model_validate(chunk, strict=True)
        assert not parsed.model_extra
        for choice in parsed.choices:
            assert not choice.model_extra
            assert set(choice.delta.model_extra) <= {"reasoning", "reasoning_content"}
        list(state.handle_chunk(parsed))
    return state


def calls_of(message):
    return [(call.id, call.type, call.function.name, call.function.arguments) for call in message.tool_calls or ()]


@settings(max_examples=150, deadline=None)
@given(event_streams(), st.booleans())
def test_a_stream_keeps_every_rule_and_says_what_was_generated(events, include_usage):
    blocks = written(events, include_usage=include_usage)
    for block in blocks:
        assert not block or (block.startswith(b"data: ") and block.endswith(b"\n\n")), "whole frames or nothing"
    folded = fold(b"".join(blocks), include_usage=include_usage)

    generation = heard(events)
    assert folded.text == generation.text("text")
    assert folded.reasoning == generation.text("reasoning")
    assert folded.refusal == generation.text("refusal")
    assert [(call.name, call.arguments) for call in folded.calls] == [
        (call.name, call.text or "{}") for call in generation.tool_calls()
    ]
    for call, part in zip(folded.calls, generation.tool_calls(), strict=True):
        assert call.id == part.call_id if part.call_id else call.id.startswith("call_")
    assert folded.finish_reason == generation.reason
    assert folded.error == (generation.error.body() if generation.error else None)
    if folded.usage:
        assert folded.usage["total_tokens"] == generation.usage.total_tokens


@settings(max_examples=80, deadline=None)
@given(event_streams(), st.booleans())
def test_the_sdk_reads_each_chunk_and_folds_the_stream_into_the_body(events, include_usage):
    folded = fold(b"".join(written(events, include_usage=include_usage)), include_usage=include_usage)
    state = replayed(folded.chunks)
    if folded.error:
        return

    # Not get_final_completion(): it also raises at 'length', whoever's stream it is.
    final = state.current_completion_snapshot
    body = body_of(events)
    whole = ChatCompletion.model_validate(body, strict=True)
    assert (final.id, final.created, final.model) == (whole.id, whole.created, whole.model)
    streamed, message = final.choices[0].message, whole.choices[0].message
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason
    assert streamed.role == message.role == "assistant"
    if message.content is None:
        assert not streamed.content.strip()
        assert message.tool_calls or message.refusal
    else:
        assert streamed.content == message.content
    assert streamed.refusal == message.refusal
    assert streamed.model_extra.get("reasoning") == message.model_extra.get("reasoning")
    assert streamed.model_extra.get("reasoning_content") == message.model_extra.get("reasoning_content")
    assert calls_of(streamed) == calls_of(message)
    assert final.usage == (whole.usage if include_usage else None)


@settings(max_examples=50, deadline=None)
@given(event_streams())
def test_a_body_has_every_key_that_is_required_and_no_other(events):
    body = body_of(events)
    choice = body["choices"][0]
    message = choice["message"]
    assert body["created"] == int(NOW)
    assert body["id"] == "chatcmpl-1"
    assert " ".join(body) == "id object created model choices usage service_tier system_fingerprint"
    assert " ".join(choice) == "index message logprobs finish_reason"
    extra = {"tool_calls", "reasoning", "reasoning_content"}
    assert set(message) - extra == {"role", "content", "refusal", "annotations"}
    assert message.get("tool_calls") != [], "some clients take an empty array for a call"
    assert message.get("reasoning") == message.get("reasoning_content") != ""


def test_a_text_stream_byte_for_byte():
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"gpt-oss-120b",'
    rest = b',"logprobs":null,"finish_reason":null}]}\n\n'
    assert written(TEXT) == [
        head + b'"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null}' + rest,
        b"",
        head + b'"choices":[{"index":0,"delta":{"content":"He"}' + rest,
        head + b'"choices":[{"index":0,"delta":{"content":"y"}' + rest,
        b"",
        head + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    ]


def test_usage_is_null_until_a_chunk_of_its_own_ends_the_stream():
    blocks = written(TEXT, include_usage=True)
    *earlier, last = fold(b"".join(blocks), include_usage=True).chunks
    assert [chunk["usage"] for chunk in earlier] == [None, None, None, None]
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_tool_calls_side_by_side_keep_their_index_and_get_an_id_and_an_object_when_the_model_gave_none():
    folded = fold(b"".join(written(TOOLS)), include_usage=False)
    assert folded.calls == [Call("c1", "f", '{"a":1}'), Call("call_1", "g", "[]"), Call("call_2", "h", "{}")]
    deltas = [chunk["choices"][0]["delta"].get("tool_calls", [{}])[0].get("index") for chunk in folded.chunks]
    assert deltas == [None, None, 0, 1, 0, 1, 0, 2, 2, None]


def test_a_body_with_calls():
    body = body_of(TOOLS)
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "annotations": [],
                "reasoning_content": "hm",
                "reasoning": "hm",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                    {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": "[]"}},
                    {"id": "call_2", "type": "function", "function": {"name": "h", "arguments": "{}"}},
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ]
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1


@pytest.mark.parametrize(
    ("kinds", "content", "refusal"),
    [
        ((), "", None),
        (("text",), "x", None),
        (("refusal",), None, "x"),
        (("text", "refusal"), "x", "x"),
        (("text", "tool_call"), "x", None),
        (("text", "text"), "xx", None),
    ],
)
def test_content_and_refusal_of_a_body(kinds, content, refusal):
    parts = []
    for part, kind in enumerate(kinds):
        parts += [Opened(part, kind, "c", "f"), Delta(part, "x"), Closed(part)]
    message = body_of([Started(), *parts, Finished("stop")])["choices"][0]["message"]
    assert message["content"] == content
    assert message["refusal"] == refusal


def test_blank_text_beside_a_call_is_no_content():
    blank = [Started(), Opened(0, "text"), Delta(0, "\n "), Closed(0)]
    call = [Opened(1, "tool_call", "c", "f"), Closed(1)]
    assert body_of([*blank, *call, Finished("tool_calls")])["choices"][0]["message"]["content"] is None
    assert body_of([*blank, Finished("stop")])["choices"][0]["message"]["content"] == "\n "


def test_a_failure_is_the_last_frame_and_done_never_follows():
    error = RateLimited("Slow down.")
    blocks = written([*TEXT[:-1], Failed(error)])
    assert blocks[-1] == (
        b'data: {"error":{"message":"Slow down.","type":"requests","param":null,"code":"rate_limit_exceeded"}}\n\n'
    )
    assert b"[DONE]" not in b"".join(blocks)
    assert SURFACE.error_frames(error) == blocks[-1]


def test_a_failure_before_the_start_is_an_error_frame_only():
    assert written([Failed(Internal("Broken."))]) == [SURFACE.error_frames(Internal("Broken."))]


@pytest.mark.parametrize("text", ["\ud83d", "a\ude00b", "\u2028\u2029\x85", "\x00\x1f", '"\\', "\r\n\r\n", "🙂"])
@pytest.mark.parametrize("kind", ["text", "reasoning", "refusal", "tool_call"])
def test_any_text_fits_into_a_frame(kind, text):
    events = [Started(), Opened(0, kind, "c", "f"), Delta(0, text), Closed(0), Finished("stop")]
    folded = fold(b"".join(written(events)), include_usage=False)
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    arguments = "".join(call.arguments for call in folded.calls)
    assert folded.text + folded.reasoning + folded.refusal + arguments == expected


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-120b", 'a"b\\c', "m\n\nd", "modèle"])
def test_the_model_is_named_as_asked(model):
    folded = fold(b"".join(written(TEXT, model=model)), include_usage=False)
    assert {chunk["model"] for chunk in folded.chunks} == {model}


def _edited(edit):
    frames = b"".join(written(TOOLS, include_usage=True))[:-2].split(b"\n\n")
    chunks = [json.loads(frame[6:]) for frame in frames[:-1]]
    edit(chunks)
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _delta(chunk):
    return chunk["choices"][0]["delta"]


MISTAKES = {
    "role in a later delta": lambda chunks: _delta(chunks[1]).update(role="assistant"),
    "no role": lambda chunks: _delta(chunks[0]).pop("role"),
    "an id that changes": lambda chunks: chunks[3].update(id="chatcmpl-9"),
    "created that changes": lambda chunks: chunks[3].update(created=1),
    "a model that changes": lambda chunks: chunks[3].update(model="other"),
    "another object": lambda chunks: chunks[1].update(object=""),
    "a call's id twice": lambda chunks: _delta(chunks[4])["tool_calls"][0].update(id="c1"),
    "a call's name twice": lambda chunks: _delta(chunks[4])["tool_calls"][0]["function"].update(name="f"),
    "a first index of 1": lambda chunks: _delta(chunks[2])["tool_calls"][0].update(index=1),
    "no index": lambda chunks: _delta(chunks[4])["tool_calls"][0].pop("index"),
    "all calls at index 0": lambda chunks: _delta(chunks[3])["tool_calls"][0].update(index=0),
    "usage too early": lambda chunks: chunks[-2].update(usage=chunks[-1]["usage"]),
    "no usage beside the others": lambda chunks: chunks[1].pop("usage"),
    "no usage at the end": lambda chunks: chunks.pop(),
    "no finish_reason": lambda chunks: chunks.pop(-2),
    "two finish_reasons": lambda chunks: chunks.insert(-2, chunks[-2]),
    "one name for reasoning": lambda chunks: _delta(chunks[1]).pop("reasoning"),
}


@pytest.mark.parametrize("edit", MISTAKES.values(), ids=MISTAKES)
def test_the_rules_notice_what_breaks_clients(edit):
    assert fold(_edited(lambda chunks: None), include_usage=True).finish_reason == "tool_calls"
    with pytest.raises((AssertionError, KeyError)):
        fold(_edited(edit), include_usage=True)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"data: {}\n\n",
        b"id: 1\ndata: [DONE]\n\n",
        b"event: x\n\ndata: [DONE]\n\n",
        b"data: [DONE]\n\ndata: [DONE]\n\n",
        b'data: {"error":"x"}\n\n',
        b'data: {"error":{"message":"x","type":"x","param":null,"code":null}}\n\ndata: [DONE]\n\n',
        b"data: [DONE]",
    ],
)
def test_the_rules_notice_broken_framing(stream):
    with pytest.raises((AssertionError, KeyError)):
        fold(stream, include_usage=False)

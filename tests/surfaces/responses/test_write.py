import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from app.core.errors import Overloaded, RateLimited, UpstreamTruncated
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.grammar import Grammar
from app.core.usage import Usage
from app.surfaces.responses.surface import ResponsesSurface
from tests.surfaces.responses.event_streams import event_streams
from tests.surfaces.responses.stream_rules import OPEN_RESPONSES, check, parse

SURFACE = ResponsesSurface(clock=lambda: 1_700_000_007.5)
OPEN_SURFACE = ResponsesSurface(clock=lambda: 1_700_000_007.5, reasoning_events="open-responses")
NOW = 1_700_000_000.9

PLAIN = {"model": "m", "input": "hi", "stream": True}
RICH = {
    "model": "m",
    "input": [{"role": "user", "content": "hi"}],
    "instructions": "Be brief.",
    "stream": True,
    "temperature": 0.5,
    "top_p": 1,
    "max_output_tokens": 64,
    "metadata": {"a": "b"},
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "max_tool_calls": 3,
    "truncation": "auto",
    "top_logprobs": 2,
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {
        "format": {
            "type": "json_schema",
            "name": "n",
            "schema": {"type": "object"},
            "strict": True,
            "description": "d",
        },
        "verbosity": "low",
    },
    "tool_choice": "auto",
    "tools": [
        {"type": "function", "name": "f"},
        {"type": "custom", "name": "shell", "description": "d"},
        {
            "type": "namespace",
            "name": "crm",
            "description": "d",
            "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}],
        },
        {"type": "web_search"},
    ],
}


def ids():
    count = itertools.count()
    return lambda prefix: f"{prefix}{next(count)}"


def write(events, body=PLAIN, surface=SURFACE):
    writer = surface.writer(surface.read(body), "m", ids(), NOW)
    return b"".join(map(writer.feed, events))


def fold(events, body=PLAIN):
    generation = Generation()
    for event in events:
        generation.hear(event)
    return SURFACE.body(SURFACE.read(body), (generation,), "m", ids(), NOW)


def has_half_characters(events):
    return any(isinstance(event, Delta) and any("\ud800" <= c <= "\udfff" for c in event.text) for event in events)


def without_ids(response):
    output = [
        {key: value for key, value in item.items() if key != "id" and not str(value).startswith("call_")}
        for item in response["output"]
    ]
    return {**response, "id": None, "output": output}


@given(events=event_streams(), body=st.sampled_from([PLAIN, RICH]))
@settings(max_examples=300, deadline=None)
def test_every_legal_stream_of_events_becomes_a_legal_stream(events, body):
    grammar = Grammar()
    for event in events:
        grammar.hear(event)
    grammar.close()
    final, written = check(write(events, body))
    assert len(final["output"]) == sum(isinstance(event, Opened) for event in events)
    summaries = [event for event in written if event["type"] == "response.reasoning_summary_text.done"]
    if body is PLAIN:
        assert not summaries
    else:
        thoughts = [item for item in final["output"] if item["type"] == "reasoning" and item["content"][0]["text"]]
        assert len(summaries) == len(thoughts)


@given(events=event_streams(), body=st.sampled_from([PLAIN, RICH]))
@settings(max_examples=200, deadline=None)
def test_an_unstreamed_body_is_what_the_stream_ends_with(events, body):
    if has_half_characters(events):
        events = [Delta(e.part, "x") if isinstance(e, Delta) else e for e in events]
    final, _ = check(write(events, body))
    assert without_ids(fold(events, body)) == without_ids(final)


@given(events=event_streams(), body=st.sampled_from([PLAIN, RICH]))
@settings(max_examples=100, deadline=None)
def test_the_other_names_of_reasoning_change_nothing_else(events, body):
    stream = write(events, body, OPEN_SURFACE)
    check(stream, OPEN_RESPONSES)
    renamed = stream.replace(b"response.reasoning.", b"response.reasoning_text.")
    assert renamed == write(events, body)


@given(events=event_streams(), body=st.sampled_from([PLAIN, RICH]))
@settings(max_examples=60, deadline=None)
def test_the_sdks_types_accept_every_event(events, body):
    for event in parse(write(events, body)):
        STREAM_EVENT.validate_python(event)
        if "response" in event:
            Response.model_validate(event["response"])


STREAM_EVENT = TypeAdapter(ResponseStreamEvent)

THINK_AND_SAY = [
    Started(),
    Opened(0, "reasoning"),
    Delta(0, "hm"),
    Closed(0),
    Opened(1, "text"),
    Delta(1, "Hel"),
    Delta(1, "lo"),
    Closed(1),
    Finished("stop", Usage(3, 4, cached_tokens=1, reasoning_tokens=2)),
]


def test_the_order_of_a_plain_answer():
    _, events = check(write(THINK_AND_SAY))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_the_final_object_is_whole():
    final, _ = check(write(THINK_AND_SAY))
    assert final == {
        "id": "resp_0",
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": 1_700_000_007,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "m",
        "output": [
            {
                "id": "rs_1",
                "type": "reasoning",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "hm"}],
                "status": "completed",
            },
            {
                "id": "msg_2",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
            },
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 7,
        },
        "metadata": {},
    }


def test_the_request_is_echoed():
    final, _ = check(write(THINK_AND_SAY, RICH))
    same = ("instructions", "temperature", "top_p", "max_output_tokens", "metadata", "user", "text", "truncation")
    assert {key: final[key] for key in same} == {key: RICH[key] for key in same}
    assert final["reasoning"] == RICH["reasoning"]
    assert final["parallel_tool_calls"] is False
    assert final["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": False},
        RICH["tools"][1],
        RICH["tools"][2],
    ]


def test_the_closing_of_the_last_item_waits_for_the_end_and_nothing_else_waits():
    writer = SURFACE.writer(SURFACE.read(PLAIN), "m", ids(), NOW)
    sizes = [len(writer.feed(event)) for event in THINK_AND_SAY]
    assert [bool(size) for size in sizes] == [True, True, True, False, True, True, True, False, True]


@pytest.mark.parametrize(("reason", "cut"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete(reason, cut):
    final, _ = check(write([*THINK_AND_SAY[:-1], Finished(reason)]))
    assert final["status"] == "incomplete"
    assert final["incomplete_details"] == {"reason": cut}
    assert final["completed_at"] is None
    assert [item["status"] for item in final["output"]] == ["completed", "incomplete"]


def test_a_failure_is_told_in_both_forms_and_then_ends_the_response():
    error = UpstreamTruncated()
    final, events = check(write([*THINK_AND_SAY[:-1], Failed(error, Usage(1, 2))]))
    told = events[-2]
    assert told == {
        "type": "error",
        "sequence_number": len(events) - 2,
        "code": "upstream_truncated",
        "message": error.message,
        "param": None,
        "error": error.body(),
    }
    assert final["error"] == {"code": "server_error", "message": error.message}
    assert final["output"][-1]["status"] == "incomplete"
    assert final["output"][-1]["content"][0]["text"] == "Hello"
    assert final["usage"]["total_tokens"] == 3


def test_a_rate_limit_is_a_rate_limit():
    final, _ = check(write([Started(), Failed(RateLimited())]))
    assert final["error"]["code"] == "rate_limit_exceeded"


def test_a_failure_that_the_writer_did_not_hear_of_ends_the_stream():
    (event,) = parse(SURFACE.error_frames(Overloaded()))
    assert event["type"] == "error"
    assert event["error"]["code"] == event["code"] == "server_is_overloaded"
    assert "sequence_number" not in event


def call_events(name, *texts, reason="tool_calls", call_id="call_up"):
    deltas = [Delta(0, text) for text in texts]
    return [Started(), Opened(0, "tool_call", call_id, name), *deltas, Closed(0), Finished(reason)]


def test_a_function_call():
    final, _ = check(write(call_events("f", '{"a"', ":1}"), RICH))
    assert final["output"] == [
        {
            "id": "fc_1",
            "call_id": "call_up",
            "name": "f",
            "status": "completed",
            "type": "function_call",
            "arguments": '{"a":1}',
        }
    ]


def test_a_call_without_an_id_or_arguments_gets_both():
    final, _ = check(write(call_events("f", call_id=None), RICH))
    assert final["output"][0]["call_id"] == "call_2"
    assert final["output"][0]["arguments"] == "{}"


def test_a_call_that_was_cut_before_its_arguments_has_none():
    final, _ = check(write(call_events("f", reason="length"), RICH))
    assert final["output"][0]["arguments"] == ""
    assert final["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("name", ["crm__find", "find"])
def test_a_call_in_a_namespace_comes_back_with_it(name):
    final, _ = check(write(call_events(name, "{}"), RICH))
    assert (final["output"][0]["name"], final["output"][0]["namespace"]) == ("find", "crm")


@pytest.mark.parametrize(
    ("texts", "seen"),
    [
        (('{"input"', ':"ls\\n"}'), "ls\n"),
        (('{"input":"ls -', "l"), "ls -l"),
        (('{"command":"ls"}',), "ls"),
        (('{"a":1,"b":2}',), '{"a":1,"b":2}'),
        (('"ls"',), "ls"),
        (("ls",), "ls"),
        ((), ""),
    ],
)
def test_a_custom_call_gives_its_text(texts, seen):
    final, events = check(write(call_events("shell", *texts), RICH))
    assert final["output"][0]["type"] == "custom_tool_call"
    assert final["output"][0]["id"].startswith("ctc_")
    assert final["output"][0]["input"] == seen
    assert "response.custom_tool_call_input.done" in [event["type"] for event in events]


def test_calls_side_by_side_keep_their_places():
    events = [
        Started(),
        Opened(0, "tool_call", "a", "f"),
        Opened(1, "tool_call", "b", "f"),
        Delta(1, "[1]"),
        Closed(1),
        Delta(0, "[0]"),
        Closed(0),
        Finished("length"),
    ]
    final, _ = check(write(events, RICH))
    assert [(item["call_id"], item["arguments"], item["status"]) for item in final["output"]] == [
        ("a", "[0]", "completed"),
        ("b", "[1]", "incomplete"),
    ]


def test_half_a_character_in_a_token_does_not_break_the_sum():
    final, _ = check(
        write([Started(), Opened(0, "text"), Delta(0, "\ud83d"), Delta(0, "\ude00"), Closed(0), Finished("stop")])
    )
    assert final["output"][0]["content"][0]["text"] == "\ufffd\ufffd"

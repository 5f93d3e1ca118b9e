import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import BadRequest, RateLimited, UpstreamBroken
from app.core.events import Closed, Delta, Event, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.grammar import Grammar
from app.core.usage import Usage
from app.dialects.reader import AnswerReader

USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def heard(events) -> Generation:
    grammar, generation = Grammar(), Generation()
    for event in events:
        grammar.hear(event)
        generation.hear(event)
    grammar.close()
    return generation


def read(payload, **options) -> Generation:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return heard(AnswerReader(**options).read(body))


def stream(*frames, done=True, **options) -> Generation:
    reader = AnswerReader(**options)
    events: list[Event] = []
    for frame in frames:
        events.extend(reader.feed(frame if isinstance(frame, bytes) else json.dumps(frame).encode()))
    if done:
        events.extend(reader.feed(b"[DONE]"))
    events.extend(reader.close())
    return heard(events)


def message(finish_reason="stop", usage=USAGE, **fields):
    return {"choices": [{"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish_reason}]} | (
        {"usage": usage} if usage else {}
    )


def delta(finish_reason=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def told(events) -> list[object]:
    """Events that can be compared: an error is no value."""
    return [(type(event.error), event.usage) if isinstance(event, Failed) else event for event in events]


def calls(generation: Generation) -> list[tuple[str | None, str | None, str]]:
    return [(part.call_id, part.name, part.text) for part in generation.tool_calls()]


def test_unstreamed_chat() -> None:
    found = read(
        message(
            content="4 °C",
            reasoning_content="Look.",
            refusal=None,
            tool_calls=[],
            annotations=None,
            audio=None,
            function_call=None,
        )
    )
    assert [(part.kind, part.text) for part in found.parts] == [("reasoning", "Look."), ("text", "4 °C")]
    assert (found.reason, found.usage) == ("stop", Usage(10, 4))


def test_unstreamed_native_in_its_envelope() -> None:
    result = {"response": "Lima.", "tool_calls": [], "usage": USAGE}
    found = read({"result": result, "success": True, "errors": [], "messages": []})
    assert (found.text("text"), found.reason, found.usage) == ("Lima.", "stop", Usage(10, 4))


@pytest.mark.parametrize(
    "element",
    [
        {"name": "get", "arguments": {"a": 0}},
        {"name": "get", "arguments": '{"a":0}'},
        {"type": "function", "function": {"name": "get", "arguments": {"a": 0}}},
        {"type": "function", "function": {"name": "get", "arguments": '"{\\"a\\":0}"'}},
        {"type": "function", "function": {"name": "get", "arguments": '"\\"{\\\\\\"a\\\\\\":0}\\""'}},
    ],
)
def test_unstreamed_calls_in_every_form(element) -> None:
    found = read({"result": {"response": None, "tool_calls": [element, {**element, "id": "x"}]}, "success": True})
    assert calls(found) == [(None, "get", '{"a":0}'), ("x", "get", '{"a":0}')]
    assert found.reason == "tool_calls"


def test_calls_that_share_an_id_get_new_ones() -> None:
    element = {"id": "functions.get:0", "type": "function", "function": {"name": "get", "arguments": "{}"}}
    assert [call[0] for call in calls(read(message(tool_calls=[element, element])))] == ["functions.get:0", None]


def test_the_old_function_call() -> None:
    found = read(message(content=None, function_call={"name": "get", "arguments": "{}"}))
    assert calls(found) == [(None, "get", "{}")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1}, '{"a":1}'),
        ([{"a": 1}], '[{"a":1}]'),
        (6, "6"),
        (0, "0"),
        (1.5, "1.5"),
        (False, "false"),
        ({}, "{}"),
        ("", ""),
        ("0", "0"),
    ],
)
def test_content_of_every_type(value, text) -> None:
    assert read(message(content=value)).text("text") == text
    assert read({"result": {"response": value, "usage": USAGE}, "success": True}).text("text") == text
    assert stream(delta(content=value), delta("stop")).text("text") == text


def test_a_json_answer_of_a_model_that_thinks_inline() -> None:
    assert read(message(content={"a": 1}), thinks_inline=True).text("text") == '{"a":1}'


def test_the_responses_form() -> None:
    found = read(
        {
            "object": "response",
            "status": "completed",
            "error": None,
            "output": [
                {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
                {"type": "message", "content": [{"type": "output_text", "text": "Yes"}]},
                {"type": "function_call", "call_id": "c1", "name": "get", "arguments": "{}"},
                {"type": "message", "content": [{"type": "refusal", "refusal": "No"}]},
                {"type": "unknown"},
                7,
            ],
            "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
        }
    )
    assert [(part.kind, part.text) for part in found.parts] == [
        ("reasoning", "Hm."),
        ("text", "Yes"),
        ("tool_call", "{}"),
        ("refusal", "No"),
    ]
    assert (found.reason, found.usage) == ("tool_calls", Usage(7, 3))


@pytest.mark.parametrize(
    ("details", "reason"),
    [({"reason": "max_output_tokens"}, "length"), ({"reason": "content_filter"}, "content_filter")],
)
def test_an_incomplete_response(details, reason) -> None:
    found = read(
        {
            "result": {
                "object": "response",
                "status": "incomplete",
                "incomplete_details": details,
                "output": [{"type": "message", "content": "Half"}],
            },
            "success": True,
        }
    )
    assert (found.text("text"), found.reason) == ("Half", reason)


@pytest.mark.parametrize(
    "payload",
    [
        {"result": None, "success": True, "errors": [], "messages": []},
        {"result": {}, "success": True},
        {"result": {"response": "", "tool_calls": []}, "success": True},
        {"result": [], "success": True},
        {"choices": []},
        {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
        {},
        [],
        None,
        7,
    ],
)
def test_an_empty_answer_fails(payload) -> None:
    found = read(payload)
    assert isinstance(found.error, UpstreamBroken)
    assert found.error.code == "upstream_empty"


def test_an_empty_text_that_cost_something_is_an_answer() -> None:
    assert read(message("length", content=None)).reason == "length"
    assert stream(delta("stop")).reason == "stop"


@pytest.mark.parametrize("usage", [USAGE, None])
def test_q10_announced_calls_that_are_not_there_fail(usage) -> None:
    found = read(message("tool_calls", usage, content=None, tool_calls=[]))
    assert (type(found.error), found.error.code, found.parts) == (UpstreamBroken, "upstream_empty", [])
    assert found.usage == (usage and Usage(10, 4))
    found = stream(
        delta(role="assistant", content=""), delta("tool_calls", tool_calls=[]), {"choices": [], "usage": usage}
    )
    assert found.error.code == "upstream_empty"


def test_q10_with_text_it_is_an_ordinary_ending() -> None:
    assert read(message("tool_calls", content="Hi", tool_calls=[])).reason == "stop"
    found = stream(delta(content="Hi"), delta("tool_calls", tool_calls=[]))
    assert (found.text("text"), found.reason) == ("Hi", "stop")


def test_q10_a_spent_limit_is_a_cut() -> None:
    assert read(message("tool_calls", content=None, tool_calls=[]), max_tokens=4).reason == "length"


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff"])
def test_what_is_not_json_fails(body) -> None:
    assert isinstance(read(body).error, UpstreamBroken)


def test_failures_with_status_200() -> None:
    assert isinstance(read({"success": False, "errors": [{"code": 3021}]}).error, RateLimited)
    assert isinstance(read({"result": {"error": {"code": 400, "message": "x"}}, "success": True}).error, BadRequest)
    assert isinstance(read({"object": "response", "error": {"message": "x"}, "output": []}).error, UpstreamBroken)


@pytest.mark.parametrize(
    ("given_reason", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("eot", "stop"),
        ("end_turn", "stop"),
        ("EOS", "stop"),
        ("new", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "stop"),
        ("content_filter", "content_filter"),
    ],
)
def test_reasons_without_calls(given_reason, reason) -> None:
    assert read(message(given_reason, content="x")).reason == reason
    assert stream(delta(content="x"), delta(given_reason)).reason == reason


@pytest.mark.parametrize(
    ("given_reason", "reason"), [("stop", "tool_calls"), (None, "tool_calls"), ("length", "length")]
)
def test_reasons_with_calls(given_reason, reason) -> None:
    element = {"id": "a", "function": {"name": "get", "arguments": "{}"}}
    assert read(message(given_reason, tool_calls=[element])).reason == reason
    assert stream(delta(tool_calls=[{"index": 0, **element}]), delta(given_reason)).reason == reason


@pytest.mark.parametrize("word", ["error", "abort"])
def test_a_reason_that_is_a_failure(word) -> None:
    found = stream(delta(content="Half"), {**delta(word), "usage": USAGE})
    assert isinstance(found.error, UpstreamBroken)
    assert (found.text("text"), found.usage) == ("Half", Usage(10, 4))


def test_a_spent_limit_is_a_cut() -> None:
    assert read(message(content="x"), max_tokens=4).reason == "length"
    assert read(message(content="x"), max_tokens=5).reason == "stop"
    whole = {"id": "a", "function": {"name": "get", "arguments": '{"a":1}'}}
    half = {"id": "a", "function": {"name": "get", "arguments": '{"a":'}}
    assert read(message(tool_calls=[whole]), max_tokens=4).reason == "tool_calls"
    assert read(message(tool_calls=[half]), max_tokens=4).reason == "length"


def test_a_cut_thought_is_not_told_twice() -> None:
    found = read(message(content="still thinking"), max_tokens=4, thinks_inline=True)
    assert (found.text("reasoning"), found.text("text")) == ("still thinking", "")


def test_length_outlasts_a_second_stop() -> None:
    assert stream(delta(content="x"), delta("length"), delta("stop")).reason == "length"


def test_no_reason_but_done() -> None:
    assert stream({"response": "x"}).reason == "stop"
    assert stream(delta(content="x")).reason == "stop"
    call = {"index": 0, "id": "a", "function": {"name": "get", "arguments": "{}"}}
    assert stream(delta(tool_calls=[call])).reason == "tool_calls"


def test_other_choices_are_ignored() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}}]}
    both = {"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "c"}}]}
    assert stream(delta(content="a"), other, delta(content="b"), both, delta("stop")).text("text") == "abc"


def test_reasoning_under_both_names_is_told_once() -> None:
    frames = [delta(reasoning="a", reasoning_content="a"), delta(reasoning="b", reasoning_content="b")]
    assert stream(*frames, delta("stop")).text("reasoning") == "ab"


def test_separate_reasoning_ends_the_search_for_tags() -> None:
    found = stream(delta(reasoning_content="hm"), delta(content="yes"), delta("stop"), thinks_inline=True)
    assert (found.text("reasoning"), found.text("text")) == ("hm", "yes")


def test_an_index_that_is_used_again() -> None:
    found = stream(
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "get", "arguments": '{"a":1}'}}]),
        delta(tool_calls=[{"index": 0, "id": "b", "function": {"name": "get", "arguments": '{"b":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "2}"}}]),
        delta(tool_calls=[{"index": 0, "id": "b", "function": {"name": "put", "arguments": "{}"}}]),
        delta("stop"),
    )
    assert calls(found) == [("a", "get", '{"a":1}'), ("b", "get", '{"b":2}'), (None, "put", "{}")]


def test_a_name_repeated_with_every_fragment_is_one_call() -> None:
    fragments = ['{"a"', ":", "1}", ""]
    frames = [
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "get", "arguments": text}}])
        for text in fragments
    ]
    assert calls(stream(*frames, delta("stop"))) == [("a", "get", '{"a":1}')]


def test_a_call_that_is_told_again_after_it_was_complete_is_another() -> None:
    element = {"index": 0, "id": "functions.get:0", "function": {"name": "get", "arguments": '{"a":1}'}}
    found = stream(delta(tool_calls=[element]), delta(tool_calls=[element]), delta("stop"))
    assert calls(found) == [("functions.get:0", "get", '{"a":1}'), (None, "get", '{"a":1}')]


def test_arguments_side_by_side() -> None:
    def fragment(index, text, **more):
        return delta(tool_calls=[{"index": index, "function": {"arguments": text, **more}}])

    found = stream(
        fragment(0, "", name="a"),
        fragment(1, "[", name="b"),
        fragment(0, "{"),
        fragment(1, "]"),
        fragment(0, "}"),
        done=True,
    )
    assert calls(found) == [(None, "a", "{}"), (None, "b", "[]")]


def test_fragments_without_an_index_belong_to_the_newest_call() -> None:
    found = stream(
        delta(tool_calls=[{"id": "a", "function": {"name": "get", "arguments": ""}}]),
        delta(tool_calls=[{"function": {"arguments": "{}"}}]),
        delta(tool_calls=[{"id": "b", "function": {"name": "put"}}]),
        delta(tool_calls=[{"function": {"arguments": "[]"}}]),
    )
    assert calls(found) == [("a", "get", "{}"), ("b", "put", "[]")]


def test_text_waits_for_an_unfinished_call_and_is_never_lost() -> None:
    found = stream(
        delta(content="before"),
        delta(tool_calls=[{"index": 0, "function": {"name": "get", "arguments": '{"a'}}]),
        delta(content="during"),
        delta(reasoning="thought"),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '":1}'}}]),
        delta("stop"),
    )
    assert [(part.kind, part.text) for part in found.parts] == [
        ("text", "before"),
        ("tool_call", '{"a":1}'),
        ("text", "during"),
        ("reasoning", "thought"),
    ]


def test_arguments_that_never_get_a_name_are_told_as_text() -> None:
    found = stream(
        delta(content="so"),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
        delta(content="!"),
        delta("stop"),
    )
    assert [(part.kind, part.text) for part in found.parts] == [("text", "so!{}")]
    assert found.reason == "stop"


def test_a_quoted_string_that_is_no_json_stays() -> None:
    element = {"id": "a", "function": {"name": "say", "arguments": '"hello"'}}
    assert calls(read(message(tool_calls=[element]))) == [("a", "say", '"hello"')]


def test_the_quick_way_and_the_slow_way_meet() -> None:
    reader = AnswerReader()

    def feed(**fields):
        return list(reader.feed(json.dumps(delta(**fields)).encode()))

    assert feed(role="assistant", content="") == []
    assert feed(content="a") == [Started(), Opened(0, "text"), Delta(0, "a")]
    assert feed(content="b") == [Delta(0, "b")]
    assert feed(content="c", role="assistant", tool_calls=None, reasoning="") == [Delta(0, "c")]
    assert feed(content="") == []
    assert feed(content="d") == [Delta(0, "d")]
    assert feed(content="e", reasoning="r") == [
        Closed(0),
        Opened(1, "reasoning"),
        Delta(1, "r"),
        Closed(1),
        Opened(2, "text"),
        Delta(2, "e"),
    ]
    assert feed(content="f") == [Delta(2, "f")]
    assert feed(content=0) == [Delta(2, "0")]
    assert feed(content="g", tool_calls=[{"index": 0, "function": {"name": "x"}}]) == [
        Delta(2, "g"),
        Closed(2),
        Opened(3, "tool_call", None, "x"),
    ]
    assert reader.feed(b'{"error":{"message":"x"}}')[0] == Closed(3)
    assert reader.feed(json.dumps(delta(content="late")).encode()) == ()
    assert reader.close() == []


def test_unreadable_frames_are_counted() -> None:
    reader = AnswerReader()
    for frame in [b"ping", b"7", b'"x"', b"[1]", b"null", b'{"hello":1}', b'{"response":"x"}']:
        reader.feed(frame)
    assert reader.skipped == 6


def test_an_envelope_in_a_stream_is_opened() -> None:
    assert stream({"result": {"response": "x"}, "success": True}).text("text") == "x"


def test_halves_within_arguments_are_joined() -> None:
    body = '{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{%s"arguments":"%s"}}]}}]}'
    found = stream(
        (body % ('"name":"say",', '[\\"\\ud83d')).encode(),
        (body % ("", '\\ude00\\"]')).encode(),
        (body % ("", "\\ud83d")).encode(),
    )
    assert calls(found) == [(None, "say", '["\U0001f600"]\ufffd')]


def test_deep_and_large_values_do_no_harm() -> None:
    deep = b'{"response":' + b'{"a":' * 600 + b"1" + b"}" * 600 + b"}"
    assert read(deep).text("text").startswith('{"a":{"a"')
    large = b'{"response":{"a":"\\ud800","b":' + b"9" * 40 + b"}}"
    assert "9999" in read(large).text("text")


WORDS = [
    "choices",
    "delta",
    "message",
    "content",
    "reasoning",
    "reasoning_content",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "index",
    "id",
    "response",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "neurons",
    "finish_reason",
    "error",
    "errors",
    "success",
    "result",
    "object",
    "output",
    "refusal",
    "text",
    "function_call",
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10)
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["", "x", "stop", "length", "response", "<think>", "</think>", '{"a":1}', '"', "\ud83d", "\ude00"]
    )
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=20,
)
CALL = st.fixed_dictionaries(
    {},
    optional={
        "index": st.none() | st.integers(0, 2),
        "id": st.none() | st.sampled_from(["a", "b"]),
        "function": st.fixed_dictionaries(
            {},
            optional={
                "name": st.none() | st.sampled_from(["f", "g"]),
                "arguments": JSON | st.sampled_from(["{", "}", "{}"]),
            },
        ),
    },
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": LEAVES,
        "reasoning": LEAVES,
        "reasoning_content": LEAVES,
        "refusal": LEAVES,
        "tool_calls": st.lists(CALL | JSON, max_size=2) | JSON,
    },
)
FRAME = (
    JSON
    | st.fixed_dictionaries({"response": JSON}, optional={"tool_calls": st.lists(CALL, max_size=2), "usage": JSON})
    | st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries({"delta": DELTA}, optional={"finish_reason": LEAVES, "index": LEAVES}), max_size=2
            )
        },
        optional={"usage": JSON},
    )
)
BYTES = FRAME.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20) | st.just(b"[DONE]")


@settings(max_examples=400, deadline=None)
@given(st.lists(BYTES, max_size=8), st.booleans(), st.none() | st.integers(1, 9))
def test_any_frames_make_a_lawful_stream(frames, inline, limit) -> None:
    reader = AnswerReader(thinks_inline=inline, max_tokens=limit)
    events: list[Event] = []
    for frame in frames:
        events.extend(reader.feed(frame))
    events.extend(reader.close())
    heard(events)
    assert not reader.feed(b'{"response":"late"}')


@settings(max_examples=300, deadline=None)
@given(st.lists(BYTES, max_size=8), st.booleans())
def test_the_quick_way_changes_nothing(frames, inline) -> None:
    quick, slow = AnswerReader(thinks_inline=inline), AnswerReader(thinks_inline=inline)
    for frame in frames:
        slow._quick_field = None
        assert told(quick.feed(frame)) == told(slow.feed(frame))
    assert quick.skipped == slow.skipped


@settings(max_examples=300, deadline=None)
@given(BYTES, st.booleans())
def test_any_body_makes_a_lawful_stream(body, inline) -> None:
    events = AnswerReader(thinks_inline=inline).read(body)
    heard(events)
    assert isinstance(events[-1], Finished | Failed)


TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["content", "reasoning", "refusal"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    ),
    max_size=12,
)


@given(TEXTS)
def test_every_text_arrives_in_order(texts) -> None:
    # A first word keeps the search for tags out of it.
    found = stream(delta(content="."), *[delta(**{field: text}) for field, text in texts], delta("stop"))
    for field, kind in (("content", "text"), ("reasoning", "reasoning"), ("refusal", "refusal")):
        sent = "".join(text for name, text in texts if name == field)
        assert found.text(kind) == ("." + sent if field == "content" else sent)

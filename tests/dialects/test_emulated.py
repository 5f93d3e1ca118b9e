"""Answers to which something is done: stop texts, single calls, calls that leaked as text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import UpstreamBroken
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.grammar import Grammar
from app.core.model import Model
from app.core.request import Tool
from app.core.upstream import Emulation, UpstreamRequest
from app.core.usage import Usage
from app.dialects.emulated import reader_for
from app.dialects.leaks import LeakFilter
from app.dialects.markup import MarkupFilter
from app.dialects.single import SingleCallFilter
from app.dialects.stops import StopFilter

USAGE = Usage(10, 4)
CITY = Tool("get", parameters={"type": "object", "properties": {"city": {}, "unit": {}}, "required": ["city"]})
OFFERED = frozenset({"get", "put"})


def heard(events) -> Generation:
    grammar, generation = Grammar(), Generation()
    for event in events:
        grammar.hear(event)
        generation.hear(event)
    grammar.close()
    return generation


def filtered(each, *events) -> Generation:
    return heard([found for event in events for found in each.feed(event)])


def spoken(*pieces, reason="stop", part=0):
    """The events of an answer that is one text."""
    deltas = [Delta(part, piece) for piece in pieces if piece]
    return [Started(), Opened(part, "text"), *deltas, Closed(part), Finished(reason, USAGE)]


def called(part, name="get", arguments="{}"):
    return [Opened(part, "tool_call", f"c{part}", name), Delta(part, arguments), Closed(part)]


def parts(generation) -> list[tuple[object, ...]]:
    return [(part.name, part.text) if part.kind == "tool_call" else (part.kind, part.text) for part in generation.parts]


def cuttings(text):
    """The text whole, character by character, and cut in two everywhere."""
    return [[text], list(text), *([text[:cut], text[cut:]] for cut in range(1, len(text)))]


def reader(**emulation):
    return reader_for(UpstreamRequest("/x", {}, stream=True, emulation=Emulation(**emulation)), Model("m"), 0.0)


def chunk(finish_reason=None, usage=None, **delta) -> bytes:
    return json.dumps({"choices": [{"delta": delta, "finish_reason": finish_reason}], "usage": usage}).encode()


# Stop texts.


def reference(text, stops):
    """The text up to the stop that is complete first, or to the longest of those; and whether there is one."""
    ends = [(text.find(stop) + len(stop), -len(stop)) for stop in stops if stop in text]
    if not ends:
        return text, False
    end, size = min(ends)
    return text[: end + size], True


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("Hello. World", ["."], "Hello"),
        ("Hello END rest", ["END"], "Hello "),
        ("EEND", ["END"], "E"),
        ("aabaabaaac", ["aabaaac"], "aab"),
        ("END", ["END"], ""),
        ("EN", ["END"], "EN"),
        ("one\n\ntwo", ["\n\n", "\n"], "one"),
        ("one\n\ntwo", ["\n\nt", "\n\n"], "one"),
        ("abcd", ["abcd", "bc"], "a"),
        ("xabc", ["bc", "abc"], "x"),
        ("é😀é😀ü", ["😀ü"], "é😀é"),
        ("nothing", ["?"], "nothing"),
    ],
)
def test_stop_is_cut_wherever_the_stream_is(text, stops, expected) -> None:
    for pieces in cuttings(text):
        each = StopFilter(stops)
        found = filtered(each, *spoken(*pieces))
        assert found.text("text") == expected == reference(text, stops)[0]
        assert (found.reason, found.usage) == ("stop", None if each.met else USAGE)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_stop_like_the_whole_text_however_it_is_cut(pieces, stops) -> None:
    each = StopFilter(stops)
    found = filtered(each, *spoken(*pieces))
    assert (found.text("text"), each.met) == reference("".join(pieces), stops)


@given(st.text("abE", max_size=30), st.lists(st.text("abE", min_size=1, max_size=4), min_size=1, max_size=3))
def test_stop_holds_back_no_more_than_a_stops_beginning(text, stops) -> None:
    each, said = StopFilter(stops), ""
    list(each.feed(Opened(0, "text")))
    for place, character in enumerate(text):
        said += "".join(event.text for event in each.feed(Delta(0, character)) if type(event) is Delta)
        if each.met:
            break
        so_far = text[: place + 1]
        longest = max(n for stop in stops for n in range(len(stop)) if so_far.endswith(stop[:n]))
        assert said == so_far[: len(so_far) - longest]


def test_stop_leaves_thoughts_and_arguments_alone() -> None:
    thought = [Opened(0, "reasoning"), Delta(0, "a STOP b"), Closed(0)]
    events = [Started(), *thought, *called(1, arguments='{"a":"STOP"}'), Opened(2, "text"), Delta(2, "say STOP now")]
    each = StopFilter(["STOP"])
    found = filtered(each, *events)
    assert parts(found) == [("reasoning", "a STOP b"), ("get", '{"a":"STOP"}'), ("text", "say ")]
    # With a call before it the client has to know that there is one.
    assert (found.reason, each.met) == ("tool_calls", True)
    assert not each.feed(Closed(2))
    assert not each.feed(Finished("stop"))


def test_stop_does_not_reach_from_one_text_into_the_next() -> None:
    texts = [Opened(0, "text"), Delta(0, "ST"), Closed(0), *called(1), Opened(2, "text"), Delta(2, "OP"), Closed(2)]
    found = filtered(StopFilter(["STOP"]), Started(), *texts, Finished("stop"))
    assert parts(found) == [("text", "ST"), ("get", "{}"), ("text", "OP")]


def test_stop_flushes_what_waits_before_a_failure() -> None:
    broken = Failed(UpstreamBroken())
    found = filtered(StopFilter(["STOP"]), Started(), Opened(0, "text"), Delta(0, "an ST"), Closed(0), broken)
    assert found.text("text") == "an ST"
    assert found.error is broken.error


def test_a_reader_that_met_a_stop_wants_no_more() -> None:
    one = reader(stop=("\n",))
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    events = list(one.feed(chunk(content="a")))
    assert not one.stopped_early
    events += one.feed(chunk(content="b\nc", usage=usage))
    assert one.stopped_early
    assert events[-2:] == [Closed(0), Finished("stop", Usage(9, 2))]
    assert (heard(events).text("text"), one.feed(chunk(content="d")), one.close()) == ("ab", (), ())


def test_a_stop_without_figures_is_left_to_be_estimated() -> None:
    for usage in (None, {"prompt_tokens": 0, "completion_tokens": 1}):
        one = reader(stop=("X",))
        found = heard(one.feed(chunk(content="aX", usage=usage)))
        assert (found.reason, found.usage) == ("stop", None)


def test_a_stop_in_a_whole_answer_costs_all_of_it() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 7}
    body = {"choices": [{"message": {"content": "a X b"}, "finish_reason": "length"}], "usage": usage}
    one = reader(stop=("X",))
    found = heard(one.read(json.dumps(body).encode()))
    assert (found.text("text"), found.reason, found.usage) == ("a ", "stop", Usage(9, 7))
    assert one.stopped_early


# One call only.


def test_one_call() -> None:
    text = [Opened(0, "text"), Delta(0, "hm"), Closed(0)]
    later = [Opened(3, "text"), Delta(3, "done"), Closed(3)]
    events = [Started(), *text, *called(1), *called(2, "put"), *later, Finished("tool_calls", USAGE)]
    found = filtered(SingleCallFilter(), *events)
    assert parts(found) == [("text", "hm"), ("get", "{}"), ("text", "done")]
    assert (found.reason, found.usage) == ("tool_calls", USAGE)


def test_one_call_of_two_side_by_side() -> None:
    opened = [Opened(0, "tool_call", "a", "get"), Opened(1, "tool_call", "b", "put"), Delta(1, "{"), Delta(0, "{}")]
    found = filtered(SingleCallFilter(), Started(), *opened, Closed(1), Closed(0), Finished("tool_calls"))
    assert parts(found) == [("get", "{}")]


@pytest.mark.parametrize(("more", "reason"), [([], "length"), (called(1), "tool_calls")])
def test_one_call_is_whole_when_another_was_cut(more, reason) -> None:
    assert filtered(SingleCallFilter(), Started(), *called(0), *more, Finished("length")).reason == reason


# Tool calls in the text, between tags.


ONE = '<tool_call>{"name": "get", "arguments": {"city": "Oslo"}}</tool_call>'
OSLO = ("get", '{"city":"Oslo"}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, [OSLO]),
        (f"\n\n{ONE}\n", [OSLO]),
        (f"{ONE}\n{ONE}", [OSLO, OSLO]),
        (f"Let me look.\n{ONE}", [("text", "Let me look.\n"), OSLO]),
        (f"{ONE}\nThere.", [OSLO, ("text", "\nThere.")]),
        ('<tool_call>\n{"name":"get","parameters":{"city":"Oslo"}}\n</tool_call>', [OSLO]),
        ("<tool_call>{'name': 'get', 'arguments': {'city': 'Oslo'}}</tool_call>", [OSLO]),
        ("<tool_call>{'name': 'put', 'arguments': {\"a\": 'it\\'s \"x\"\n', 'b': [True, None]}}</tool_call>",
         [("put", '{"a":"it\'s \\"x\\"\\n","b":[true,null]}')]),
        ('<tool_call>{"name":"get","arguments":"{\\"city\\":\\"Oslo\\"}"}</tool_call>', [OSLO]),
        ('<tool_call>{"name":"put"}</tool_call>', [("put", "{}")]),
        ('<tool_call>{"name":"get","arguments":{"city":"Oslo"}}', [OSLO]),
        ('<tool_call>{"name":"get","arguments":{"city":"a < b"}}</tool_call>', [("get", '{"city":"a < b"}')]),
    ],
)  # fmt: skip
def test_q55_calls_between_tags_become_calls(text, expected) -> None:
    for pieces in cuttings(text):
        found = filtered(MarkupFilter(OFFERED), *spoken(*pieces))
        assert parts(found) == expected
        assert (found.reason, found.usage) == ("tool_calls", USAGE)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        " \n plain",
        "\n",
        "a < b and c <tool_cal",
        '<tool_call>{"name":"other","arguments":{}}</tool_call>',
        '  <tool_call>{"name":"other"}</tool_call>\n',
        "Write <tool_call> and </tool_call> around it.",
        "<tool_call>",
        "<tool_call>  ",
        '<tool_call>{"name":"get"</tool_call> no',
        '<tool_call>{"name":"get","arguments":7}</tool_call>',
        '<tool_call>["get"]</tool_call>',
        "<tool_call>{'name': 'get}</tool_call>",
        "<tool_call><tool_call>",
        " " * 300 + "x",
    ],
)
def test_q55_other_text_stays_exactly_as_it_was(text) -> None:
    for pieces in cuttings(text):
        found = filtered(MarkupFilter(OFFERED), *spoken(*pieces))
        assert (parts(found), found.reason) == ([("text", text)], "stop")


@given(
    st.lists(st.sampled_from(["<", "<tool_call>", "</tool_call>", '{"name":"get"}', "{", " ", "a", '"']), max_size=10),
    st.data(),
)
def test_q55_the_cutting_changes_nothing(words, data) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = filtered(MarkupFilter(OFFERED), *spoken(text))
    assert parts(filtered(MarkupFilter(OFFERED), *spoken(*pieces))) == parts(whole)
    if not whole.tool_calls():
        assert whole.text("text") == text


def test_q55_beside_real_calls_and_thoughts() -> None:
    thought = [Opened(0, "reasoning"), Delta(0, ONE), Closed(0)]
    text = [Opened(1, "text"), Delta(1, ONE + ONE), Closed(1)]
    found = filtered(MarkupFilter(OFFERED), Started(), *thought, *text, *called(2, "put"), Finished("length", USAGE))
    assert parts(found) == [("reasoning", ONE), OSLO, OSLO, ("put", "{}")]
    assert found.reason == "length"


# Forced calls that leak as JSON.


LEAKS = [
    ('{"name":"get","arguments":{"city":"Oslo"}}', [OSLO]),
    ('{"name":"functions.get","parameters":{"city":"Oslo"}}', [OSLO]),
    ('{"name":"get","city":"Oslo"}', [OSLO]),
    ('{"type":"function","function":{"name":"get","arguments":"{\\"city\\":\\"Oslo\\"}"}}', [OSLO]),
    ('[{"name":"get","city":"Oslo"},{"name":"put"}]', [OSLO, ("put", "{}")]),
    (' \n```json\n{"name":"get","arguments":{"city":"Oslo"}}\n```\n', [OSLO]),
    ('```\n{"name":"get","arguments":{"city":"Oslo"}}```', [OSLO]),
]


@pytest.mark.parametrize(("text", "expected"), LEAKS)
def test_q11_a_forced_call_that_leaks_is_a_call(text, expected) -> None:
    for pieces in cuttings(text):
        found = filtered(LeakFilter(OFFERED, None), *spoken(*pieces))
        assert parts(found) == expected
        assert (found.reason, found.usage) == ("tool_calls", USAGE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"city":"Oslo"}', [OSLO]),
        ('{"city":"Oslo","unit":"C"}', [("get", '{"city":"Oslo","unit":"C"}')]),
        ('{"unit":"C"}', None),
        ('{"city":"Oslo","other":1}', None),
        ("{}", None),
        ('[{"city":"Oslo"}]', None),
    ],
)
def test_q11_arguments_without_a_name_belong_to_the_one_tool_if_they_fit(text, expected) -> None:
    assert parts(filtered(LeakFilter(OFFERED, CITY), *spoken(text))) == (expected or [("text", text)])
    assert parts(filtered(LeakFilter(OFFERED, None), *spoken(text))) == [("text", text)]


def test_q11_a_parameter_may_be_called_name() -> None:
    tool = Tool("add", parameters={"properties": {"name": {}}, "required": ["name"]})
    found = filtered(LeakFilter(frozenset({"add"}), tool), *spoken('{"name":"Ann"}'))
    assert parts(found) == [("add", '{"name":"Ann"}')]
    assert parts(filtered(LeakFilter(frozenset({"now"}), Tool("now")), *spoken("{}"))) == [("now", "{}")]


@pytest.mark.parametrize(
    "text",
    [
        "Oslo is cold.",
        '{"name":"other","arguments":{}}',
        '[{"name":"get"},{"name":"other"}]',
        "[]",
        '{"name":"get"} and more',
        '{"name":"get"',
        '```json\n{"name":"get"}\n``` done',
        "``",
        "   ",
        '{"name":"get","arguments":[1]}',
        '{"name":["get"]}',
        "\n" * 300 + "{}",
    ],
)
def test_q11_other_text_stays_exactly_as_it_was(text) -> None:
    for pieces in cuttings(text):
        found = filtered(LeakFilter(OFFERED, CITY), *spoken(*pieces))
        assert (parts(found), found.reason) == ([("text", text)], "stop")


def test_q11_prose_is_not_held_back() -> None:
    each = LeakFilter(OFFERED, None)
    assert not each.feed(Opened(0, "text"))
    assert not each.feed(Delta(0, " "))
    assert each.feed(Delta(0, "A")) == [Opened(0, "text"), Delta(0, " A")]
    assert each.feed(Delta(0, "{")) == (Delta(0, "{"),)


def test_q11_a_real_call_makes_it_a_text() -> None:
    leak = [Opened(0, "text"), Delta(0, '{"name":"get"}'), Closed(0)]
    found = filtered(LeakFilter(OFFERED, None), Started(), *leak, *called(1), Finished("tool_calls"))
    assert parts(found) == [("text", '{"name":"get"}'), ("get", "{}")]
    after = [Opened(1, "text"), Delta(1, '{"name":"get"}'), Closed(1)]
    found = filtered(LeakFilter(OFFERED, None), Started(), *called(0), *after, Finished("tool_calls"))
    assert parts(found) == [("get", "{}"), ("text", '{"name":"get"}')]


def test_q11_a_leak_that_breaks_off_is_a_text() -> None:
    leak = [Opened(0, "text"), Delta(0, '{"name":"get"}'), Closed(0)]
    found = filtered(LeakFilter(OFFERED, None), Started(), *leak, Failed(UpstreamBroken()))
    assert parts(found) == [("text", '{"name":"get"}')]


def test_q11_thoughts_around_it() -> None:
    thought = [Opened(0, "reasoning"), Delta(0, "hm"), Closed(0)]
    leak = [Opened(1, "text"), Delta(1, LEAKS[4][0]), Closed(1)]
    more = [Opened(2, "reasoning"), Delta(2, "so"), Closed(2)]
    found = filtered(LeakFilter(OFFERED, None), Started(), *thought, *leak, *more, Finished("stop"))
    assert parts(found) == [("reasoning", "hm"), OSLO, ("put", "{}"), ("reasoning", "so")]
    assert found.reason == "tool_calls"


# Together.


def test_leaked_calls_are_calls_to_the_filters_behind() -> None:
    one = reader(tools=OFFERED, forced=True, one_call=True, stop=("Oslo",))
    body = {"choices": [{"message": {"content": LEAKS[4][0]}, "finish_reason": "stop"}]}
    found = heard(one.read(json.dumps(body).encode()))
    assert (parts(found), found.reason) == ([OSLO], "tool_calls")


WORDS = ["<tool_call>", '{"name":"get"}', "</tool_call>", "x", "S", "TOP", " ", "[", "```"]
FRAMES = st.one_of(
    st.sampled_from(WORDS).map(lambda word: chunk(content=word)),
    st.sampled_from(WORDS).map(lambda word: chunk(reasoning_content=word)),
    st.sampled_from(["{", '{"a":1}', ""]).map(
        lambda text: chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "get", "arguments": text}}])
    ),
    st.just(chunk(tool_calls=[{"index": 1, "id": "b", "function": {"name": "put", "arguments": "{}"}}])),
    st.sampled_from(["stop", "length", "tool_calls"]).map(chunk),
    st.just(b'{"error":{"message":"no"}}'),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(FRAMES, max_size=10),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(), ("STOP",), ("x", "S")]),
    st.sampled_from([frozenset(), OFFERED]),
)
def test_every_emulated_stream_is_lawful(frames, forced, one_call, stop, tools) -> None:
    one = reader(stop=stop, one_call=one_call, tools=tools, forced=forced, only=CITY)
    events = [event for frame in frames for event in one.feed(frame)] + list(one.close())
    found = heard(events)
    assert not (one_call and len(found.tool_calls()) > 1)
    assert not any(text in part.text for text in stop for part in found.parts if part.kind == "text")
    assert found.reason != "stop" or not found.tool_calls()

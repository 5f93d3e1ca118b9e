"""Several choices of one answer, in one stream or one body."""

import collections
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from app.core.errors import Overloaded, RateLimited
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.usage import Usage
from tests.surfaces.chat.chunk_rules import fold
from tests.surfaces.chat.event_streams import interleaved
from tests.surfaces.chat.test_write import MODEL, NOW, SURFACE, calls_of, new_ids, replayed, request

COUNTS = st.integers(2, 4)


def streams(count):
    return st.tuples(st.just(count), interleaved(count))


def written(events, count, *, include_usage=False):
    writer = SURFACE.writer(request(n=count, include_usage=include_usage), MODEL, new_ids(), NOW)
    return [writer.feed(event, choice) for event, choice in events]


def heard(events, count):
    """What was generated until the first choice failed."""
    generations = [Generation() for _ in range(count)]
    for event, choice in events:
        generations[choice].hear(event)
        if isinstance(event, Failed):
            break
    return generations


def whole(generations):
    return SURFACE.body(request(n=len(generations)), generations, MODEL, new_ids(), NOW)


@settings(max_examples=120, deadline=None)
@given(COUNTS.flatmap(streams), st.booleans())
def test_choices_that_come_in_any_order_are_told_apart(drawn, include_usage):
    count, events = drawn
    blocks = written(events, count, include_usage=include_usage)
    folded = fold(b"".join(blocks), include_usage=include_usage, count=count)
    generations = heard(events, count)
    for choice, generation in zip(folded.choices, generations, strict=True):
        assert choice.text == generation.text("text")
        assert choice.reasoning == generation.text("reasoning")
        assert choice.refusal == generation.text("refusal")
        assert [call.name for call in choice.calls] == [call.name for call in generation.tool_calls()]
        for call, part in zip(choice.calls, generation.tool_calls(), strict=True):
            assert call.arguments == (part.text or ("{}" if part.closed else ""))
        assert choice.finish_reason == generation.reason
    failures = [place for place, (event, _) in enumerate(events) if isinstance(event, Failed)]
    if failures:
        assert folded.error == events[failures[0]][0].error.body()
        assert set(blocks[failures[0] + 1 :]) <= {b""}, "a failed answer says no more"
    elif include_usage:
        assert folded.usage == whole(generations)["usage"]


@settings(max_examples=60, deadline=None)
@given(COUNTS.flatmap(streams))
def test_the_sdk_folds_a_stream_of_choices_into_the_body(drawn):
    count, events = drawn
    folded = fold(b"".join(written(events, count, include_usage=True)), include_usage=True, count=count)
    state = replayed(folded.chunks)
    if folded.error:
        return
    final = state.current_completion_snapshot
    answer = ChatCompletion.model_validate(whole(heard(events, count)), strict=True)
    assert [choice.index for choice in final.choices] == [choice.index for choice in answer.choices]
    for streamed, choice in zip(final.choices, answer.choices, strict=True):
        assert (streamed.message.content or "").strip() == (choice.message.content or "").strip()
        assert streamed.message.refusal == choice.message.refusal
        assert streamed.finish_reason == choice.finish_reason
        names = [(name, arguments) for _, _, name, arguments in calls_of(choice.message)]
        assert [(name, arguments) for _, _, name, arguments in calls_of(streamed.message)] == names
    assert final.usage == answer.usage


def said(text, usage=None, reason="stop"):
    return [Started(), Opened(0, "text"), Delta(0, text), Closed(0), Finished(reason, usage)]


def test_choices_byte_for_byte():
    first, second = said("a", Usage(3, 1)), said("b", Usage(3, 2), "length")
    events = [
        *[(event, 1) for event in second[:3]],
        *[(event, 0) for event in first],
        *[(event, 1) for event in second[3:]],
    ]
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"gpt-oss-120b",'

    def chunk(index, delta, reason=b"null"):
        choice = b'{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}' % (index, delta, reason)
        return head + b'"choices":[' + choice + b"]}\n\n"

    role = b'{"role":"assistant","content":"","refusal":null}'
    assert written(events, 2) == [
        chunk(0, role) + chunk(1, role),
        b"",
        chunk(1, b'{"content":"b"}'),
        b"",
        b"",
        chunk(0, b'{"content":"a"}'),
        b"",
        chunk(0, b"{}", b'"stop"'),
        b"",
        chunk(1, b"{}", b'"length"') + b"data: [DONE]\n\n",
    ]


def test_the_usage_of_all_choices_comes_once_at_the_very_end():
    answers = [said("a", Usage(3, 1, 2, None)), said("b", None), said("c", Usage(3, 4, None, 3))]
    events = [(event, choice) for choice, answer in enumerate(answers) for event in answer]
    blocks = written(events, 3, include_usage=True)
    assert sum(b'"choices":[]' in block for block in blocks) == 1
    folded = fold(b"".join(blocks), include_usage=True, count=3)
    assert folded.usage == whole(heard(events, 3))["usage"]
    assert folded.usage == {
        "prompt_tokens": 6,
        "completion_tokens": 5,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 3,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_a_body_has_its_choices_in_order():
    generations = heard([(event, choice) for choice in range(3) for event in said(f"answer {choice}")], 3)
    body = whole(generations)
    told = [(choice["index"], choice["message"]["content"]) for choice in body["choices"]]
    assert told == [(0, "answer 0"), (1, "answer 1"), (2, "answer 2")]
    assert body["usage"] is None


def test_calls_are_numbered_within_their_choice_and_their_ids_are_not_shared():
    call = [Started(), Opened(0, "tool_call", None, "f"), Opened(1, "tool_call", None, "g"), Closed(0), Closed(1)]
    events = [(event, choice) for event in [*call, Finished("tool_calls")] for choice in range(2)]
    folded = fold(b"".join(written(events, 2)), include_usage=False, count=2)
    assert [[(call.name, call.arguments) for call in choice.calls] for choice in folded.choices] == [
        [("f", "{}"), ("g", "{}")],
        [("f", "{}"), ("g", "{}")],
    ]
    ids = [call.id for choice in folded.choices for call in choice.calls]
    assert len(set(ids)) == 4


@pytest.mark.parametrize("failing", [0, 1])
def test_one_failing_choice_ends_the_answer(failing):
    error = RateLimited("Slow down.")
    writer = SURFACE.writer(request(n=2, include_usage=True), MODEL, new_ids(), NOW)
    other = 1 - failing
    for event in said("done"):
        assert b"[DONE]" not in writer.feed(event, other)
    assert writer.feed(Started(), failing) == b""
    assert writer.feed(Failed(error), failing) == SURFACE.error_frames(error)
    late = [Opened(0, "text"), Delta(0, "x"), Closed(0), Finished("stop"), Failed(Overloaded())]
    assert [writer.feed(event, choice) for event, choice in itertools.product(late, (0, 1))] == [b""] * 10


def test_every_choice_has_one_role_however_late_it_starts():
    writer = SURFACE.writer(request(n=16), MODEL, new_ids(), NOW)
    blocks = [writer.feed(Started(), choice) for choice in reversed(range(16))]
    assert collections.Counter(blocks)[b""] == 15
    assert blocks[0].count(b'"role":"assistant"') == 16

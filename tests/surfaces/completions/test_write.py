"""Completions as streams and bodies; the SDK's own type is the judge."""

import collections
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion

from app.core.errors import RateLimited, UpstreamTruncated
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.usage import Usage
from app.surfaces.completions.surface import CompletionsSurface

SURFACE = CompletionsSurface()
NOW = 1_790_000_000.75
ERRORS = st.sampled_from([RateLimited(), UpstreamTruncated("Cut\n\noff.")])
TEXTS = st.one_of(
    st.text(min_size=1, max_size=6), st.sampled_from(["\u2028", '"', "\\", "\ud83d", "🙂", "\n\n", "\x00", "data:"])
)
USAGES = st.none() | st.builds(Usage, st.integers(0, 99), st.integers(0, 99), st.none() | st.integers(0, 9))
REASONS = ["stop", "length", "content_filter", "tool_calls"]


@st.composite
def event_streams(draw):
    if draw(st.integers(0, 20)) == 0:
        return [Failed(draw(ERRORS))]
    events = [Started()]
    for part in range(draw(st.integers(0, 4))):
        events.append(Opened(part, draw(st.sampled_from(["text", "text", "reasoning", "refusal"]))))
        events += [Delta(part, text) for text in draw(st.lists(TEXTS, max_size=3))]
        events.append(Closed(part))
    failed = st.builds(Failed, ERRORS)
    finished = st.builds(Finished, st.sampled_from(REASONS), USAGES)
    return [*events, draw(st.one_of(finished, finished, finished, failed))]


@st.composite
def interleaved(draw):
    """Prompts, choices for each, and the events of all of them in any order."""
    prompts, n = draw(st.lists(TEXTS, min_size=1, max_size=3)), draw(st.integers(1, 2))
    streams = [draw(event_streams()) for _ in range(len(prompts) * n)]
    order = draw(st.permutations([choice for choice, events in enumerate(streams) for _ in events]))
    rest = [iter(events) for events in streams]
    return prompts, n, [(next(rest[choice]), choice) for choice in order]


def new_ids():
    numbers = collections.defaultdict(lambda: itertools.count(1))
    return lambda prefix: f"{prefix}{next(numbers[prefix])}"


def request(prompt="Hi", *, include_usage=False, **more):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    return SURFACE.read({"model": "m", "prompt": prompt, "stream": True, **options, **more})


def written(events, **more):
    writer = SURFACE.writer(request(**more), "m", new_ids(), NOW)
    return [writer.feed(event, choice) for event, choice in events]


def whole(generations, **more):
    return SURFACE.body(request(**more), generations, "m", new_ids(), NOW)


def heard(events, count):
    generations = [Generation() for _ in range(count)]
    for event, choice in events:
        generations[choice].hear(event)
        if isinstance(event, Failed):
            break
    return generations


def plain(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def fold(stream, count, *, include_usage):
    """Check every frame; return each choice's text and reason, the usage and the error."""
    frames = stream[:-2].split(b"\n\n")
    assert stream.endswith(b"\n\n")
    assert all(frame.startswith(b"data: ") and not {10, 13} & set(frame) for frame in frames)
    payloads = [frame[6:] for frame in frames]
    usage = error = None
    if payloads[-1] == b"[DONE]":
        payloads.pop()
        if include_usage:
            last = json.loads(payloads.pop())
            assert last["choices"] == []
            Completion.model_validate(last, strict=True)
            usage = last["usage"]
    else:
        error = json.loads(payloads.pop())["error"]
    texts, reasons = [""] * count, [None] * count
    heads = set()
    for payload in payloads:
        chunk = json.loads(payload)
        expected = {"id", "object", "created", "model", "choices"} | ({"usage"} if include_usage else set())
        assert set(chunk) == expected
        assert chunk.get("usage") is None
        assert chunk["object"] == "text_completion"
        heads.add((chunk["id"], chunk["created"], chunk["model"]))
        (choice,) = chunk["choices"]
        assert list(choice) == ["text", "index", "logprobs", "finish_reason"]
        assert choice["logprobs"] is None
        index = choice["index"]
        assert reasons[index] is None, "something came after finish_reason"
        texts[index] += choice["text"]
        reasons[index] = choice["finish_reason"]
        assert choice["text"] or reasons[index]
    assert heads <= {("cmpl-1", int(NOW), "m")}
    assert (error is None) == (None not in reasons)
    return texts, reasons, usage, error


@settings(max_examples=150, deadline=None)
@given(interleaved(), st.booleans(), st.booleans())
def test_a_stream_says_what_its_body_says(drawn, echo, include_usage):
    prompts, n, events = drawn
    count = len(prompts) * n
    more = {"prompt": prompts, "n": n, "echo": echo, "include_usage": include_usage}
    blocks = written(events, **more)
    texts, reasons, usage, error = fold(b"".join(blocks), count, include_usage=include_usage)
    generations = heard(events, count)
    body = whole(generations, **more)
    failures = [event for event, _ in events if isinstance(event, Failed)]
    if failures:
        assert error == failures[0].error.body()
        return
    answer = Completion.model_validate(json.loads(json.dumps(body)), strict=True)
    assert not answer.model_extra
    assert [choice.index for choice in answer.choices] == list(range(count))
    # In a stream, half a character in a delta of its own is lost to the next.
    whole_texts = [choice.text for choice in answer.choices]
    if not any("\ud800" <= character <= "\udfff" for text in whole_texts for character in text):
        assert texts == whole_texts
    assert reasons == [choice.finish_reason for choice in answer.choices]
    assert set(reasons) <= {"stop", "length", "content_filter"}
    assert usage == (body["usage"] if include_usage else None)
    for index, text in enumerate(texts):
        prompt = plain(prompts[index // n]) if echo else ""
        said = [part.text for part in generations[index].parts if part.kind in {"text", "refusal"}]
        assert text.startswith(prompt)
        assert "\ufffd" in text or text == prompt + "".join(said)


TEXT = [Started(), Opened(0, "reasoning"), Delta(0, "hm"), Closed(0), Opened(1, "text"), Delta(1, "He"), Delta(1, "y")]
END = [Closed(1), Finished("stop", Usage(3, 2))]


def only(events):
    return [(event, 0) for event in events]


def test_a_stream_byte_for_byte():
    head = b'data: {"id":"cmpl-1","object":"text_completion","created":1790000000,"model":"m","choices":[{"text":'
    rest = b',"index":0,"logprobs":null,"finish_reason":'
    assert written(only(TEXT + END), echo=True) == [
        head + b'"Hi"' + rest + b"null}]}\n\n",
        *[b""] * 4,
        head + b'"He"' + rest + b"null}]}\n\n",
        head + b'"y"' + rest + b"null}]}\n\n",
        b"",
        head + b'""' + rest + b'"stop"}]}\n\ndata: [DONE]\n\n',
    ]


def test_a_body():
    generation = Generation()
    for event in TEXT + END:
        generation.hear(event)
    body = whole([generation], echo=True)
    assert body == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1790000000,
        "model": "m",
        "choices": [{"text": "HiHey", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": body["usage"],
    }
    assert body["usage"]["total_tokens"] == 5
    assert whole([generation])["choices"][0]["text"] == "Hey"


def test_usage_is_the_sum_and_comes_last():
    events = [(event, choice) for choice in (1, 0) for event in TEXT + END]
    (*_, last) = written(events, n=2, include_usage=True)
    finish, usage, done = last.removesuffix(b"\n\n").split(b"\n\n")
    assert b'"usage":null' in finish
    assert json.loads(usage[6:])["usage"]["total_tokens"] == 10
    assert done == b"data: [DONE]"


def test_a_failure_is_the_last_frame():
    error = RateLimited("Slow down.")
    blocks = written([*only(TEXT), (Failed(error), 1), (Delta(1, "x"), 0), (Closed(1), 0), (Finished("stop"), 0)], n=2)
    assert blocks[-4:] == [SURFACE.error_frames(error), b"", b"", b""]
    assert b"[DONE]" not in b"".join(blocks)


@pytest.mark.parametrize(("reason", "told"), [("tool_calls", "stop"), ("length", "length"), ("content_filter",) * 2])
def test_reasons(reason, told):
    generation = Generation()
    generation.hear(Finished(reason))
    assert whole([generation])["choices"][0]["finish_reason"] == told
    assert f'"finish_reason":"{told}"'.encode() in written(only([Started(), Finished(reason)]))[1]

"""Feeding a case through the reader and a writer, as the exchange does, and judging everything that comes out."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from msgspec.structs import replace

from app.core.errors import ApiError
from app.core.events import Event, Finished
from app.core.generation import Generation
from app.core.grammar import Grammar
from app.core.model import Model
from app.core.upstream import Emulation, Reader, UpstreamRequest
from app.core.usage import Usage
from app.dialects.emulated import EmulatedReader, reader_for
from app.dialects.errors import MAX_RETRY_AFTER, read_failure
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.completions.surface import CompletionsSurface
from app.surfaces.responses.surface import ResponsesSurface
from app.wire.codec import encode
from app.wire.sse import Framer, FrameTooLargeError
from tests.fuzz.cases import Case
from tests.fuzz.corpus import EMULATIONS, TOOLS
from tests.surfaces.chat import chunk_rules
from tests.surfaces.responses import stream_rules

NOW: Final = 1_790_000_000.0
_SURROGATES = re.compile("[\ud800-\udfff]")

_OLD = [{"name": name, "parameters": {"type": "object"}} for name in sorted(TOOLS)]
_FUNCTIONS = [{"type": "function", "function": function} for function in _OLD]
_FLAT = [{"type": "function", **function} for function in _OLD]
_CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
_RESPONSES = {"model": "m", "input": "x", "stream": True}
_USAGE = {"stream_options": {"include_usage": True}}
_SHELL = {"type": "custom", "name": "shell", "format": {"type": "text"}}
_CRM = {"type": "namespace", "name": "crm", "description": "d", "tools": [{**_FLAT[0], "name": "find"}]}
_CUSTOM = {"type": "custom", "custom": {"name": "shell"}}


class WrongError(Exception):
    """What came out is not what has to."""


def _new_id() -> Callable[[str], str]:
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}{next(numbers):04}"


def _asked() -> Iterator[tuple[Any, Any]]:
    """Surfaces, each with a request that it has read."""
    chat, responses = ChatSurface(), ResponsesSurface(lambda: NOW)
    opened = ResponsesSurface(lambda: NOW, reasoning_events="open-responses")
    completions = CompletionsSurface()
    for body in (
        _CHAT,
        _CHAT | _USAGE,
        _CHAT | {"tools": _FUNCTIONS},
        _CHAT | {"tools": [*_FUNCTIONS[:-1], _CUSTOM]} | _USAGE,
        _CHAT | {"functions": _OLD},
    ):
        yield chat, chat.read(body)
    for body in (
        _RESPONSES,
        _RESPONSES | {"tools": _FLAT, "reasoning": {"summary": "auto"}},
        _RESPONSES | {"tools": [*_FLAT[:-1], _SHELL, _CRM]},
        _RESPONSES | {"include": ["reasoning.encrypted_content"], "metadata": {"a": "b"}},
    ):
        yield responses, responses.read(body)
    yield opened, opened.read(_RESPONSES)
    for body in ({"model": "m", "prompt": "x", "stream": True}, {"model": "m", "prompt": "x", "stream": True} | _USAGE):
        yield completions, completions.read(body)


ASKED: Final = tuple(_asked())


def check(case: Case) -> int:
    """Feed one case; return how many inputs that were: frames, whole bodies, failures, blocks to a bare framer, events.

    Raises:
        Exception: It is a finding, whatever it is.
    """
    match case.kind:
        case "failure":
            return _failure(case)
        case "framer":
            return _framer(case)
        case "events":
            return _events(case)
    surface, request = ASKED[case.surface % len(ASKED)]
    emulation = EMULATIONS[case.emulation]
    if "functions" in request.raw:
        emulation = replace(emulation, one_call=True)
    reader = _reader(case, emulation)
    if case.kind == "body":
        events = reader.read(b"".join(case.blocks))
        inputs = 1
    else:
        events, inputs = _read(case, reader)
        if reader.feed(b'{"response":"late"}') or reader.close():
            raise WrongError("something came after the end")
    _write(surface, request, events)
    return inputs


def _reader(case: Case, emulation: Emulation) -> Reader:
    sent = UpstreamRequest("/", {}, stream=True, max_tokens=case.max_tokens, emulation=emulation)
    return reader_for(sent, Model("@cf/x/y", thinks_inline=case.thinks_inline), NOW)


def _read(case: Case, reader: Reader) -> tuple[list[Event], int]:
    framer = Framer()
    events: list[Event] = []
    inputs = 0
    for block in case.blocks:
        for frame in framer.feed(block):
            inputs += 1
            events.extend(reader.feed(frame))
        if reader.stopped_early:
            # The exchange closes the upstream then.
            return events, inputs
    for frame in framer.close():
        inputs += 1
        events.extend(reader.feed(frame))
    events.extend(reader.close())
    return events, inputs


def _write(surface: Any, request: Any, events: Sequence[Event]) -> None:
    grammar, generation = Grammar(), Generation()
    said: list[Event] = []
    for event in events:
        grammar.hear(event)
        event = _completed(event)  # noqa: PLW2901 - as the exchange does
        generation.hear(event)
        said.append(event)
    grammar.close()
    _check_usage(generation.usage)
    if generation.error is not None:
        _check_error(generation.error)
        if not generation.parts:
            # It is an HTTP status then, and no stream.
            return
    writer = surface.writer(request, "m", _new_id(), NOW)
    stream = b"".join([writer.feed(event) for event in said])
    if surface.name == "chat":
        folded = chunk_rules.fold(stream, include_usage="stream_options" in request.raw)
        _same(folded.text, generation.text("text"))
        _same(folded.reasoning, generation.text("reasoning"))
        _same(folded.refusal, generation.text("refusal"))
        _equal(len(folded.calls), len(generation.tool_calls()))
    elif surface.name == "responses":
        names = stream_rules.OPEN_RESPONSES if surface is ASKED[-3][0] else stream_rules.CONTENT
        final, _ = stream_rules.check(stream, names)
        output = [item for item in final["output"] if item["type"] == "message"]
        texts = [part["text"] for item in output for part in item["content"] if part["type"] == "output_text"]
        _same("".join(texts), generation.text("text"))
        _equal(len(final["output"]), len(generation.parts))
    else:
        heard = "".join(part.text for part in generation.parts if part.kind in {"text", "refusal"})
        _same(_completion_text(stream), heard)
    if generation.error is None:
        whole = json.loads(encode(surface.body(request, [generation], "m", _new_id(), NOW)))
        if "choices" in whole and surface.name == "chat":
            heard = generation.text("text")
            blank = generation.tool_calls() and not heard.strip()
            _same(whole["choices"][0]["message"]["content"] or "", "" if blank else heard)


def _completion_text(stream: bytes) -> str:
    if not stream.endswith(b"\n\n"):
        raise WrongError("the last frame has no end")
    frames = [frame.removeprefix(b"data: ") for frame in stream[:-2].split(b"\n\n")]
    last = frames.pop()
    if last != b"[DONE]":
        _equal(set(json.loads(last)["error"]), {"message", "type", "param", "code"})
    chunks = [json.loads(frame) for frame in frames]
    if any("error" in chunk for chunk in chunks) or b"[DONE]" in frames:
        raise WrongError("the end is not the last")
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])


def _completed(event: Event) -> Event:
    if type(event) is Finished and event.usage is None:
        return Finished(event.reason, Usage(5, 7, source="estimated"))
    return event


def _same(written: str, heard: str) -> None:
    # Halves of surrogate pairs that no other half follows are written as U+FFFD.
    if written != heard and not _SURROGATES.search(heard):
        raise WrongError(f"written {written[:200]!r}, heard {heard[:200]!r}")


def _equal(found: object, due: object) -> None:
    if found != due:
        raise WrongError(f"{found!r} instead of {due!r}")


def _check_usage(usage: Usage | None) -> None:
    if usage is None:
        return
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"):
        value = getattr(usage, name)
        if value is not None and (type(value) is not int or value < 0):
            raise WrongError(f"{name} is {value!r}")


def _check_error(error: ApiError) -> None:
    body = json.loads(encode(error.body()))
    _equal(set(body), {"message", "type", "param", "code"})
    if not 400 <= error.status <= 599 or not body["message"] or type(body["type"]) is not str:
        raise WrongError(f"{error.status} {body}")
    if error.status in {422, 500}:
        raise WrongError(f"the upstream's failure is shown as {error.status}")
    wait = error.retry_after
    if wait is not None and not 0 <= wait <= max(MAX_RETRY_AFTER, 86_400):
        raise WrongError(f"retry after {wait}")


def _failure(case: Case) -> int:
    _check_error(read_failure(case.status, case.headers, case.blocks[0], NOW))
    return 1


def _framer(case: Case) -> int:
    """However the bytes are cut: the same frames, or too large a one."""
    framer, whole = Framer(case.bound), Framer(10**9)
    frames: list[bytes] = []
    every = [*whole.feed(b"".join(case.blocks)), *whole.close()]
    try:
        for block in case.blocks:
            frames.extend(framer.feed(block))
        frames.extend(framer.close())
    except FrameTooLargeError:
        _equal(frames, every[: len(frames)])
    else:
        _equal(frames, every)
    return len(case.blocks)


class _Script:
    """Stands in for the reader of an answer: its frames are the numbers of events."""

    stopped_early = False

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events

    def feed(self, frame: bytes) -> Sequence[Event]:
        return (self._events[int(frame)],)

    def usage_so_far(self) -> Usage | None:
        return None


def _events(case: Case) -> int:
    surface, request = ASKED[case.surface % len(ASKED)]
    emulation = EMULATIONS[case.emulation]
    if "functions" in request.raw:
        emulation = replace(emulation, tools=TOOLS, one_call=True)
    reader = EmulatedReader(_Script(case.events), emulation)  # type: ignore[arg-type]  # as much of one as is asked for
    events: list[Event] = []
    fed = 0
    for number in range(len(case.events)):
        events.extend(reader.feed(b"%d" % number))
        fed += 1
        if reader.stopped_early:
            break
    _write(surface, request, events)
    return fed

"""One fuzzed case: what is fed to a reader, and how that reader is set up. The same number gives the same case."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from app.core.errors import Overloaded, RateLimited, UpstreamTruncated
from app.core.events import Closed, Delta, Event, Failed, Finished, Opened, PartKind, Started
from app.core.usage import Usage
from tests.fuzz.corpus import BODIES, EMULATIONS, FAILED, FRAMES, STREAMS, TEXTS, TOOLS
from tests.fuzz.mutation import changed_bytes, changed_frames, changed_json, changed_value, cut, pick, written_as_stream

Kind = Literal["stream", "long", "body", "failure", "framer", "events"]

_NAMES = (*sorted(TOOLS), "unknown", "crm__find", 'q"uote')
_KINDS: tuple[PartKind, ...] = ("text", "text", "reasoning", "refusal", "tool_call", "tool_call")
_LINES = (b"data: ", b"data", b":", b"\n", b"\r", b"\r\n", b"x" * 9, b"\xef\xbb\xbf", b"\0")
_WAITS = ("", "1", "-1", "1e400", "nan", "inf", "soon", "Wed, 21 Oct 2099 07:28:00 GMT")
_FAILURES = (UpstreamTruncated(), RateLimited(), Overloaded("Full\n\nup.", param="p"))
_LONG_TEXTS = (*TEXTS, "exceed", "1 ", "' ", "Type mismatch of '/a'", "error code: 1", "AiError: ", "(0123456789abcdef")
_LIMITS = (None, 0, 1, 3, 256, 4096)


@dataclass(slots=True)
class Case:
    """What is fed, and to what.

    Attributes:
        kind: ``stream``: blocks of an event stream, ``long``: likewise, of a hundred times the size; ``body``: a whole
            unstreamed answer; ``failure``: the body of an HTTP failure; ``framer``: blocks with a small bound on
            frames; ``events``: events into the filters.
        blocks: The bytes, in the pieces in which they come.
        events: The events.
        max_tokens: The token limit that was sent.
        thinks_inline: The model thinks inside its text.
        emulation: Which of the corpus's.
        surface: Which of the judge's requests is being answered.
        status: Of a failure.
        headers: Of a failure.
        bound: Of a framer, in bytes.
    """

    kind: Kind
    blocks: list[bytes] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    max_tokens: int | None = None
    thinks_inline: bool = False
    emulation: int = 0
    surface: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    bound: int = 0

    @property
    def size(self) -> int:
        """Bytes, or characters of the events' texts."""
        return sum(map(len, self.blocks)) + sum(len(event.text) for event in self.events if isinstance(event, Delta))


def make(seed: int, number: int) -> Case:
    """Make one case."""
    rng = Random(seed << 40 | number)
    chance = rng.random()
    setting = {
        "max_tokens": pick(rng, _LIMITS),
        "thinks_inline": rng.random() < 0.3,
        "emulation": int(rng.random() * len(EMULATIONS)),
        "surface": int(rng.random() * 1_000_000),
    }
    if chance < 0.82:
        return _stream(rng, setting)
    if chance < 0.88:
        body = json.dumps(changed_value(pick(rng, BODIES), rng)).encode()
        return Case("body", [changed_bytes(body, rng) if rng.random() < 0.2 else body], **setting)
    if chance < 0.92:
        return _failure(rng)
    if chance < 0.95:
        data = b"".join(pick(rng, _LINES) for _ in range(30))
        return Case("framer", cut(changed_bytes(data, rng), rng), bound=pick(rng, (0, 8, 20, 100, 1000)))
    if chance < 0.9995:
        return Case("events", events=_events(rng), **setting)
    return _long(rng, setting)


def _stream(rng: Random, setting: dict[str, object]) -> Case:
    source = pick(rng, STREAMS)
    if rng.random() < 0.5:
        setting |= {"max_tokens": source.max_tokens, "thinks_inline": source.thinks_inline}
    frames = source.frames
    if rng.random() < 0.05:
        frames = tuple(pick(rng, FRAMES) for _ in range(1 + int(rng.random() * 8)))
    data = written_as_stream(changed_frames(frames, rng), rng)
    if rng.random() < 0.15:
        data = changed_bytes(data, rng)
    if rng.random() < 0.01:
        data = rng.randbytes(len(data))
    return Case("stream", cut(data, rng), **setting)


def _long(rng: Random, setting: dict[str, object]) -> Case:
    """Much of one thing: what takes time with the square of it would show."""
    text = pick(rng, TEXTS)
    if rng.random() < 0.5:
        field = pick(rng, ("content", "reasoning_content"))
        frame = json.dumps({"choices": [{"index": 0, "delta": {field: text}}]}).encode()
        frames = [frame] * (200_000 // len(frame))
    else:
        frames = [json.dumps({"response": text * (200_000 // len(text))}).encode()]
    frames.append(b"[DONE]")
    return Case("long", cut(written_as_stream(frames, rng), rng), **setting)


def _failure(rng: Random) -> Case:
    status, headers, body = pick(rng, FAILED)
    if rng.random() < 0.01:
        text = pick(rng, _LONG_TEXTS)
        entry = {"code": pick(rng, (None, 5006, 8007, 1)), "message": text * (50_000 // len(text))}
        return Case("failure", [json.dumps({"success": False, "errors": [entry]}).encode()], status=status)
    if rng.random() < 0.6:
        body = changed_json(body, rng)
    if rng.random() < 0.3:
        body = changed_bytes(body, rng)
    if rng.random() < 0.3:
        headers = {pick(rng, ("retry-after", "retry-after-ms")): pick(rng, _WAITS)}
    return Case("failure", [body], status=pick(rng, (status, status, 400, 404, 418, 429, 500, 599)), headers=headers)


def _events(rng: Random) -> list[Event]:
    """A lawful stream of events, with texts that mean something to a filter."""
    events: list[Event] = [Started()]
    part = 0
    for _ in range(int(rng.random() * 4)):
        kind = pick(rng, _KINDS)
        if kind != "tool_call":
            events.append(Opened(part, kind))
            events.extend(Delta(part, pick(rng, TEXTS)) for _ in range(int(rng.random() * 6)))
            events.append(Closed(part))
            part += 1
            continue
        still_open: list[int] = []
        for _ in range(1 + int(rng.random() * 6)):
            if not still_open or rng.random() < 0.3:
                events.append(Opened(part, "tool_call", pick(rng, (None, f"c{part}")), pick(rng, _NAMES)))
                still_open.append(part)
                part += 1
            elif rng.random() < 0.3:
                events.append(Closed(still_open.pop()))
            else:
                events.append(Delta(pick(rng, still_open), pick(rng, TEXTS)))
        events.extend(map(Closed, still_open))
    usage = pick(rng, (None, Usage(1, 2), Usage(0, 0), Usage(5, 300, 2, 1)))
    if rng.random() < 0.7:
        events.append(Finished(pick(rng, ("stop", "length", "tool_calls", "content_filter")), usage))
    else:
        events.append(Failed(pick(rng, _FAILURES), usage))
    return events

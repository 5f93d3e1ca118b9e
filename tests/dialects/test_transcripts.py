"""Recorded upstream streams, replayed whole, cut in two at every byte, and one byte at a time."""

import json
from pathlib import Path

import pytest

from app.core.events import Closed, Delta, Event, Failed, Finished, Opened, Started
from app.core.grammar import Grammar
from app.core.model import Model
from app.core.upstream import Emulation, UpstreamRequest
from app.dialects.emulated import reader_for
from app.wire.sse import Framer

ROOT = Path(__file__).parent.parent / "transcripts"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/upstream.sse"))


def told(event: Event) -> dict[str, object]:
    """The event as the transcripts write it."""
    row: dict[str, object] = {"type": type(event).__name__}
    match event:
        case Opened(part=part, kind=kind, call_id=call_id, name=name):
            row |= {"part": part, "kind": kind}
            if kind == "tool_call":
                row |= {"call_id": call_id, "name": name}
        case Delta(part=part, text=text):
            row |= {"part": part, "text": text}
        case Closed(part=part):
            row |= {"part": part}
        case Finished(reason=reason):
            row |= {"reason": reason}
        case Failed(error=error):
            row |= {"error": type(error).__name__, "code": error.code}
        case Started():
            pass
    if isinstance(event, Finished | Failed):
        usage = event.usage
        row["usage"] = usage and {name: getattr(usage, name) for name in usage.__slots__}
    return row


def replay(name: str, blocks: list[bytes]) -> list[dict[str, object]]:
    request = json.loads((ROOT / name / "request.json").read_text())
    emulation = Emulation(**request.get("emulation", {}))
    sent = UpstreamRequest("/", {}, stream=True, max_tokens=request["max_tokens"], emulation=emulation)
    model = Model(request["model"], thinks_inline=request.get("thinks_inline", False))
    reader = reader_for(sent, model, 1_790_000_000.0)
    framer, grammar = Framer(), Grammar()
    events: list[Event] = []
    for block in blocks:
        for frame in framer.feed(block):
            events.extend(reader.feed(frame))
    for frame in framer.close():
        events.extend(reader.feed(frame))
    events.extend(reader.close())
    assert not reader.close()
    assert not reader.feed(b'{"response":"late"}')
    for event in events:
        grammar.hear(event)
    grammar.close()
    return [told(event) for event in events]


def expected(name: str) -> list[dict[str, object]]:
    events: list[dict[str, object]] = json.loads((ROOT / name / "events.json").read_text())
    return events


@pytest.mark.parametrize("name", NAMES)
def test_transcript_whole(name: str) -> None:
    assert replay(name, [(ROOT / name / "upstream.sse").read_bytes()]) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_transcript_cut_in_two_at_every_byte(name: str) -> None:
    data, events = (ROOT / name / "upstream.sse").read_bytes(), expected(name)
    for cut in range(len(data) + 1):
        assert replay(name, [data[:cut], data[cut:]]) == events, cut


@pytest.mark.parametrize("name", NAMES)
def test_transcript_one_byte_at_a_time(name: str) -> None:
    data = (ROOT / name / "upstream.sse").read_bytes()
    assert replay(name, [data[place : place + 1] for place in range(len(data))]) == expected(name)


def test_there_are_transcripts() -> None:
    assert len(NAMES) > 25

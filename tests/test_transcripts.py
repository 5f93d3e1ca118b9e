"""Recorded upstream streams and the very bytes that each surface makes of them, however the network cuts them.

``python -m tests.test_transcripts`` writes the expected bytes anew; read the difference before you commit it.
"""

import itertools
import json
from pathlib import Path

import pytest

from app.core.events import Finished
from app.core.model import Model
from app.core.upstream import Emulation, UpstreamRequest
from app.core.usage import Usage
from app.dialects.emulated import reader_for
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.responses.surface import ResponsesSurface
from app.wire.sse import Framer

ROOT = Path(__file__).parent / "transcripts"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/upstream.sse"))
NOW = 1_790_000_000.0
SURFACES = {
    "chat": (
        ChatSurface(),
        {"messages": [{"role": "user", "content": "x"}], "stream": True, "stream_options": {"include_usage": True}},
    ),
    "responses": (ResponsesSurface(clock=lambda: NOW), {"input": "x", "stream": True}),
}


def replay(name, surface_name, blocks):
    asked = json.loads((ROOT / name / "request.json").read_text())
    surface, body = SURFACES[surface_name]
    request = surface.read({"model": asked["model"], **body})
    numbers = itertools.count(1)
    writer = surface.writer(request, asked["model"], lambda prefix: f"{prefix}{next(numbers):04}", NOW)
    emulation = Emulation(**asked.get("emulation", {}))
    sent = UpstreamRequest("/", {}, stream=True, max_tokens=asked["max_tokens"], emulation=emulation)
    reader = reader_for(sent, Model(asked["model"], thinks_inline=asked.get("thinks_inline", False)), NOW)
    framer = Framer()
    frames = [frame for block in blocks for frame in framer.feed(block)] + framer.close()
    events = [event for frame in frames for event in reader.feed(frame)] + list(reader.close())
    return b"".join(writer.feed(completed(event)) for event in events)


def completed(event):
    """The exchange gives every finished answer its usage before the writer hears of it."""
    if type(event) is Finished and event.usage is None:
        return Finished(event.reason, Usage(5, 7, source="estimated"))
    return event


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", NAMES)
def test_a_surface_writes_the_same_bytes_whole_cut_anywhere_and_byte_by_byte(name, surface):
    stream = (ROOT / name / "upstream.sse").read_bytes()
    expected = (ROOT / name / f"{surface}.sse").read_bytes()
    assert replay(name, surface, [stream]).decode() == expected.decode()
    assert replay(name, surface, [stream[at : at + 1] for at in range(len(stream))]) == expected
    for cut in range(len(stream) + 1):
        assert replay(name, surface, [stream[:cut], stream[cut:]]) == expected, cut


if __name__ == "__main__":
    for name, surface in itertools.product(NAMES, SURFACES):
        stream = (ROOT / name / "upstream.sse").read_bytes()
        (ROOT / name / f"{surface}.sse").write_bytes(replay(name, surface, [stream]))

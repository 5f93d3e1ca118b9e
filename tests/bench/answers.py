"""What the benchmark's upstream says, byte for byte: a gpt-oss stream as Cloudflare sends it, and its unstreamed twin.

The prompt says what is wanted (``prompt_for``), so that one upstream serves every case through any proxy: prompts are
the one thing that all of them pass on.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

MODEL: Final = "@cf/openai/gpt-oss-20b"
WORD: Final = b"quartz-"
"""Begins every piece of text; an answer is complete when it holds it as often as it has pieces."""

_FRAME: Final[dict[str, Any]] = {
    "id": "id-1778200000001",
    "object": "chat.completion.chunk",
    "created": 1778200000,
    "model": MODEL,
}
_USAGE: Final = {"prompt_tokens": 136, "completion_tokens": 137, "total_tokens": 273}
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ndate: Fri, 08 May 2026 00:26:40 GMT\r\nserver: cloudflare\r\n"
    b"cf-ray: 9f0000000000abcd-AMS\r\nconnection: keep-alive\r\n"
)
_WANTED: Final = re.compile(rb"pieces=(\d+) pause_ms=(\d+)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a prompt asks for.

    Attributes:
        pieces: How many chunks of text.
        pause_ms: Milliseconds between two of them; 0 sends all at once.
    """

    pieces: int
    pause_ms: int = 0


def prompt_for(wanted: Wanted) -> str:
    """The prompt that asks for it."""
    return f"Tell me about quartz: pieces={wanted.pieces} pause_ms={wanted.pause_ms}, please."


def read_wanted(body: bytes) -> Wanted:
    """What a request's body asks for; five pieces at once when it does not say."""
    found = _WANTED.search(body)
    return Wanted(int(found[1]), int(found[2])) if found else Wanted(5)


def piece(number: int) -> str:
    """One piece of text; numbered, so that a lost or misplaced one is noticed."""
    return f" {WORD.decode()}{number:03d}"


def text_of(pieces: int) -> str:
    """The whole text of an answer."""
    return "".join(map(piece, range(pieces)))


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer, cut where the upstream may pause.

    Attributes:
        begin: The head, the role and the reasoning.
        chunks: One piece of text each.
        end: Why it stopped, the two usage chunks, ``[DONE]`` and the end of the body.
        burst: All of it.
    """

    begin: bytes
    chunks: tuple[bytes, ...]
    end: bytes
    burst: bytes


def stream(pieces: int) -> Stream:
    """Prepare a streamed answer."""
    begin = _HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    begin += _framed({"role": "assistant", "content": ""}) + _framed({"reasoning_content": "Think of quartz."})
    chunks = tuple(_framed({"content": piece(number)}) for number in range(pieces))
    end = b"".join(
        (
            _framed({}, stop_reason=200002),
            _framed({}, reason="stop", usage=_USAGE),
            _framed({}, reason="stop", usage={**_USAGE, "prompt_tokens_details": {"cached_tokens": 0}}),
            _chunked(b"data: [DONE]\n\n"),
            b"0\r\n\r\n",
        )
    )
    return Stream(begin, chunks, end, begin + b"".join(chunks) + end)


def whole(pieces: int) -> bytes:
    """Prepare an unstreamed answer of about 1 KB."""
    message = {
        "role": "assistant",
        "content": text_of(pieces),
        "reasoning_content": "Quartz is silicon and oxygen. " * 16,
        "tool_calls": [],
    }
    body = {
        **_FRAME,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": 200002}],
        "usage": _USAGE,
        "prompt_logprobs": None,
    }
    return as_json(body)


def catalogue(*, empty: bool) -> bytes:
    """Prepare a page of the list of models."""
    row = {
        "id": "f9f2250b-0000-4a52-9910-000000000000",
        "source": 1,
        "name": MODEL,
        "description": "A model.",
        "created_at": "2025-08-05 10:27:29.131",
        "tags": [],
        "task": {"id": "c329a1f9-0000-4e91-b2aa-000000000000", "name": "Text Generation", "description": "Text."},
        "properties": [
            {"property_id": "context_window", "value": "128000"},
            {"property_id": "function_calling", "value": "true"},
            {"property_id": "reasoning", "value": "true"},
        ],
    }
    rows = [] if empty else [row]
    info = {"page": 1, "per_page": 100, "count": len(rows), "total_count": 1}
    return as_json({"success": True, "errors": [], "messages": [], "result": rows, "result_info": info})


def as_json(body: object, status: bytes = b"200 OK") -> bytes:
    """A whole JSON answer."""
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = _HEAD.replace(b"200 OK", status) + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(raw) + raw


def _framed(delta: dict[str, Any], *, reason: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    if "stop_reason" in more:
        choice["stop_reason"] = more.pop("stop_reason")
    frame = {**_FRAME, "choices": [choice], **more}
    return _chunked(b"data: " + json.dumps(frame, separators=(",", ":")).encode() + b"\n\n")


def _chunked(block: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(block), block)

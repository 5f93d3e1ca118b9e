"""Answers in one piece as server-sent events, for clients that asked for a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.wire.codec import encode

EVENT_STREAM: Final = "text/event-stream"


def event(payload: Mapping[str, Any]) -> bytes:
    """One event, named by its ``type``."""
    return b"event: %b\ndata: %b\n\n" % (payload["type"].encode(), encode(payload))


def events(payloads: Sequence[Mapping[str, Any]]) -> bytes:
    """Several, one after the other."""
    return b"".join(event(payload) for payload in payloads)

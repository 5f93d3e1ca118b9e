"""Telling by its bytes that a request is one of the plain kind, which a busy server can refuse without parsing it."""

from __future__ import annotations

from typing import Final

_METHODS: Final = (b"post /", b"get /")
_LENGTH: Final = b"\ncontent-length"
_CONNECTION: Final = b"\nconnection"
_KEPT: Final = b"\nconnection: keep-alive\r"
_NAME: Final = b"\nx-request-id:"


def plain_request(data: bytes) -> bytes | None:
    """Look whether these bytes are one whole request, no more and no less, on a connection that goes on after it.

    Returns:
        What the client calls it (``x-request-id``; may be empty, or nonsense). ``None`` for everything that needs a
        parser to be told: it may be right, and it may be wrong.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[: end + 2].lower()
    lines = head.count(b"\r\n")
    if not head.startswith(_METHODS) or head.count(b"\n") != lines or head.count(b"\r") != lines:
        return None
    # What changes how the request or its answer is framed, or goes on with the line before.
    if b"\ntransfer-encoding" in head or b"\nexpect" in head or b"\nupgrade" in head:
        return None
    if b"\n " in head or b"\n\t" in head or head[: head.index(b"\r")][-9:] != b" http/1.1":
        return None
    if head.count(_CONNECTION) != head.count(_KEPT) or head.count(_LENGTH) > 1:
        return None
    length = _value(data, head, _LENGTH + b":") if _LENGTH in head else b"0"
    if not length.isdigit() or len(data) != end + 4 + int(length):
        return None
    return _value(data, head, _NAME)


def _value(data: bytes, head: bytes, start: bytes) -> bytes:
    """What follows the start of a line, of the last that has it; empty where there is none."""
    at = head.rfind(start)
    return b"" if at < 0 else data[at + len(start) : head.index(b"\r", at)].strip()

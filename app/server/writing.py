"""Writing the head of an answer together with the beginning of its body: one system call, one waking of the client."""

from __future__ import annotations

import asyncio
from typing import Final

_CONTINUE: Final = b"HTTP/1.1 100 "


class JoinedWrites:
    """What one answer has in the place of its transport.

    uvicorn writes the head by itself. It is kept until more is written or the connection is to be closed, and never
    longer than to the next turn of the event loop.

    Args:
        transport: The connection's.
        loop: The event loop.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Write something; the first of an answer is its head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif self._head is None and not data.startswith(_CONTINUE):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close the connection when everything is written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """The connection is being closed."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

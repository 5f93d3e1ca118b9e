"""What a server takes from its clients, and what it says to those who are past it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from app.api.errors import error_body, error_headers
from app.core.errors import ApiError

FILES_BESIDE: Final = 200
"""Open files that are neither a client's connection nor an upstream's: the store, the log, listening sockets."""


class Bounds(Struct, frozen=True):
    """What a server takes from its clients.

    Attributes:
        in_flight: Requests at a time, WebSockets and those that wait for their turn included; others get 503.
        connections: Connections at a time; more are refused with 503.
        head_bytes: Bytes of a request's line and headers; more are refused with 431.
        headers: How many headers a request may have; more are refused with 431.
        head_seconds: For a request's line and headers; then the connection is closed.
        body_seconds: For a whole body; then it is refused with 408.
        stall_seconds: Between two pieces of a body; then it is refused with 408.
        unread_seconds: How long a client may leave what it was sent unread; then the connection is cut.
        keep_alive_seconds: How long an idle connection is kept: longer than the common clients keep theirs.
    """

    in_flight: int = 6_000
    connections: int = 10_000
    head_bytes: int = 64 * 1024
    headers: int = 100
    head_seconds: float = 20.0
    body_seconds: float = 300.0
    stall_seconds: float = 20.0
    unread_seconds: float = 120.0
    keep_alive_seconds: int = 75

    def within(self, open_files: int | None) -> Bounds:
        """The bounds that so many open files allow: an answer takes two, the client's and the upstream's."""
        if open_files is None:
            return self
        return replace(self, connections=max(1, min(self.connections, (open_files - FILES_BESIDE) // 2)))


class Refusal:
    """A whole answer that is the same every time, prepared: refusing must cost next to nothing.

    Attributes:
        status: Its status.
    """

    def __init__(self, error: ApiError) -> None:
        self.status = error.status
        body = error_body(error)
        headers = {"content-type": "application/json", "content-length": str(len(body)), **error_headers(error)}
        phrase = HTTPStatus(error.status).phrase
        self._line = f"HTTP/1.1 {error.status} {phrase}\r\n".encode()
        self._rest = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        self._body = body
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._begin = b""

    def answer(
        self, headers: list[tuple[bytes, bytes]], request_id: str, *, close: bool, head_only: bool = False
    ) -> bytes:
        """The bytes of the answer.

        Args:
            headers: What every answer has.
            request_id: What the client is to see as ``x-request-id``.
            close: The connection ends with it.
            head_only: It answers a HEAD request.
        """
        if headers is not self._headers:
            # Once a second: the server makes them anew for the date.
            self._headers = headers
            lines = [b"%b: %b\r\n" % header for header in headers]
            self._begin = b"".join([self._line, *lines, self._rest, b"x-request-id: "])
        return b"".join(
            (
                self._begin,
                request_id.encode(),
                b"\r\nconnection: close\r\n\r\n" if close else b"\r\n\r\n",
                b"" if head_only else self._body,
            )
        )

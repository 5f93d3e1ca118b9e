"""One HTTP/1.1 connection to an upstream: one request at a time, and the answer as it comes off the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import httptools
import httpx

READ_BUFFER_BYTES: Final = 64 * 1024
"""How much an upstream may send ahead of a slow client before its connection is paused."""

MOST_HEAD_BYTES: Final = 64 * 1024
"""How large an answer's head may be, names and values; also what follows a chunked body."""

JOINED_BYTES: Final = 64 * 1024
"""A body up to this is sent with its head in one piece; a larger one is not copied."""

_NO_BODY: Final = frozenset({204, 304})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class Exchange:
    """One request's answer.

    It outlives its connection, which serves the next request as soon as the last byte of this answer has come, read or
    not.

    Attributes:
        status: The HTTP status.
        headers: As they were sent.
        complete: All of it has come.
    """

    __slots__ = ("_blocks", "_connection", "_error", "_head_came", "_waiter", "complete", "headers", "size", "status")

    def __init__(self, connection: Connection) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.size = 0
        self._connection = connection
        self._head_came = False
        self._blocks: list[bytes] = []
        self._error: httpx.TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def head(self, seconds: float | None) -> None:
        """Wait for the answer's head, for so many seconds; ``None`` for any time.

        Raises:
            httpx.TransportError: It does not come.
        """
        while not self._head_came:
            if self._error is not None:
                raise self._error
            await self._wait(seconds)

    async def read(self, seconds: float | None) -> bytes:
        """What has come since the last read; waits for something, for so many seconds. Empty at the end.

        Raises:
            httpx.TransportError: The connection broke, after everything that had come; or nothing came in time.
        """
        while not self._blocks:
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait(seconds)
        data = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        self.size = 0
        if not self.complete:
            self._connection.resume()
        return data

    def abandon(self) -> None:
        """Nothing more of it is wanted: unless it is complete, its connection is closed at once."""
        if not self.complete:
            self._connection.abort()

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head has come."""
        self.status = status
        self.headers = headers
        self._head_came = True

    def add(self, block: bytes) -> None:
        """A part of the body has come."""
        self._blocks.append(block)
        self.size += len(block)

    def fail(self, error: httpx.TransportError) -> None:
        """Nothing more will come."""
        if not self.complete and self._error is None:
            self._error = error
        self.wake()

    def wake(self) -> None:
        """Let who waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        # A fifth of what asyncio.timeout costs, and this is once per token.
        timer = None if seconds is None else loop.call_later(seconds, _time_out, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _time_out(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(httpx.ReadTimeout("nothing came in time"))


class _Unwanted(Exception):
    """Ends the parsing of an answer."""


class Connection(asyncio.Protocol):
    """One connection, of which at most one request is under way.

    Args:
        released: Hears that an answer is complete and that the connection can serve another request.
        lost: Hears, once, that it cannot any more.

    Attributes:
        closed: Done when the socket is closed.
        idle_since: When it was last released, by the event loop's clock; for who keeps it.
    """

    __slots__ = (
        "_bodiless",
        "_ended",
        "_exchange",
        "_head_bytes",
        "_head_done",
        "_headers",
        "_informational",
        "_keep_alive",
        "_lost",
        "_parser",
        "_paused",
        "_released",
        "_transport",
        "_until_end",
        "closed",
        "idle_since",
    )

    def __init__(self, released: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.idle_since = 0.0
        self._released = released
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._paused = False
        self._ended = False
        self._bodiless = False
        self._begin_head()

    @property
    def usable(self) -> bool:
        """It can serve a request now."""
        return not self._ended and self._transport is not None and not self._transport.is_closing()

    def send(self, head: bytes, body: bytes, *, bodiless: bool = False) -> Exchange:
        """Send a request.

        Args:
            head: The request line and the headers, with the empty line.
            body: What follows it.
            bodiless: The answer has no body whatever its headers say, as that to ``HEAD``.
        """
        assert self._transport is not None  # noqa: S101 - tells the type checker
        exchange = self._exchange = Exchange(self)
        self._bodiless = bodiless
        if len(body) > JOINED_BYTES:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)
        return exchange

    def resume(self) -> None:
        """What had come has been read: more may come."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end(httpx.ReadError("the connection was closed"))

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        # uvloop's transports are none of asyncio's, in name only.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        exchange = self._exchange
        if exchange is None:
            # Nobody has asked for anything: the next request would take it for its answer.
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            exchange.fail(httpx.RemoteProtocolError(f"the answer is not HTTP: {error}"))
            self.abort()
            return
        if exchange.complete:
            self._finish()
        elif exchange.size > READ_BUFFER_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        exchange.wake()

    def eof_received(self) -> None:
        """Nothing more will come; the transport closes itself."""
        if self._exchange is not None and self._head_done and self._until_end:
            self._exchange.complete = True
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._end(exc)
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._exchange is None or self._exchange.complete:
            raise _Unwanted("two answers to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer; or what follows a chunked body, which is not wanted."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEAD_BYTES:
            raise _Unwanted("a head that is too large")
        if not self._head_done:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        status = self._parser.get_status_code()
        self._informational = 100 <= status < 200
        if self._informational or self._exchange is None:
            return
        self._head_done = True
        self._until_end = status not in _NO_BODY and not any(name.lower() in _FRAMING for name, _ in self._headers)
        self._exchange.begin(status, self._headers)
        if self._bodiless:
            # Where the next answer begins is not for this parser to know.
            self._keep_alive = False
            self._exchange.complete = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._exchange is not None and not self._exchange.complete:
            self._exchange.add(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._informational:
            self._begin_head()
        elif self._exchange is not None and not self._exchange.complete:
            # It is known only now: the parser forgets it with the message.
            self._keep_alive = self._parser.should_keep_alive()
            self._exchange.complete = True

    def _begin_head(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._head_done = False
        self._informational = False
        self._until_end = False
        self._keep_alive = False

    def _finish(self) -> None:
        """The answer is complete: the connection serves another, or is closed."""
        assert self._transport is not None  # noqa: S101 - tells the type checker
        # An answer that came before its request was sent: the rest of that would be read as the next.
        if not self._keep_alive or self._transport.get_write_buffer_size():
            self.abort()
            return
        self._exchange = None
        self._begin_head()
        self.resume()
        self._released(self)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            failure: httpx.TransportError
            if error is None and not self._head_done:
                failure = httpx.RemoteProtocolError("the server closed the connection without an answer")
            else:
                failure = httpx.ReadError(str(error or "") or "the connection broke within the answer")
            failure.__cause__ = error
            exchange.fail(failure)
        self._lost(self)

"""The seam under which the upstream connection can be changed: httpx's transport interface, here over httptools.

httpx's own pool looks at every connection at each request, which makes it slower with every open stream, and its layers
cost several times what the exchange itself does. So httpx's request, response and error types stay, and only what
carries the bytes is another: a pool of asyncio's protocols.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import httpx

from app.cloudflare.carrier import Received
from app.cloudflare.connection import Connection, Exchange
from app.cloudflare.dialling import Dialler, Origin

CLOSE_SECONDS: Final = 1.0
"""How long the end waits for sockets to be closed."""

_ANY_TIME: Final[Mapping[str, float | None]] = {}


class Body(httpx.AsyncByteStream):
    """The answer's bytes, as they come off the socket: one block for each read."""

    __slots__ = ("_exchange", "_seconds")

    def __init__(self, exchange: Exchange, seconds: float | None) -> None:
        self._exchange = exchange
        self._seconds = seconds

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        block = await self._exchange.read(self._seconds)
        if not block:
            raise StopAsyncIteration
        return block

    async def read(self, seconds: float | None) -> bytes:
        """The next block, for which is waited so many seconds; empty at the end.

        Raises:
            httpx.TransportError: The connection broke, after everything that had come; or nothing came in time.
        """
        return await self._exchange.read(seconds)

    async def aclose(self) -> None:
        """Let go of it; the upstream of an answer that is not complete learns at once that nobody is listening."""
        self._exchange.abandon()


class Transport(httpx.AsyncBaseTransport):
    """Carries httpx requests over HTTP/1.1 connections that are kept.

    A connection serves one request at a time: never is a second one sent before the answer to the first is complete.
    One on which something came that nobody had asked for, or whose answer was given up, is not used again. Redirects
    are never followed, cookies never kept, bodies never decompressed. A request that got no answer is not sent again:
    that is for whoever knows what it does.

    Timeouts are those of httpx, in the request's extensions: ``connect`` for opening a connection, TLS included,
    ``pool`` for waiting until one may be opened, ``read`` for the head and for each block of the body.

    Args:
        max_connections: How many connections may be open at once; further requests wait in line.
        keep_alive_seconds: How long an unused connection is kept.
        verify: TLS trust; ``None`` for that of httpx.
    """

    def __init__(
        self, *, max_connections: int, keep_alive_seconds: float = 60.0, verify: ssl.SSLContext | None = None
    ) -> None:
        self._free_places = max_connections
        self._keep_alive_seconds = keep_alive_seconds
        self._dialler = Dialler(verify)
        self._origins: dict[tuple[bytes, bytes, int | None], Origin] = {}
        self._open: set[Connection] = set()
        # In the order in which they were used: the last is used first, so that those too many grow old.
        self._idle: dict[Origin, dict[Connection, None]] = {}
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def send(
        self,
        method: str,
        url: httpx.URL,
        headers: Sequence[tuple[bytes, bytes]],
        content: bytes,
        *,
        connect: float | None,
        head: float | None,
    ) -> Received:
        """Send one request; see ``app.cloudflare.carrier.Carrier``."""
        waits = {"connect": connect, "pool": connect}
        exchange = await self._exchange(method, url, headers, content, waits, head)
        return Received(exchange.status, exchange.headers, Body(exchange, None))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; return when the answer's head has come.

        Raises:
            httpx.TransportError: It did not come.
        """
        seconds: Mapping[str, float | None] = request.extensions.get("timeout", _ANY_TIME)
        exchange = await self._exchange(
            request.method, request.url, request.headers.raw, await request.aread(), seconds
        )
        stream = Body(exchange, seconds.get("read"))
        return httpx.Response(exchange.status, headers=exchange.headers, stream=stream, request=request)

    async def _exchange(
        self,
        method: str,
        url: httpx.URL,
        headers: Sequence[tuple[bytes, bytes]],
        content: bytes,
        seconds: Mapping[str, float | None],
        whole: float | None = None,
    ) -> Exchange:
        """Send one request; return when the answer's head has come: all in all, within ``whole`` seconds."""
        origin = self._origin(url)
        request_head = _head(method, url, headers, origin, len(content))
        left = seconds.get("read") if whole is None else whole
        connection = self._idle_one(origin) if not self._waiting else None
        if connection is None:
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with _bounded(whole, httpx.ReadTimeout):
                connection = await self._wait_for_one(origin, seconds)
            if whole is not None:
                left = whole - (loop.time() - began)
        exchange = connection.send(request_head, content, bodiless=method == "HEAD")
        try:
            await exchange.head(left)
        except BaseException:
            exchange.abandon()
            raise
        return exchange

    async def aclose(self) -> None:
        """Close every connection."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        closing = [connection.closed for connection in self._open]
        for connection in list(self._open):
            connection.abort()
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_SECONDS)

    def _origin(self, url: httpx.URL) -> Origin:
        key = (url.raw_scheme, url.raw_host, url.port)
        known = self._origins.get(key)
        if known is None:
            known = self._origins[key] = self._dialler.origin(url)
        return known

    def _idle_one(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if connection.usable:
                return connection
        return None

    async def _wait_for_one(self, origin: Origin, seconds: Mapping[str, float | None]) -> Connection:
        """A connection that has become free, or a new one."""
        if self._waiting or not (self._free_places or self._close_oldest()):
            async with _bounded(seconds.get("pool"), httpx.PoolTimeout):
                await self._turn()
                while (free := self._idle_one(origin)) is None and not (self._free_places or self._close_oldest()):
                    await self._turn(again=True)
            if free is not None:
                return free
        self._free_places -= 1
        try:
            async with _bounded(seconds.get("connect"), httpx.ConnectTimeout):
                connection = await self._dialler.dial(origin, lambda: self._make(origin))
        except BaseException:
            self._leave()
            raise
        self._open.add(connection)
        if not connection.usable:
            self._lost(connection)
            raise httpx.ConnectError("the server closed the connection at once")
        return connection

    async def _turn(self, *, again: bool = False) -> None:
        """Wait in line; who comes ``again`` found nothing left, and is the first of the line."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if again:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:
                # It was theirs, and is not taken.
                self._call_next()
            raise

    def _call_next(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)

    def _make(self, origin: Origin) -> Connection:
        return Connection(functools.partial(self._released, origin), self._lost)

    def _leave(self) -> None:
        self._free_places += 1
        self._call_next()

    def _released(self, origin: Origin, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(origin, {})[connection] = None
        if self._next_look is None:
            self._next_look = loop.call_later(self._keep_alive_seconds, self._look)
        self._call_next()

    def _lost(self, connection: Connection) -> None:
        # One that was never open has no place.
        if connection in self._open:
            self._open.remove(connection)
            for idle in self._idle.values():
                idle.pop(connection, None)
            self._leave()

    def _close_oldest(self) -> bool:
        """Close the connection that was not used for longest, so that another origin can have its place."""
        oldest = min((next(iter(idle)) for idle in self._idle.values() if idle), key=_idle_since, default=None)
        if oldest is None:
            return False
        oldest.abort()
        return True

    def _look(self) -> None:
        """Close what was not used for long."""
        now = asyncio.get_running_loop().time()
        idle = [connection for idle in self._idle.values() for connection in idle]
        kept = []
        for connection in idle:
            if connection.idle_since + self._keep_alive_seconds <= now:
                connection.abort()
            else:
                kept.append(connection.idle_since)
        self._next_look = None
        if kept:
            pause = min(kept) + self._keep_alive_seconds - now
            self._next_look = asyncio.get_running_loop().call_later(pause, self._look)


def _idle_since(connection: Connection) -> float:
    return connection.idle_since


def _head(method: str, url: httpx.URL, headers: Sequence[tuple[bytes, bytes]], origin: Origin, length: int) -> bytes:
    """The request line and the headers, with the empty line.

    Raises:
        httpx.LocalProtocolError: A header would be more than one.
    """
    lines = [b"%b %b%b HTTP/1.1" % (method.encode("ascii"), origin.target, url.raw_path)]
    for name, value in headers:
        if name.lower() == b"transfer-encoding":
            # The whole body is there: it has a length.
            lines.append(b"Content-Length: %d" % length)
        else:
            lines.append(name + b": " + value)
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header has a line break in it")
    return b"%b\r\n%b\r\n" % (head, origin.headers)


@contextlib.asynccontextmanager
async def _bounded(seconds: float | None, failure: type[httpx.TimeoutException]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise failure("it took too long") from error

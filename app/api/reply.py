"""Sending an answer: one body, or a stream that begins only when its first bytes exist."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from app.api.drain import Drain, shutting_down
from app.api.errors import error_body, error_headers
from app.core.errors import ApiError, BadRequest, Internal, TooLarge
from app.exchange import Exchange
from app.wire.codec import encode
from app.wire.sse import KEEP_ALIVE

_STREAM_HEADERS = {"cache-control": "no-cache"}


class ClientLeft(Exception):
    """The client has gone before its request was whole."""


class Answered(Protocol):
    """A request that is being answered."""

    @property
    def ending(self) -> bool:
        """The answer has come to its end; it is not to be interrupted any more."""


class Presence:
    """Watches whether the client is still there, and cancels the task that serves it when it is not.

    While a stream is silent it also sends comment lines, so that nobody between here and the client takes the silence
    for death. One task for both, and nothing per chunk.

    Args:
        receive: Where the server says that the client has left.
        send: Where comment lines go.
        interval: Seconds of silence before a comment line; 0 for none.
        drain: Cancels the task, too, when the server has to end before the answer does.
        exchange: What is answered; one that is ending anyway is left to do so.

    Attributes:
        left: The client has left.
        interrupted: The server ends.
    """

    def __init__(
        self, receive: Receive, send: Send, interval: float, drain: Drain, exchange: Answered | None = None
    ) -> None:
        self._receive = receive
        self._send = send
        self._interval = interval
        self._drain = drain
        self._exchange = exchange
        self._served: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._busy = True
        self._spoke = False
        self.left = False
        self.interrupted = False

    async def __aenter__(self) -> Self:
        self._served = asyncio.current_task()
        self._watcher = asyncio.create_task(self._watch())
        self._drain.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self._watcher is not None  # noqa: S101 - made on entering
        self._watcher.cancel()
        self._drain.leave(self)
        if kind is asyncio.CancelledError and self.left:
            assert self._served is not None  # noqa: S101 - set on entering
            # Only our own cancellation ends here; one from outside goes on.
            return self._served.uncancel() == 0
        return False

    def interrupt(self) -> None:
        """Cancel the task, which then ends the answer; see ``resume``."""
        if not self.left and (self._exchange is None or not self._exchange.ending):
            assert self._served is not None  # noqa: S101 - set on entering
            self.interrupted = True
            self._served.cancel()

    def resume(self) -> bool:
        """Tell whether a cancellation that was caught is an interruption; then the task goes on, to end the answer."""
        assert self._served is not None  # noqa: S101 - set on entering
        return self.interrupted and self._served.uncancel() == 0

    async def send(self, block: bytes, *, more: bool) -> None:
        """Send a part of a stream's body; comment lines come only between two of them."""
        self._busy = self._spoke = True
        await self._send({"type": "http.response.body", "body": block, "more_body": more})
        self._busy = not more

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval or None):
                    message = await self._receive()
            except TimeoutError:
                await self._break_silence()
                continue
            if message["type"] == "http.disconnect":
                self.left = True
                assert self._served is not None  # noqa: S101 - set on entering
                if not self.interrupted:
                    self._served.cancel()
                return

    async def _break_silence(self) -> None:
        if self._spoke:
            self._spoke = False
        elif not self._busy:
            await self._send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})


class EventStream(EventSourceResponse):
    """A stream of finished frames.

    The library's own way of sending starts a task group with three tasks per stream, encodes each event and ends every
    stream on a signal of its own; frames here are finished bytes, and who watches the client is ``Presence``.
    """

    def __init__(self, exchange: Exchange, first: bytes, presence: Presence, headers: Mapping[str, str]) -> None:
        super().__init__(content=_nothing(), headers=headers, sep="\n", ping=0)
        self._exchange = exchange
        self._first = first
        self._presence = presence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the status, then every block as it comes."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        presence, more = self._presence, self._exchange.more
        unsent = self._first
        try:
            while True:
                # The first block may be empty, where a surface has nothing to say before the first text.
                await presence.send(unsent, more=True)
                unsent = b""
                unsent = await more()
                if not unsent:
                    break
        except asyncio.CancelledError:
            if not presence.resume():
                raise
            await presence.send(unsent + await self._exchange.break_off(shutting_down()), more=True)
        await presence.send(b"", more=False)


async def _nothing() -> AsyncIterator[bytes]:
    """No blocks: a stream asks its exchange for them."""
    for block in tuple[bytes, ...]():
        yield block


Background: TypeAlias = Callable[[Exchange, bytes, Scope, Receive, Send], Awaitable[None]]


class Replies:
    """Serves exchanges over HTTP.

    Args:
        max_body_bytes: The largest request body that is read.
        keep_alive_seconds: Silence in a stream before a comment line; 0 for none.
        drain: Tells of the server's end.
        background: Leaves an exchange to a worker and answers; ``None`` where there are none.
    """

    def __init__(
        self, *, max_body_bytes: int, keep_alive_seconds: float, drain: Drain, background: Background | None = None
    ) -> None:
        self._drain = drain
        self._background = background
        self._max_body_bytes = max_body_bytes
        self._keep_alive_seconds = keep_alive_seconds

    async def serve(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one exchange from the request's first byte to the answer's last."""
        try:
            try:
                raw = await self.read(scope, receive)
            except ApiError as error:
                exchange.fail(error)
                await send_error(error, {}, send)
                return
            except ClientLeft:
                exchange.leave()
                return
            presence = Presence(receive, send, self._keep_alive_seconds, self._drain, exchange)
            try:
                async with presence:
                    await self._answer(exchange, raw, presence, scope, receive, send)
            finally:
                if presence.left:
                    exchange.leave()
        finally:
            await exchange.settle()

    async def _answer(
        self, exchange: Exchange, raw: bytes, presence: Presence, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            await exchange.read(raw)
            if exchange.background and self._background is not None:
                await self._background(exchange, raw, scope, receive, send)
                return
            await exchange.send()
            if exchange.stream:
                first = await exchange.first()
            else:
                body = encode(await exchange.whole())
        except ApiError as error:
            exchange.fail(error)
            await send_error(error, exchange.headers, send)
            return
        except asyncio.CancelledError:
            if not presence.resume():
                raise
            ending = shutting_down()
            exchange.fail(ending)
            await send_error(ending, exchange.headers, send)
            return
        except Exception:
            exchange.fail(Internal())
            raise
        if exchange.stream:
            stream = EventStream(exchange, first, presence, {**_STREAM_HEADERS, **exchange.headers})
            await stream(scope, receive, send)
        else:
            await send_json(200, body, exchange.headers, send)

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Read a request's body.

        Raises:
            ApiError: It is too large, or compressed.
            ClientLeft: It will never be whole.
        """
        for name, value in scope["headers"]:
            if name == b"content-encoding" and value.lower() != b"identity":
                raise BadRequest("Compressed request bodies are not supported; send the JSON as it is.")
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._max_body_bytes:
                raise TooLarge(f"Maximum content size limit ({self._max_body_bytes} bytes) exceeded.")
            pieces.append(piece)
            if not message.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def send_error(error: ApiError, headers: Mapping[str, str], send: Send) -> None:
    """Send a failure, with the headers by which the SDKs decide whether to try again."""
    await send_json(error.status, error_body(error), {**error_headers(error), **headers}, send)


async def send_json(status: int, body: bytes, headers: Mapping[str, str], send: Send) -> None:
    """Send one JSON body."""
    await send_bytes(status, body, "application/json", headers, send)


async def send_bytes(status: int, body: bytes, content_type: str, headers: Mapping[str, str], send: Send) -> None:
    """Send one body."""
    raw_headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
    raw_headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw_headers})
    await send({"type": "http.response.body", "body": body})

"""Sending an answer: one body, or a stream that begins only when its first bytes exist."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from app.api.drain import Drain, shutting_down
from app.api.errors import error_body, error_headers
from app.api.presence import Presence
from app.core.errors import ApiError, BadRequest, Internal, TooLarge
from app.exchange import Exchange
from app.wire.codec import encode

_STREAM_HEADERS = {"cache-control": "no-cache"}


class ClientLeft(Exception):
    """The client has gone before its request was whole."""


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
        # The library says once what a stream's headers are; making a response for each takes longer than its sending.
        library = EventSourceResponse(content=_nothing(), headers=_STREAM_HEADERS, sep="\n", ping=0)
        self._stream_headers = library.raw_headers

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
            presence = Presence(scope, receive, send, self._keep_alive_seconds, self._drain, exchange)
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
            await self._stream(exchange, first, presence, send)
        else:
            await send_json(200, body, exchange.headers, send)

    async def _stream(self, exchange: Exchange, first: bytes, presence: Presence, send: Send) -> None:
        """Send the status, then every block as it comes."""
        headers = [*self._stream_headers, *_raw(exchange.headers)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        more = exchange.more
        unsent = first
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
            await presence.send(unsent + await exchange.break_off(shutting_down()), more=True)
        await presence.send(b"", more=False)

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
    await send({"type": "http.response.start", "status": status, "headers": raw_headers + _raw(headers)})
    await send({"type": "http.response.body", "body": body})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]

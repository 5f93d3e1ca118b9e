"""What carries requests to the upstream: our own transport, or any of httpx's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence
from typing import NamedTuple, Protocol

import httpx


class AnswerBody(Protocol):
    """The bytes of an answer, as they come."""

    async def read(self, seconds: float) -> bytes:
        """The next block, for which is waited so many seconds; empty at the end.

        Raises:
            httpx.TransportError: The connection broke, after everything that had come; or nothing came in time.
        """

    async def aclose(self) -> None:
        """Let go of it; the upstream of an answer that is not complete learns at once that nobody is listening."""


class Received(NamedTuple):
    """An answer whose head has come.

    Attributes:
        status: The HTTP status.
        headers: Names and values, as they were sent.
        body: What follows.
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: AnswerBody


class Carrier(Protocol):
    """Sends requests. It is httpx's transport interface without its objects, which cost more than the sending."""

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
        """Send one request; return when the answer's head has come.

        Args:
            method: The HTTP method.
            url: Where.
            headers: All of them, ``Host`` and ``Content-Length`` included.
            content: The whole body.
            connect: Seconds for a connection: for one that may be opened, and for opening it; ``None`` for any time.
            head: Seconds for all of it; ``None`` for any time.

        Raises:
            httpx.TransportError: It did not come.
        """

    async def aclose(self) -> None:
        """Close every connection."""


class HttpxCarrier:
    """Sends over any of httpx's transports.

    Args:
        transport: What carries the bytes.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

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
        """Send one request; see ``Carrier``."""
        request = httpx.Request(
            method,
            url,
            headers=list(headers),
            stream=httpx.ByteStream(content),
            extensions={"timeout": {"connect": connect, "pool": connect}},
        )
        try:
            async with asyncio.timeout(head):
                response = await self._transport.handle_async_request(request)
        except TimeoutError:
            raise httpx.ReadTimeout("no answer came in time") from None
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells the type checker
        return Received(response.status_code, response.headers.raw, Blocks(response.stream, response.stream))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


class Blocks:
    """An answer's body that is an iterator of blocks.

    Args:
        blocks: The blocks; what it raises, ``read`` raises.
        source: Where they come from: it is closed in the end.
    """

    def __init__(self, blocks: AsyncIterable[bytes], source: AnswerBody | httpx.AsyncByteStream) -> None:
        self._iterator = aiter(blocks)
        self._source = source

    async def read(self, seconds: float) -> bytes:
        """The next block; see ``AnswerBody``."""
        try:
            async with asyncio.timeout(seconds):
                return await anext(self._iterator, b"")
        except TimeoutError:
            raise httpx.ReadTimeout("nothing came in time") from None

    async def aclose(self) -> None:
        """Let go of it."""
        await self._source.aclose()

"""An answer of Workers AI that has begun: reading it, and giving it up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Final

import httpx

from app.cloudflare.carrier import AnswerBody, Blocks, Received
from app.core.errors import UpstreamBroken, UpstreamTimeout, UpstreamTruncated
from app.wire.compression import ENCODINGS, CompressionError, Decompressor

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""How much of an unstreamed answer is read."""

FINISH_SECONDS = 0.5
"""How long the bytes after the end of a stream are waited for."""

TOTAL_TIMEOUT: Final = "total_timeout"
"""The code of an answer that took longer, all in all, than it may."""

CACHE_STATUS: Final = "cf-aig-cache-status"
"""The header by which an AI Gateway says that an answer is one that it had kept: ``HIT`` or ``MISS``."""

_GATEWAY_ANSWERS: Final = {name.encode(): name for name in (CACHE_STATUS, "cf-aig-log-id")}

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Answer:
    """An upstream answer with a good status, being read.

    Attributes:
        content_type: The media type, without parameters, in lower case.
        request_id: Cloudflare's ``cf-ray``.
        status: The HTTP status.
        gateway: What the AI Gateway says about it, as headers; empty without one.
    """

    def __init__(self, received: Received, idle: float, deadline: float | None, *, is_gateway: bool = False) -> None:
        self.status = received.status
        headers = {name.lower(): value for name, value in received.headers}
        self.content_type = _text(headers.get(b"content-type", b"")).partition(";")[0].strip().lower()
        ray = headers.get(b"cf-ray")
        self.request_id: str | None = None if ray is None else _text(ray)
        self.gateway = _said_by_gateway(headers) if is_gateway else _NOTHING
        self._body = received.body
        encoding = headers.get(b"content-encoding")
        if encoding is not None and _text(encoding).strip().lower() in ENCODINGS:
            # It is never asked for; what stands before Cloudflare may do it all the same.
            self._body = Blocks(_decompressed(received.body, idle), received.body)
        self._idle = idle
        self._deadline = deadline

    async def read(self) -> bytes:
        """The bytes of the next network read; empty at the end.

        Raises:
            UpstreamTimeout: Nothing came for the idle time, or the answer's deadline has come.
            UpstreamTruncated: The connection broke.
            UpstreamBroken: The answer is compressed and cannot be read.
        """
        seconds, is_last = patience(self._idle, self._deadline)
        if is_last and seconds <= 0:
            # What has come already is given without any waiting, so nothing else would see it.
            raise total_timeout()
        try:
            return await self._body.read(seconds)
        except httpx.TimeoutException:
            if is_last:
                raise total_timeout() from None
            raise UpstreamTimeout("Workers AI stopped sending in the middle of its answer.") from None
        except httpx.TransportError:
            raise UpstreamTruncated from None
        except CompressionError:
            raise UpstreamBroken("Workers AI sent a compressed answer that cannot be read.") from None

    async def read_all(self, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """The whole body.

        Raises:
            UpstreamBroken: It is larger than ``max_bytes``, or as for ``read``.
        """
        blocks: list[bytes] = []
        size = 0
        while block := await self.read():
            blocks.append(block)
            size += len(block)
            if size > max_bytes:
                raise UpstreamBroken("Workers AI sent an answer that is too large to read.")
        return b"".join(blocks)

    async def finish(self) -> None:
        """Let go of an answer whose end has been understood.

        Its last bytes are read, so that its connection can serve the next request.
        """
        try:
            await self._body.read(FINISH_SECONDS)
        except (httpx.TransportError, CompressionError):
            pass
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Give the answer up: an unfinished one closes its connection at once."""
        await self._body.aclose()


async def _decompressed(body: AnswerBody, seconds: float) -> AsyncIterator[bytes]:
    decompressor = Decompressor()
    while block := await body.read(seconds):
        for piece in decompressor.feed(block):
            yield piece
    decompressor.close()


def patience(seconds: float, deadline: float | None) -> tuple[float, bool]:
    """How long something is waited for, and whether that is until the deadline.

    The latter is kept, and not found out by the clock afterwards: some event loops are a moment early.
    """
    left = math.inf if deadline is None else deadline - asyncio.get_running_loop().time()
    return min(seconds, left), left < seconds


def total_timeout() -> UpstreamTimeout:
    """The failure of an answer whose deadline has come; another one would take as long."""
    return UpstreamTimeout("The answer took longer than this proxy allows.", code=TOTAL_TIMEOUT, should_retry=False)


def _said_by_gateway(headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
    return {name: _text(value) for raw, name in _GATEWAY_ANSWERS.items() if (value := headers.get(raw))}


def _text(value: bytes) -> str:
    return value.decode("latin-1")

"""Calls to Workers AI: opening an answer, reading it, and giving it up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Final, NamedTuple, Self

import httpx
from msgspec import Struct

from app.cloudflare.transport import Body
from app.core.errors import ApiError, Overloaded, UpstreamBroken, UpstreamTimeout, UpstreamTruncated
from app.core.quiet import Quiet
from app.core.upstream import UpstreamRequest
from app.dialects.errors import read_failure
from app.wire.codec import encode
from app.wire.compression import ENCODINGS, CompressionError, Decompressor

MAX_FAILURE_BYTES = 64 * 1024
"""How much of a failure's body is read: an HTML page says nothing that its beginning does not."""

FAILURE_SECONDS = 5.0
"""How long it is waited for: whoever sent the request waits too, and the status says most."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""How much of an unstreamed answer is read."""

FINISH_SECONDS = 0.5
"""How long the bytes after the end of a stream are waited for."""

GATEWAY_URL: Final = "https://gateway.ai.cloudflare.com/v1"

UNREACHABLE: Final = "upstream_unreachable"
"""The code of failures before there was a connection: nothing has been sent."""

TOTAL_TIMEOUT: Final = "total_timeout"
"""The code of an answer that took longer, all in all, than it may."""

_THROUGH_GATEWAY: Final = ("/v1/", "/run/")
"""Paths, below ``/ai``, that a gateway has too. The rest is no call of a model."""

HIDDEN: Final = "***"
"""Stands for what is not shown."""

_SECRET_HEADERS: Final = ("authorization", "cf-aig-authorization")

CACHE_STATUS: Final = "cf-aig-cache-status"
"""The header by which an AI Gateway says that an answer is one that it had kept: ``HIT`` or ``MISS``."""

_GATEWAY_ANSWERS: Final = (CACHE_STATUS, "cf-aig-log-id")

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Timeouts(Struct, frozen=True):
    """How long to wait, in seconds.

    Attributes:
        connect: For a connection, TLS included.
        first_byte: For the answer's head; the upstream queues a request before it.
        idle: Between two reads of an answer.
    """

    connect: float = 10.0
    first_byte: float = 180.0
    idle: float = 120.0


class Gateway(Quiet, frozen=True):
    """An AI Gateway, through which models are called.

    Attributes:
        name: Its id in the account.
        token: What an authenticated gateway asks for; empty for one that asks for nothing.
        url: Where the gateways are, without the account and what follows it.
    """

    hidden = frozenset({"token"})

    name: str
    token: str = ""
    url: str = GATEWAY_URL


class _Place(NamedTuple):
    """Where a path is, and the headers of every request there."""

    url: httpx.URL
    headers: Mapping[str, str]
    is_gateway: bool


class Answer:
    """An upstream answer with a good status, being read.

    Attributes:
        content_type: The media type, without parameters, in lower case.
        request_id: Cloudflare's ``cf-ray``.
        status: The HTTP status.
        gateway: What the AI Gateway says about it, as headers; empty without one.
    """

    def __init__(self, response: httpx.Response, idle: float, deadline: float | None) -> None:
        headers = response.headers
        self.status = response.status_code
        self.content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.request_id: str | None = headers.get("cf-ray")
        self.gateway = _NOTHING
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells the type checker
        # It is never asked for; what stands before Cloudflare may do it all the same.
        compressed = headers.get("content-encoding", "").strip().lower() in ENCODINGS
        stream = response.stream
        self._body = stream if isinstance(stream, Body) and not compressed else _Blocks(stream, compressed=compressed)
        self._idle = idle
        self._deadline = deadline

    async def read(self) -> bytes:
        """The bytes of the next network read; empty at the end.

        Raises:
            UpstreamTimeout: Nothing came for the idle time, or the answer's deadline has come.
            UpstreamTruncated: The connection broke.
            UpstreamBroken: The answer is compressed and cannot be read.
        """
        seconds, is_last = _patience(self._idle, self._deadline)
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


class _Blocks:
    """The bytes of an answer that came over any other transport, or that is compressed."""

    def __init__(self, stream: httpx.AsyncByteStream, *, compressed: bool) -> None:
        self._stream = stream
        self._blocks = aiter(_decompressed(stream) if compressed else stream)

    async def read(self, seconds: float) -> bytes:
        """As ``Body.read``; may also raise ``CompressionError``."""
        try:
            async with asyncio.timeout(seconds):
                return await anext(self._blocks, b"")
        except TimeoutError:
            raise httpx.ReadTimeout("nothing came in time") from None

    async def aclose(self) -> None:
        """Let go of it."""
        await self._stream.aclose()


class CloudflareClient:
    """Speaks to one Cloudflare account.

    Args:
        transport: What carries the bytes.
        base_url: Cloudflare's API, such as ``https://api.cloudflare.com/client/v4``.
        account_id: Whose models are run.
        token: An API token that may run Workers AI.
        timeouts: How long to wait.
        user_agent: Who we say we are.
        clock: The Unix time, for errors that name a deadline.
        gateway: What models are called through; ``None`` to call them directly.

    Attributes:
        gateway: The same.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        base_url: str,
        account_id: str,
        token: str,
        timeouts: Timeouts,
        user_agent: str,
        clock: Callable[[], float],
        gateway: Gateway | None = None,
    ) -> None:
        self.gateway = gateway
        self._transport = transport
        self._base = f"{base_url}/accounts/{account_id}/ai"
        self._account_id = account_id
        self._places: dict[str, _Place] = {}
        self._timeouts = timeouts
        self._clock = clock
        self._headers = {
            "authorization": f"Bearer {token}",
            "user-agent": user_agent,
            "accept-encoding": "identity",
        }
        self._extensions = {"timeout": {"connect": timeouts.connect, "pool": timeouts.connect}}

    async def open(self, request: UpstreamRequest, deadline: float | None = None) -> Answer:
        """Send a request; return when a good answer has begun.

        Args:
            request: What to send.
            deadline: When the whole answer must have come, by the event loop's clock; ``None`` for any time.

        Raises:
            ApiError: The upstream refused, failed, or was not reached; never a raw transport error.
        """
        place = self._place(request.path)
        headers = _headers(place, request)
        content = encode(request.json) if request.content is None else request.content
        return await self._send("POST", place, headers, content, deadline)

    def shown(self, request: UpstreamRequest) -> tuple[str, dict[str, str]]:
        """The path and the headers that a request is sent with, without the account and the secrets in them."""
        place = self._place(request.path)
        headers = _headers(place, request)
        headers.update({name: f"Bearer {HIDDEN}" for name in _SECRET_HEADERS if name in headers})
        return place.url.path.replace(f"/{self._account_id}/", f"/{HIDDEN}/", 1), headers

    async def get(self, path: str, params: Mapping[str, str]) -> bytes:
        """Fetch a whole JSON body, such as a page of the catalogue.

        Raises:
            ApiError: As for ``open``.
        """
        place = self._place(f"{path}?{httpx.QueryParams(params)}")
        answer = await self._send("GET", place, {**place.headers, "accept": "application/json"}, b"")
        try:
            return await answer.read_all()
        finally:
            await answer.aclose()

    async def post_files(self, path: str, files: Sequence[tuple[str, bytes, str]]) -> bytes:
        """Send files as a form's field ``files``; return the whole JSON body of the answer.

        Args:
            path: Below the account's ``/ai``.
            files: Their names, bytes and media types.

        Raises:
            ApiError: As for ``open``.
        """
        form = httpx.Request("POST", self._base, files=[("files", file) for file in files])
        place = self._place(path)
        headers = {**place.headers, "accept": "application/json", "content-type": form.headers["content-type"]}
        answer = await self._send("POST", place, headers, form.read())
        try:
            return await answer.read_all()
        finally:
            await answer.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(
        self, method: str, place: _Place, headers: Mapping[str, str], content: bytes, deadline: float | None = None
    ) -> Answer:
        raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        raw_headers.append((b"host", place.url.netloc))
        if method != "GET":
            raw_headers.append((b"content-length", b"%d" % len(content)))
        # As a stream: of content, httpx would look at every header again, which takes it longer than all of this.
        stream = httpx.ByteStream(content)
        http_request = httpx.Request(method, place.url, headers=raw_headers, stream=stream, extensions=self._extensions)
        seconds, is_last = _patience(self._timeouts.first_byte, deadline)
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.handle_async_request(http_request)
        except TimeoutError:
            if is_last:
                raise total_timeout() from None
            raise UpstreamTimeout from None
        except httpx.PoolTimeout:
            raise Overloaded(
                "Every connection to Workers AI is in use. Please try again later.", retry_after=1
            ) from None
        except httpx.ConnectTimeout:
            raise UpstreamTimeout("Workers AI could not be reached in time.", code=UNREACHABLE) from None
        except httpx.TimeoutException:
            raise UpstreamTimeout from None
        except httpx.ConnectError:
            raise UpstreamBroken("Workers AI could not be reached.", code=UNREACHABLE) from None
        except httpx.TransportError:
            raise UpstreamBroken("The connection to Workers AI broke before it answered.") from None
        answer = Answer(response, self._timeouts.idle, deadline)
        if place.is_gateway:
            answer.gateway = _said_by_gateway(response.headers)
        if answer.status == 200:
            return answer
        raise await self._failure(answer, response.headers)

    def _place(self, path: str) -> _Place:
        known = self._places.get(path)
        if known is not None:
            return known
        gateway = self.gateway
        if gateway is None or not path.startswith(_THROUGH_GATEWAY):
            place = _Place(httpx.URL(self._base + path), self._headers, is_gateway=False)
        else:
            headers = dict(self._headers)
            if gateway.token:
                headers["cf-aig-authorization"] = f"Bearer {gateway.token}"
            url = f"{gateway.url}/{self._account_id}/{gateway.name}/workers-ai{path}"
            place = _Place(httpx.URL(url), headers, is_gateway=True)
        # Paths are few (one per model at most); a bound all the same, since a model's name is a client's word.
        if len(self._places) < 1024:
            self._places[path] = place
        return place

    async def _failure(self, answer: Answer, headers: Mapping[str, str]) -> ApiError:
        body = b""
        try:
            async with asyncio.timeout(FAILURE_SECONDS):
                while len(body) < MAX_FAILURE_BYTES and (block := await answer.read()):
                    body += block
        except (ApiError, TimeoutError):
            # The status alone decides then.
            pass
        finally:
            await answer.aclose()
        error = read_failure(answer.status, headers, body[:MAX_FAILURE_BYTES], self._clock())
        error.upstream_status = answer.status
        error.upstream_request_id = answer.request_id
        if answer.gateway:
            error.headers = {**error.headers, **answer.gateway}
        return error


async def _decompressed(blocks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    decompressor = Decompressor()
    async for block in blocks:
        for piece in decompressor.feed(block):
            yield piece
    decompressor.close()


def _headers(place: _Place, request: UpstreamRequest) -> dict[str, str]:
    """The headers of a request there."""
    return {
        **place.headers,
        "content-type": "application/json",
        "accept": "text/event-stream" if request.stream else "application/json",
        **request.headers,
    }


def _patience(seconds: float, deadline: float | None) -> tuple[float, bool]:
    """How long something is waited for, and whether that is until the deadline.

    The latter is kept, and not found out by the clock afterwards: some event loops are a moment early.
    """
    left = math.inf if deadline is None else deadline - asyncio.get_running_loop().time()
    return min(seconds, left), left < seconds


def total_timeout() -> UpstreamTimeout:
    """The failure of an answer whose deadline has come; another one would take as long."""
    return UpstreamTimeout("The answer took longer than this proxy allows.", code=TOTAL_TIMEOUT, should_retry=False)


def _said_by_gateway(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name in _GATEWAY_ANSWERS if (value := headers.get(name))}

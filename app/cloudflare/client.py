"""Calls to Workers AI: opening an answer, reading it, and giving it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from app.core.errors import ApiError, Overloaded, UpstreamBroken, UpstreamTimeout, UpstreamTruncated
from app.core.upstream import UpstreamRequest
from app.dialects.errors import read_failure
from app.wire.codec import encode

MAX_FAILURE_BYTES = 64 * 1024
"""How much of a failure's body is read: an HTML page says nothing that its beginning does not."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""How much of an unstreamed answer is read."""

FINISH_SECONDS = 0.5
"""How long the bytes after the end of a stream are waited for."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes:
        connect: For a connection, TLS included.
        first_byte: For the answer's head; the upstream queues a request before it.
        idle: Between two reads of an answer.
    """

    connect: float = 10.0
    first_byte: float = 180.0
    idle: float = 120.0


class Answer:
    """An upstream answer with a good status, being read.

    Attributes:
        content_type: The media type, without parameters, in lower case.
        request_id: Cloudflare's ``cf-ray``.
        status: The HTTP status.
    """

    def __init__(self, response: httpx.Response, idle: float) -> None:
        headers = response.headers
        self.status = response.status_code
        self.content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.request_id: str | None = headers.get("cf-ray")
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells the type checker
        self._stream: httpx.AsyncByteStream = response.stream
        self._blocks = self._stream.__aiter__()
        self._idle = idle

    async def read(self) -> bytes:
        """The bytes of the next network read; empty at the end.

        Raises:
            UpstreamTimeout: Nothing came for the idle time.
            UpstreamTruncated: The connection broke.
        """
        try:
            async with asyncio.timeout(self._idle):
                return await anext(self._blocks, b"")
        except TimeoutError:
            raise UpstreamTimeout("Workers AI stopped sending in the middle of its answer.") from None
        except httpx.TimeoutException:
            raise UpstreamTimeout from None
        except httpx.TransportError:
            raise UpstreamTruncated from None

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
            async with asyncio.timeout(FINISH_SECONDS):
                await anext(self._blocks, b"")
        except (TimeoutError, httpx.TransportError):
            pass
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Give the answer up: an unfinished one closes its connection at once."""
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
    ) -> None:
        self._transport = transport
        self._base = f"{base_url}/accounts/{account_id}/ai"
        self._urls: dict[str, httpx.URL] = {}
        self._timeouts = timeouts
        self._clock = clock
        self._headers = {
            "authorization": f"Bearer {token}",
            "user-agent": user_agent,
            "accept-encoding": "identity",
        }
        self._extensions = {"timeout": {"connect": timeouts.connect, "pool": timeouts.connect}}

    async def open(self, request: UpstreamRequest) -> Answer:
        """Send a request; return when a good answer has begun.

        Raises:
            ApiError: The upstream refused, failed, or was not reached; never a raw transport error.
        """
        headers = {
            **self._headers,
            "content-type": "application/json",
            "accept": "text/event-stream" if request.stream else "application/json",
            **request.headers,
        }
        return await self._send("POST", request.path, headers, encode(request.json))

    async def get(self, path: str, params: Mapping[str, str]) -> bytes:
        """Fetch a whole JSON body, such as a page of the catalogue.

        Raises:
            ApiError: As for ``open``.
        """
        query = str(httpx.QueryParams(params))
        answer = await self._send("GET", f"{path}?{query}", {**self._headers, "accept": "application/json"}, b"")
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
        headers = {**self._headers, "accept": "application/json", "content-type": form.headers["content-type"]}
        answer = await self._send("POST", path, headers, form.read())
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

    async def _send(self, method: str, path: str, headers: Mapping[str, str], content: bytes) -> Answer:
        url = self._urls.get(path)
        if url is None:
            url = httpx.URL(self._base + path)
            # Paths are few (one per model at most); a bound all the same, since a model's name is a client's word.
            if len(self._urls) < 1024:
                self._urls[path] = url
        http_request = httpx.Request(method, url, headers=headers, content=content, extensions=self._extensions)
        try:
            async with asyncio.timeout(self._timeouts.first_byte):
                response = await self._transport.handle_async_request(http_request)
        except TimeoutError:
            raise UpstreamTimeout from None
        except httpx.PoolTimeout:
            raise Overloaded(
                "Every connection to Workers AI is in use. Please try again later.", retry_after=1
            ) from None
        except httpx.ConnectTimeout:
            raise UpstreamTimeout("Workers AI could not be reached in time.") from None
        except httpx.TimeoutException:
            raise UpstreamTimeout from None
        except httpx.ConnectError:
            raise UpstreamBroken("Workers AI could not be reached.", code="upstream_unreachable") from None
        except httpx.TransportError:
            raise UpstreamBroken("The connection to Workers AI broke before it answered.") from None
        answer = Answer(response, self._timeouts.idle)
        if answer.status == 200:
            return answer
        raise await self._failure(answer, response.headers)

    async def _failure(self, answer: Answer, headers: Mapping[str, str]) -> ApiError:
        body = b""
        try:
            while len(body) < MAX_FAILURE_BYTES and (block := await answer.read()):
                body += block
        except ApiError:
            # The status alone decides then.
            pass
        finally:
            await answer.aclose()
        error = read_failure(answer.status, headers, body[:MAX_FAILURE_BYTES], self._clock())
        error.upstream_status = answer.status
        error.upstream_request_id = answer.request_id
        return error

"""Calls to Workers AI: opening an answer, reading it, and giving it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx
from msgspec import Struct

from app.cloudflare.answer import Answer, patience, total_timeout
from app.cloudflare.carrier import Carrier, HttpxCarrier
from app.cloudflare.transport import Transport
from app.core.errors import ApiError, Overloaded, UpstreamBroken, UpstreamTimeout
from app.core.quiet import Quiet
from app.core.upstream import UpstreamRequest
from app.dialects.errors import read_failure
from app.wire.codec import encode

MAX_FAILURE_BYTES = 64 * 1024
"""How much of a failure's body is read: an HTML page says nothing that its beginning does not."""

FAILURE_SECONDS = 5.0
"""How long it is waited for: whoever sent the request waits too, and the status says most."""

GATEWAY_URL: Final = "https://gateway.ai.cloudflare.com/v1"

UNREACHABLE: Final = "upstream_unreachable"
"""The code of failures before there was a connection: nothing has been sent."""

_THROUGH_GATEWAY: Final = ("/v1/", "/run/")
"""Paths, below ``/ai``, that a gateway has too. The rest is no call of a model."""

HIDDEN: Final = "***"
"""Stands for what is not shown."""

_SECRET_HEADERS: Final = ("authorization", "cf-aig-authorization")


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
        # Any of httpx's transports will do; ours is spoken to without httpx's objects.
        self._carrier: Carrier = transport if isinstance(transport, Transport) else HttpxCarrier(transport)
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
        await self._carrier.aclose()

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
        seconds, is_last = patience(self._timeouts.first_byte, deadline)
        try:
            received = await self._carrier.send(
                method, place.url, raw_headers, content, connect=self._timeouts.connect, head=seconds
            )
        except httpx.PoolTimeout:
            raise Overloaded(
                "Every connection to Workers AI is in use. Please try again later.", retry_after=1
            ) from None
        except httpx.ConnectTimeout:
            raise UpstreamTimeout("Workers AI could not be reached in time.", code=UNREACHABLE) from None
        except httpx.TimeoutException:
            if is_last:
                raise total_timeout() from None
            raise UpstreamTimeout from None
        except httpx.ConnectError:
            raise UpstreamBroken("Workers AI could not be reached.", code=UNREACHABLE) from None
        except httpx.TransportError:
            raise UpstreamBroken("The connection to Workers AI broke before it answered.") from None
        answer = Answer(received, self._timeouts.idle, deadline, is_gateway=place.is_gateway)
        if answer.status == 200:
            return answer
        raise await self._failure(answer, httpx.Headers(list(received.headers)))

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


def _headers(place: _Place, request: UpstreamRequest) -> dict[str, str]:
    """The headers of a request there."""
    return {
        **place.headers,
        "content-type": "application/json",
        "accept": "text/event-stream" if request.stream else "application/json",
        **request.headers,
    }

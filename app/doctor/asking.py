"""Asking Cloudflare's API, and hearing what it says also when it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
from msgspec import Struct

from app.dialects.envelope import read_body
from app.dialects.errors import CODES
from app.doctor.findings import Clock, Reading
from app.wire.codec import CodecError, decode_leniently, encode

MOST_BYTES: Final = 1024 * 1024
"""How much of an answer is read."""

UNROUTED: Final = frozenset({7000, 7001, 7003})
"""Cloudflare's codes for a path that leads nowhere: the account in it, most likely."""

REFUSED: Final = frozenset({1000, 1001, 6003, 6111, 9106, 9109, 10000, 10001})
"""Its codes for a token that it does not know, or that may not do this."""


class Reply(Struct, frozen=True):
    """What Cloudflare answered.

    Attributes:
        status: The HTTP status.
        code: Cloudflare's own code of a failure.
        result: The envelope's ``result``, or the body where there is no envelope.
    """

    status: int
    code: int | None
    result: Any

    @property
    def refused(self) -> bool:
        """The token is not known, or may not do this."""
        return self.code in REFUSED or (self.code is None and self.status in {401, 403})

    @property
    def unrouted(self) -> bool:
        """The path leads nowhere."""
        return self.code in UNROUTED or (self.code is None and self.status in {404, 405})

    def told(self) -> str:
        """The failure in few words, for those who look it up."""
        return f"HTTP {self.status}" + (f", code {self.code}" if self.code is not None else "")


class UnreachableError(Exception):
    """There was no answer; the text says why."""


class Asker:
    """Asks with one account's token.

    Args:
        transport: What carries the bytes.
        base_url: Cloudflare's API, such as ``https://api.cloudflare.com/client/v4``.
        account_id: The account.
        token: Its token.
        user_agent: Who we say we are.
        connect_seconds: How long a connection may take.
        clock: Our clock.

    Attributes:
        account_id: The account.
        reading: What Cloudflare's clock showed in its last answer.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        base_url: str,
        account_id: str,
        token: str,
        *,
        user_agent: str,
        connect_seconds: float,
        clock: Clock,
    ) -> None:
        self.account_id = account_id
        self.reading: Reading | None = None
        self._transport = transport
        self._base_url = base_url
        self._clock = clock
        self._extensions = {"timeout": {"connect": connect_seconds, "pool": connect_seconds}}
        self._headers = {
            "authorization": f"Bearer {token}",
            "user-agent": user_agent,
            "accept": "application/json",
            "accept-encoding": "identity",
        }

    async def get(self, path: str) -> Reply:
        """Fetch something of the API; ``path`` may hold ``{account}``.

        Raises:
            UnreachableError: There was no answer.
        """
        return await self._ask("GET", self._base_url + path.replace("{account}", self.account_id), {}, b"")

    async def post(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
        """Send JSON to a path of the API, or to another address that begins with ``http``; see ``get``."""
        url = url.replace("{account}", self.account_id)
        address = url if url.startswith("http") else self._base_url + url
        return await self._ask("POST", address, {"content-type": "application/json", **(headers or {})}, encode(body))

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], content: bytes) -> Reply:
        request = httpx.Request(
            method, url, headers={**self._headers, **headers}, content=content, extensions=self._extensions
        )
        before = self._clock()
        try:
            response = await self._transport.handle_async_request(request)
            self._read_clock(response.headers.get("date"), (before + self._clock()) / 2)
            body = await _beginning(response)
        except httpx.TransportError as error:
            raise UnreachableError(str(error) or type(error).__name__) from None
        failure = read_body(body, CODES).code if response.status_code >= 400 else None
        try:
            payload = decode_leniently(body)
        except CodecError:
            payload = None
        result = payload["result"] if isinstance(payload, dict) and "result" in payload else payload
        return Reply(response.status_code, failure, result)

    def _read_clock(self, date: str | None, ours: float) -> None:
        if date is None:
            return
        try:
            # It has whole seconds: half a second is lost on the average.
            self.reading = Reading("Cloudflare", parsedate_to_datetime(date).timestamp() + 0.5, ours)
        except (ValueError, OverflowError):
            return


async def _beginning(response: httpx.Response) -> bytes:
    """The body, or as much of it as is read."""
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells the type checker
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in response.stream:
            pieces.append(piece)
            size += len(piece)
            if size >= MOST_BYTES:
                break
    finally:
        await response.stream.aclose()
    return b"".join(pieces)

"""The recorder's application: it passes everything on to the upstream and back, and has each exchange written down."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import httpx
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.recorder.redaction import Redactor, names_a_secret
from app.recorder.transcript import NUMBERS, End, Exchange, write
from app.wire.codec import encode

MOST_BYTES: Final = 16 * 1024 * 1024
"""The largest exchange that is written down, request and answer together."""

LARGEST_REQUEST: Final = 100 * 1024 * 1024
"""A larger request is not passed on."""

_LEAST_LEARNED: Final = 8
_MOST_LEARNED: Final = 100

_PATH = re.compile(r"/client/v4/accounts/(?P<account>[^/]+)(?P<path>/ai/.*)")
_ADDRESS = re.compile(r"forwarded|(?:^|-)ip(?:v6)?$")
_RAYS: Final = frozenset({"cf-ray", "cf-ai-req-id", "cf-aig-log-id", "cf-aig-event-id", "cf-aig-run-id"})
_CONNECTION: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "expect",
    }
)  # fmt: skip
_CREDENTIALS: Final = frozenset({"authorization", "x-auth-key", "x-auth-email", "x-auth-user-service-key", "cookie"})


class _ClientLeft(Exception):
    """Nobody is there any more."""


class Recorder:
    """An ASGI application in front of Cloudflare's API.

    Args:
        out: The folder for the recordings; it is made when it is not there.
        upstream_url: Cloudflare's API, such as ``https://api.cloudflare.com/client/v4``.
        transport: What carries the bytes to it.
        timer: Monotonic seconds.
        account_id: Takes the place of the account that a client names; ``None`` leaves that.
        token: Takes the place of a client's credentials; ``None`` leaves those.
        secrets: What else must not be seen in a recording.
        most_bytes: The largest exchange that is written down; larger ones are passed on all the same.
        connect_timeout: Seconds to wait for a connection.
        say: Hears one line about each exchange.
    """

    def __init__(
        self,
        out: Path,
        upstream_url: str,
        transport: httpx.AsyncBaseTransport,
        timer: Callable[[], float],
        *,
        account_id: str | None = None,
        token: str | None = None,
        secrets: Iterable[str] = (),
        most_bytes: int = MOST_BYTES,
        connect_timeout: float = 10.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._out = out
        self._upstream_url = upstream_url
        self._transport = transport
        self._timer = timer
        self._account_id = account_id
        self._token = token
        self._redactor = Redactor([*secrets, *(text for text in (account_id, token) if text)])
        self._learned: deque[str] = deque(maxlen=_MOST_LEARNED)
        self._most_bytes = most_bytes
        self._extensions = {"timeout": {"connect": connect_timeout, "pool": connect_timeout}}
        self._say = say
        self._writing: set[asyncio.Task[None]] = set()
        self._number = max((int(found[0]) for one in out.iterdir() if (found := re.match(r"\d+", one.name))), default=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and its answer back."""
        found = _PATH.fullmatch(_raw_path(scope))
        if found is None or {".", ".."} & set(unquote(found["path"]).split("/")):
            await _refuse(send, 404, 7000, "The recorder passes on /client/v4/accounts/{account}/ai/ and nothing else.")
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if self._token is not None and any(name == "origin" for name, _ in headers):
            # Otherwise any page that a browser here shows could spend the account.
            await _refuse(send, 403, 10000, "The recorder takes no calls from web pages.")
            return
        try:
            body = await _whole_body(receive)
        except _ClientLeft:
            return
        if body is None:
            await _refuse(send, 413, 3006, "The recorder passes on no request as large as this.")
            return
        self._number += 1
        exchange = Exchange(self._number, scope["method"], found["path"], scope["query_string"].decode("latin-1"), body)
        self._learn([unquote(found["account"])])
        self._learn(_secrets_in(headers))
        request = self._request(exchange, found["account"], headers)
        await self._relay(exchange, request, receive, send)

    async def aclose(self) -> None:
        """Let what is being written be finished."""
        await asyncio.gather(*self._writing)

    def _learn(self, secrets: Iterable[str]) -> None:
        self._learned.extend(one for one in _worth_learning(secrets) if one not in self._learned)

    def _request(self, exchange: Exchange, account: str, headers: list[tuple[str, str]]) -> httpx.Request:
        passed = [(name, value) for name, value in headers if name not in _CONNECTION and name != "accept-encoding"]
        if self._token is not None:
            passed = [(name, value) for name, value in passed if name not in _CREDENTIALS]
            passed.append(("authorization", f"Bearer {self._token}"))
        # What is compressed cannot be searched for secrets.
        passed.append(("accept-encoding", "identity"))
        url = f"{self._upstream_url}/accounts/{self._account_id or account}{exchange.path}"
        return httpx.Request(
            exchange.method,
            f"{url}?{exchange.query}" if exchange.query else url,
            headers=passed,
            content=exchange.body,
            extensions=self._extensions,
        )

    async def _relay(self, exchange: Exchange, request: httpx.Request, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_until_gone(receive))
        opening: asyncio.Future[httpx.Response] = asyncio.ensure_future(self._transport.handle_async_request(request))
        began = self._timer()
        try:
            await asyncio.wait((gone, opening), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                self._tell(exchange, "the client left before there was an answer")
                return
            try:
                response = opening.result()
            except httpx.TransportError as error:
                self._tell(exchange, f"the upstream did not answer ({type(error).__name__})")
                await _refuse(send, 502, 7009, "The recorder got no answer from the upstream.")
                return
            exchange.started = self._timer() - began
            await self._pass_back(exchange, response, began, gone, send)
        finally:
            for future in (gone, opening):
                future.cancel()
            with contextlib.suppress(asyncio.CancelledError, httpx.TransportError):
                await asyncio.gather(gone, opening)

    async def _pass_back(
        self, exchange: Exchange, response: httpx.Response, began: float, gone: asyncio.Future[None], send: Send
    ) -> None:
        exchange.status = response.status_code
        exchange.headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
        # The date is our own server's.
        passed = [pair for pair in response.headers.raw if _is_passed_back(pair[0].decode("latin-1").lower())]
        await send({"type": "http.response.start", "status": exchange.status, "headers": passed})
        room = self._most_bytes - len(exchange.body)
        try:
            async for piece in _until(_blocks(response), gone):
                room -= len(piece)
                if room >= 0:
                    exchange.pieces.append((self._timer() - began, piece))
                else:
                    exchange.pieces.clear()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except _ClientLeft:
            exchange.end, exchange.left = "cut", True
        except httpx.TransportError as error:
            exchange.end = _end_of(error)
        finally:
            assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells the type checker
            await response.stream.aclose()
        writing = asyncio.create_task(self._keep(exchange, whole=room >= 0))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        # Of an answer that broke off the client is told by our breaking off, too: the server then ends the connection.
        if exchange.end == "whole":
            await send({"type": "http.response.body", "body": b""})

    async def _keep(self, exchange: Exchange, *, whole: bool) -> None:
        if not whole:
            self._tell(exchange, f"larger than {self._most_bytes} bytes")
            return
        if exchange.encoding:
            self._tell(exchange, "the answer is compressed, so it cannot be searched for secrets")
            return
        # Rays are new in every answer: they are of no use for the next.
        redactor = self._redactor.knowing([*self._learned, *_worth_learning(_secrets_in(exchange.headers))])
        try:
            # In a thread, because other answers are passing through meanwhile.
            name = await asyncio.to_thread(write, self._out, exchange, redactor)
        except OSError as error:
            self._tell(exchange, f"it cannot be written: {error.strerror or error}")
            return
        ending = "" if exchange.end == "whole" else ", the client left" if exchange.left else f", {exchange.end}"
        self._say(f"{name}: {exchange.status}, {sum(len(piece) for _, piece in exchange.pieces)} bytes{ending}")

    def _tell(self, exchange: Exchange, why: str) -> None:
        self._say(f"{exchange.number:05}: not recorded: {why}")


def create_recorder(recorder: Recorder, transport: httpx.AsyncBaseTransport) -> Starlette:
    """Make the application around a recorder: at its end everything is written, and the transport closed.

    Args:
        recorder: What serves the requests.
        transport: What it passes them on with.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await recorder.aclose()
        await transport.aclose()

    app = Starlette(routes=[Route("/{path:path}", recorder)], lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


def _is_passed_back(name: str) -> bool:
    return name == "content-length" or (name not in _CONNECTION and name != "date")


def _secrets_in(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The values that some headers must have been given in confidence, and what they consist of."""
    for name, value in headers:
        if name in _RAYS:
            yield from (value, value.partition("-")[0])
        elif _ADDRESS.search(name):
            yield from re.findall(r"[0-9A-Fa-f.:]+", value)
        elif "cookie" in name:
            pairs = value.split(";")
            # Those after the first of an answer's are not the cookie but say what is to become of it.
            yield from (pair.partition("=")[2].strip() for pair in (pairs[:1] if name == "set-cookie" else pairs))
        elif names_a_secret(name) and not name.startswith(NUMBERS):
            yield from (value, value.partition(" ")[2].strip())


def _worth_learning(secrets: Iterable[str]) -> Iterator[str]:
    return (secret for secret in secrets if len(secret) >= _LEAST_LEARNED)


async def _whole_body(receive: Receive) -> bytes | None:
    """Read a request's body; nothing when it is too large.

    Raises:
        _ClientLeft: It will never be whole.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > LARGEST_REQUEST:
            return None
        if not message.get("more_body"):
            return b"".join(pieces)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _blocks(response: httpx.Response) -> AsyncIterator[bytes]:
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells the type checker
    async for block in response.stream:
        yield block


async def _until(blocks: AsyncIterator[bytes], gone: asyncio.Future[None]) -> AsyncIterator[bytes]:
    """Give blocks as they come.

    Raises:
        _ClientLeft: The client left before the last.
    """
    while True:
        block = asyncio.ensure_future(anext(blocks, None))
        try:
            await asyncio.wait((block, gone), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise _ClientLeft
            found = block.result()
        finally:
            if not block.done():
                block.cancel()
                with contextlib.suppress(asyncio.CancelledError, httpx.TransportError):
                    await block
        if found is None:
            return
        yield found


def _end_of(error: BaseException) -> End:
    """Whether a connection was reset or only closed."""
    return "reset" if isinstance(error.__cause__, ConnectionResetError) else "cut"


async def _refuse(send: Send, status: int, code: int, message: str) -> None:
    """Answer in Cloudflare's way, since that is what clients expect here."""
    failure = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
    body = encode(failure)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""What requests are sent to: a proxy in this process with the emulator behind it, or one that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import httpx

from app.emulator.server import create_emulator
from app.main import create_app
from app.settings import load

ACCOUNT: Final = "0123456789abcdef0123456789abcdef"
TOKEN: Final = "token-of-the-emulator-0123456789abcdefgh"
KEY: Final = "sk-fuzz-0123456789abcdef"
ADMIN_KEY: Final = "admin-fuzz-0123456789abcdef"
SECRETS: Final = (TOKEN.encode(), ACCOUNT.encode(), ADMIN_KEY.encode())


@dataclass(slots=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: Headers, names in lower case; of several with one name the last.
        body: The whole body.
        complete: It was not broken off.
        logged: What the server wrote to its log as an error meanwhile, where it can be seen.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool = True
    logged: list[str] = field(default_factory=list)


class Target(Protocol):
    """Something that answers."""

    secrets: tuple[bytes, ...]
    """What no answer may hold."""

    async def send(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> Answer:
        """Send one request."""


class _Defects(logging.Handler):
    """Keeps what is logged as an error, or with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.lines.append(self.format(record))

    def take(self) -> list[str]:
        taken, self.lines = self.lines, []
        return taken


class Inside:
    """A proxy in this process, called as a server would call it, without a socket."""

    secrets = SECRETS

    def __init__(self, app: Any, defects: _Defects) -> None:
        self._app = app
        self._defects = defects

    async def send(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> Answer:
        """Send one request."""
        raw, _, query = path.partition("?")
        pairs = {"host": "x", **headers, "content-length": str(len(content))}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": httpx.URL(f"http://x{raw if raw.startswith('/') else '/'}").path,
            "raw_path": raw.encode("latin-1", "replace"),
            "query_string": query.encode("latin-1", "replace"),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        answer = Answer(0, {}, b"", complete=False)
        pieces: list[bytes] = []
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def take(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
            else:
                pieces.append(message.get("body", b""))
                answer.complete = not message.get("more_body", False)

        try:
            await self._app(scope, receive, take)
        except Exception as error:  # noqa: BLE001 - the server would log it
            answer.logged.append(f"{type(error).__name__}: {error}")
        answer.body = b"".join(pieces)
        answer.logged += self._defects.take()
        return answer


class Outside:
    """A proxy that runs elsewhere."""

    secrets: tuple[bytes, ...] = ()

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> Answer:
        """Send one request."""
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        got = await self._client.request(method, path, content=content, headers=pairs)
        return Answer(got.status_code, {name.lower(): value for name, value in got.headers.items()}, got.content)


@contextlib.asynccontextmanager
async def inside() -> AsyncIterator[Inside]:
    """A proxy and an emulator for as long as they are needed; the exchanges' log goes nowhere."""
    defects = _Defects()
    root = logging.getLogger()
    emulator = create_emulator(account_id=ACCOUNT, token=TOKEN)
    with tempfile.TemporaryDirectory(prefix="flarelay-fuzz-") as home:
        settings = load(
            {
                "cloudflare_account_id": ACCOUNT,
                "cloudflare_api_token": TOKEN,
                "upstream_url": "http://emulator/client/v4",
                "data_dir": home,
                "api_keys": KEY,
                "admin_key": ADMIN_KEY,
                "aliases": {"small": "gpt-oss-20b"},
                "account_guard": "off",
                "catalogue_refresh_seconds": 0,
                "fetch_images": False,
                "log_format": "json",
            },
            {},
        )
        with contextlib.redirect_stdout(_Nowhere()):
            app = create_app(settings, httpx.ASGITransport(emulator))
        root.addHandler(defects)
        try:
            async with app.router.lifespan_context(app):
                yield Inside(app, defects)
        finally:
            root.removeHandler(defects)


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


@contextlib.asynccontextmanager
async def outside(url: str) -> AsyncIterator[Outside]:
    """A proxy at an address."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        yield Outside(client)

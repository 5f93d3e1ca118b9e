"""Who asks: the gate in front of every route, closed unless the path is known to be public or the key is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import error_response
from app.core.caller import Caller
from app.core.errors import ApiError, Forbidden, Unauthorized
from app.core.surface import NewId
from app.keys.static import StaticKeys

PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})
"""What answers without a key. Everything else, unknown paths included, wants one."""

API_VERSION = "2020-10-01"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Gate:
    """Finds the caller of every request, and gives every answer its request id.

    The decision is made on ``scope["path"]``, which the server has decoded, never on a URL put together again from
    the Host header.

    Args:
        app: What is behind the gate.
        keys: The keys that open it.
        new_id: Makes request ids.
        timer: Monotonic seconds.
    """

    def __init__(self, app: ASGIApp, keys: StaticKeys, new_id: NewId, timer: Callable[[], float]) -> None:
        self._app = app
        self._keys = keys
        self._new_id = new_id
        self._timer = timer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began = self._timer()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else self._new_id("req_")

        async def send_marked(message: Message) -> None:
            if message["type"] in _STARTS:
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", b"%d" % ((self._timer() - began) * 1000)),
                    (b"openai-version", API_VERSION.encode()),
                ]
            await send(message)

        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["headers"] = headers
        if scope["path"] not in PUBLIC_PATHS:
            try:
                state["caller"] = self._find(headers)
            except ApiError as error:
                await error_response(error)(scope, receive, send_marked)
                return
        await self._app(scope, receive, send_marked)

    def _find(self, headers: dict[bytes, bytes]) -> Caller:
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else ""
        if self._keys.accepts_anyone:
            _refuse_foreign_pages(headers)
        elif not secret:
            raise Unauthorized(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            )
        caller = self._keys.find(secret)
        if caller is None:
            raise Unauthorized(f"Incorrect API key provided: {_masked(secret)}.")
        return caller


def _refuse_foreign_pages(headers: dict[bytes, bytes]) -> None:
    """Where no key is asked for, any web page that a browser here shows could spend the account: refuse its calls."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and urlsplit(origin).hostname not in _LOOPBACK_HOSTS:
        raise Forbidden(
            "Without API keys, calls from web pages of other hosts are refused. Set FLARELAY_API_KEYS to allow them."
        )


def _masked(secret: str) -> str:
    return f"{secret[:3]}***{secret[-2:]}" if len(secret) > 12 else "***"

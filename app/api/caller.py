"""Who asks: the gate in front of every route, closed unless the path is known to be public or the key is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import error_response
from app.api.metrics import PATH as METRICS
from app.api.metrics import Visit
from app.core.caller import Caller
from app.core.errors import ApiError, Forbidden, Unauthorized
from app.core.surface import NewId
from app.keys.ring import KeyRing
from app.telemetry.metrics import Metrics

PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})
"""What answers without a key. Everything else, unknown paths included, wants one."""

PICTURES: Final = "/v1/images/temporary/"
"""Below it are pictures under names of 128 random bits: who knows one needs no key, so that it can be shown."""

ADMIN = "/admin"
"""What is for the admin key alone: this path and all below it."""

ADMINISTRATOR: Final = Caller("admin", "admin")

SCRAPER: Final = Caller("metrics", "metrics")
"""Whoever has the key of the metrics."""

API_VERSION = "2020-10-01"

REQUEST_ID_PREFIX: Final = "req_"

_NO_ROUTES: Final[Mapping[str, ASGIApp]] = MappingProxyType({})

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_PICTURE_NAME = re.compile(r"[0-9a-f]{32}")
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def request_id_of(headers: Mapping[bytes, bytes], new_id: NewId) -> str:
    """What a request is called in its answer and in the log: what the client calls it, if that is a decent name.

    Args:
        headers: The request's, names in lower case.
        new_id: Makes ids.
    """
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else new_id(REQUEST_ID_PREFIX)


class Gate:
    """Finds the caller of every request, and gives every answer its request id.

    The decision is made on ``scope["path"]``, which the server has decoded, never on a URL put together again from
    the Host header.

    Args:
        app: What is behind the gate.
        keys: The keys that open it.
        new_id: Makes request ids.
        timer: Monotonic seconds.
        admin_key: The key that opens the administration and the metrics, and nothing else; ``None`` when nothing does.
        metrics: Where requests are counted; ``None`` for nowhere.
        metrics_key: The key that opens the metrics, and nothing else; ``None`` when nothing does.
        metrics_public: The metrics need no key.
        direct: What serves a POST of exactly such a path, past the framework's routing, which takes longer than the
            gate does. They answer every failure themselves.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing,
        new_id: NewId,
        timer: Callable[[], float],
        admin_key: str | None = None,
        metrics: Metrics | None = None,
        metrics_key: str | None = None,
        *,
        metrics_public: bool = False,
        direct: Mapping[str, ASGIApp] = _NO_ROUTES,
    ) -> None:
        self._app = app
        self._direct = direct
        self._keys = keys
        self._admin = _digest(admin_key)
        self._metrics = metrics
        self._scraper = _digest(metrics_key)
        self._public = PUBLIC_PATHS | {METRICS} if metrics_public else PUBLIC_PATHS
        self._new_id = new_id
        self._timer = timer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if self._metrics is None:
            await self._serve(scope, receive, send, None)
            return
        visit = Visit(self._metrics, scope["type"])
        try:
            await self._serve(scope, receive, send, visit)
        finally:
            visit.end()

    async def _serve(self, scope: Scope, receive: Receive, send: Send, visit: Visit | None) -> None:
        began = self._timer()
        headers = dict(scope["headers"])
        request_id = request_id_of(headers, self._new_id)

        async def send_marked(message: Message) -> None:
            if message["type"] in _STARTS:
                if visit is not None:
                    visit.answer(message)
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
        if scope["path"] not in self._public and not _is_picture(scope["path"]):
            try:
                state["caller"] = self._find(headers, scope["path"])
                if scope["type"] == "websocket":
                    # A connection may outlive its key: each of its requests asks again.
                    state["caller_now"] = partial(self._find, headers, scope["path"])
            except ApiError as error:
                await error_response(error)(scope, receive, send_marked)
                return
        app = self._app
        if scope.get("method") == "POST":
            app = self._direct.get(scope["path"], app)
        await app(scope, receive, send_marked)

    def _find(self, headers: dict[bytes, bytes], path: str) -> Caller:
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else ""
        if _is(secret, self._admin):
            if not (is_for_admin(path) or path == METRICS):
                raise Forbidden("The admin key opens /admin and /metrics only; use an API key here.")
            return ADMINISTRATOR
        if path == METRICS and _is(secret, self._scraper):
            return SCRAPER
        if self._keys.accepts_anyone:
            _refuse_foreign_pages(headers)
        elif not secret:
            raise Unauthorized(
                "You didn't provide an API key. You need to provide your API key in an Authorization header using "
                "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            )
        caller = self._keys.find(secret)
        if caller is None and self._keys.refusal(secret) == "expired":
            raise Unauthorized(f"The API key provided has expired: {_masked(secret)}.")
        if caller is None:
            raise Unauthorized(f"Incorrect API key provided: {_masked(secret)}.")
        if is_for_admin(path) and self._admin is not None:
            raise Forbidden("This key does not open /admin; only the admin key does.")
        if path == METRICS and not (self._keys.accepts_anyone and self._scraper is None):
            message = (
                "/metrics is opened by the key in FLARELAY_METRICS_KEY and by the admin key; "
                "FLARELAY_METRICS_PUBLIC=true opens it to everybody."
            )
            raise Forbidden(message) if secret else Unauthorized(message)
        return caller


def _digest(secret: str | None) -> bytes | None:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest() if secret else None


def _is(secret: str, digest: bytes | None) -> bool:
    return digest is not None and compare_digest(digest, _digest(secret) or b"")


def _is_picture(path: str) -> bool:
    """The path is one of a picture that is served for a while."""
    return path.startswith(PICTURES) and _PICTURE_NAME.fullmatch(path, len(PICTURES)) is not None


def caller_id(request: Request) -> str:
    """Who asks, by the id under which everything of a caller's is kept."""
    caller: Caller = request.state.caller
    return caller.id


def is_for_admin(path: str) -> bool:
    """The path is one of the administration."""
    return path == ADMIN or path.startswith(f"{ADMIN}/")


def _refuse_foreign_pages(headers: dict[bytes, bytes]) -> None:
    """Where no key is asked for, any web page that a browser here shows could spend the account: refuse its calls."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and urlsplit(origin).hostname not in _LOOPBACK_HOSTS:
        raise Forbidden(
            "Without API keys, calls from web pages of other hosts are refused. Set FLARELAY_API_KEYS to allow them."
        )


def _masked(secret: str) -> str:
    return f"{secret[:3]}***{secret[-2:]}" if len(secret) > 12 else "***"

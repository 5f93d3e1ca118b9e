"""Writing down every request, and stamping every answer."""

from dataclasses import dataclass

import orjson
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.emulator.capacity import Place
from app.emulator.connection import Connection
from app.emulator.jsonvalue import Json
from app.emulator.state import EmulatorState, Received

CONTROL_PREFIX = "/_emulator/"
_LARGEST_KEPT = 1024 * 1024
_HIDDEN = {"authorization", "x-auth-key", "cf-aig-authorization"}


@dataclass(slots=True)
class Incoming:
    """A request with its body read.

    Attributes:
        record: Its entry in the log.
        body: Raw bytes.
        place: Its place at the model, once it has one.
    """

    record: Received
    body: bytes
    place: Place | None = None

    def parsed(self) -> Json:
        """Return the body as JSON; nothing where it is not."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Recorder:
    """Middleware that logs requests and adds `cf-ray` and `cf-ai-req-id` to answers.

    Args:
        app: The application inside.
        state: The emulator's memory.
    """

    def __init__(self, app: ASGIApp, state: EmulatorState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        record = _noted(scope, self._state.next_serial())
        self._state.received.append(record)
        body = await _whole_body(receive, record)
        incoming = scope["emulator.incoming"] = Incoming(record, body)
        connection: Connection = scope["emulator.connection"]
        ray = self._state.ray(record.number)
        gateway = "cf-aig-gateway-id" in record.headers or scope["path"].startswith("/v1/")

        async def listen() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not record.completed and not connection.broken:
                record.closed_early = True
            return message

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = [*message.get("headers", [])]
                known = {name for name, _ in headers}
                headers += [stamp for stamp in _stamps(ray, gateway=gateway) if stamp[0] not in known]
                message = {**message, "headers": headers}
            elif not message.get("more_body", False):
                record.completed = not record.closed_early
            await send(message)

        self._state.in_flight += 1
        try:
            await self._app(scope, listen, stamped)
        finally:
            self._state.in_flight -= 1
            if incoming.place is not None:
                incoming.place.leave()


def _stamps(ray: str, *, gateway: bool) -> list[tuple[bytes, bytes]]:
    stamps = [(b"cf-ray", ray.encode()), (b"server", b"cloudflare"), (b"cf-ai-req-id", ray[:16].encode())]
    if gateway:
        stamps += [(b"cf-aig-log-id", ray[:12].encode()), (b"cf-aig-cache-status", b"MISS")]
    return stamps


def _noted(scope: Scope, serial: int) -> Received:
    headers = {key: "***" if key in _HIDDEN else value for key, value in Headers(scope=scope).items()}
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    return Received(
        number=serial,
        method=scope["method"],
        path=raw_path.split(b"?")[0].decode("latin-1"),
        query=dict(QueryParams(scope["query_string"].decode("latin-1"))),
        headers=headers,
    )


async def _whole_body(receive: Receive, record: Received) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            record.closed_early = True
            break
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"".join(pieces)
    record.size = len(body)
    try:
        record.body = orjson.loads(body) if 0 < len(body) <= _LARGEST_KEPT else None
    except orjson.JSONDecodeError:
        record.body = None
    return body

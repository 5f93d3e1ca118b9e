"""``GET /v1/responses`` as a WebSocket: one response after the other over one connection, which remembers them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from app.api.drain import Drain, shutting_down
from app.api.errors import error_headers, error_response
from app.core.caller import Caller
from app.core.errors import ApiError, BadRequest, Internal, RateLimited, TooLarge
from app.exchange import Exchange, Wiring
from app.exchange.local import LocalMemory
from app.surfaces.responses.connected import (
    CREATE,
    STEER,
    Turn,
    added,
    error_message,
    messages,
    nothing,
    steer_refused,
)
from app.surfaces.responses.surface import ResponsesSurface
from app.wire.codec import CodecError, decode

LIFETIME_SECONDS: Final = 3600.0
"""After an hour a connection takes no further request, as at OpenAI; what is under way is finished."""

MAX_WAITING: Final = 32
"""How many requests may wait on one connection, beside the one that is being answered."""

GOING_AWAY: Final = 1012
"""The server's own code for its end: what is under way is finished, and nothing else is begun."""

_log = logging.getLogger(__name__)


class ClientLeft(Exception):
    """The client has gone."""


class Sockets:
    """Serves the connections.

    Args:
        wiring: What every exchange needs.
        surface: How requests are read and answers written.
        enabled: Connections are taken; otherwise clients are told at once to use plain requests.
        max_bytes: The largest message; also the most that waits, and the most that is remembered.
        drain: Tells of the server's end.
        lifetime: Seconds until a connection ends.
    """

    def __init__(
        self,
        wiring: Wiring,
        surface: ResponsesSurface,
        *,
        enabled: bool,
        max_bytes: int,
        drain: Drain,
        lifetime: float = LIFETIME_SECONDS,
    ) -> None:
        self._drain = drain
        self._wiring = wiring
        self._surface = surface
        self._enabled = enabled
        self._max_bytes = max_bytes
        self._lifetime = lifetime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, to its end."""
        if not self._enabled:
            refusal = ApiError(
                "WebSockets are switched off on this server; send the request with POST.",
                status=426,
                type_="invalid_request_error",
                code="websockets_disabled",
            )
            await error_response(refusal, {"upgrade": "HTTP/1.1"})(scope, receive, send)
            return
        connection = _Connection(self._wiring, self._surface, self._max_bytes, scope, receive, send)
        self._drain.enter(connection)
        try:
            await connection.serve(self._lifetime)
        finally:
            self._drain.leave(connection)


class _Connection:
    """One connection. A task of its own listens, so that a client that leaves ends what is being done for it."""

    def __init__(
        self, wiring: Wiring, surface: ResponsesSurface, max_bytes: int, scope: Scope, receive: Receive, send: Send
    ) -> None:
        state = scope["state"]
        self._caller: Caller = state["caller"]
        self._caller_now: Callable[[], Caller] = state["caller_now"]
        self._conversation = state["headers"].get(b"x-session-affinity", b"").decode("latin-1") or None
        self._surface = surface
        self._max_bytes = max_bytes
        self._memory = LocalMemory(wiring.memory, max_bytes)
        self._wiring = replace(wiring, memory=self._memory)
        self._receive = receive
        self._raw_send = send
        # None says that nothing more will come.
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._left = False
        self._task = asyncio.current_task()
        self._exchange: Exchange | None = None
        # What of a response is written and not yet sent.
        self._unsent: deque[str] = deque()
        self._interrupted = False

    def interrupt(self) -> None:
        """End the response that is being made, and then the connection, because the server ends."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)
        # One that is ending anyway is left to do so.
        if self._exchange is not None and not self._exchange.ending and not self._left:
            assert self._task is not None  # noqa: S101 - a connection is made by the task that serves it
            self._interrupted = True
            self._task.cancel()

    async def serve(self, lifetime: float) -> None:
        """Answer requests until the client leaves, the time is over or the server ends."""
        await self._receive()
        await self._raw_send({"type": "websocket.accept"})
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        listener = asyncio.create_task(self._listen(task))
        try:
            await self._work(asyncio.get_running_loop().time() + lifetime)
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            # Only our own cancellation ends here; one from outside goes on.
            if not self._left or task.uncancel():
                raise
        finally:
            listener.cancel()

    async def _listen(self, served: asyncio.Task[Any]) -> None:
        try:
            while True:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    if message.get("code") == GOING_AWAY:
                        self._waiting.put_nowait(None)
                        return
                    break
                text = message.get("text")
                await self._take(message["bytes"].decode("utf-8", "replace") if text is None else text)
        except ClientLeft:
            pass
        self._left = True
        served.cancel()

    async def _take(self, text: str) -> None:
        """Put a message into the queue, or say at once that there is no room for it."""
        if STEER in text and await self._steer(text):
            return
        if len(text) > self._max_bytes:
            await self._error(TooLarge(f"Maximum message size limit ({self._max_bytes} bytes) exceeded."))
        elif self._waiting.qsize() >= MAX_WAITING or self._waiting_bytes + len(text) > self._max_bytes:
            await self._error(RateLimited("Too many requests wait on this connection; wait for an answer first."))
        else:
            self._waiting_bytes += len(text)
            self._waiting.put_nowait(text)

    async def _steer(self, text: str) -> bool:
        """Answer a steering event, which is about the response that is being made; false when it is another event."""
        try:
            event = _read_event(text)
            if event["type"] != STEER:
                return False
            await self._send_text(steer_refused(event))
        except ApiError as error:
            await self._error(error)
        return True

    async def _work(self, deadline: float) -> None:
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    text = await self._waiting.get()
            except TimeoutError:
                text = ""
            if text is None:
                await self._send({"type": "websocket.close", "code": GOING_AWAY})
                return
            if asyncio.get_running_loop().time() >= deadline:
                message = "The connection has reached its limit of 60 minutes. Open a new one to go on."
                await self._error(BadRequest(message, code="websocket_connection_limit_reached"))
                await self._send({"type": "websocket.close", "code": 1000})
                return
            self._waiting_bytes -= len(text)
            await self._answer(text)

    async def _answer(self, text: str) -> None:
        more: dict[str, Any] = {}
        try:
            event = _read_event(text)
            if isinstance(event.get("stream_id"), str):
                more["stream_id"] = event["stream_id"]
            if event["type"] != CREATE:
                message = f"Unknown event type '{str(event['type'])[:64]}'. Supported is '{CREATE}'."
                raise BadRequest(message, param="type", code="invalid_value")
            await self._create(text.encode("utf-8", "replace"), event, more)
        except ApiError as error:
            await self._error(error, more)

    async def _create(self, raw: bytes, event: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        self._caller = self._caller_now()
        turn = Turn(self._surface)
        request_id = self._wiring.new_id("req_")
        exchange = Exchange(self._wiring, turn, self._caller, request_id, self._conversation, comments=False)
        done = False
        self._exchange = exchange
        try:
            try:
                await self._run(exchange, turn, raw, more)
            except asyncio.CancelledError:
                if not self._resumes():
                    raise
                await self._break_off(exchange, more)
            done = turn.final is not None and turn.final["status"] != "failed"
        except ApiError as error:
            exchange.fail(error)
            raise
        except (ClientLeft, asyncio.CancelledError):
            exchange.leave()
            raise
        except Exception as defect:
            _log.exception("a defect of this proxy")
            internal = Internal()
            exchange.fail(internal)
            raise internal from defect
        finally:
            self._exchange = None
            if not done:
                self._memory.forget(str(event.get("previous_response_id")))
            await exchange.settle()

    async def _run(self, exchange: Exchange, turn: Turn, raw: bytes, more: Mapping[str, Any]) -> None:
        request = await exchange.read(raw)
        if turn.warm:
            block = nothing(turn.writer(request, request.model, self._wiring.new_id, self._wiring.clock()))
            if request.keep and turn.final is not None:
                await self._memory.keep(self._caller, request, turn.past, turn.final)
            exchange.skip()
        else:
            await exchange.send()
            block = await exchange.first()
        # What is a header elsewhere has its only place in the first event.
        first, _, block = block.partition(b"\n\n")
        tail = added(more)
        self._unsent.extend(messages(first, added({**more, "headers": exchange.headers})))
        while True:
            self._unsent.extend(messages(block, tail))
            await self._send_unsent()
            if turn.warm or not (block := await exchange.more()):
                break
        if turn.final is not None:
            self._memory.remember(request, turn.past, turn.final, len(raw))

    async def _break_off(self, exchange: Exchange, more: Mapping[str, Any]) -> None:
        """End a response whose task was stopped.

        Raises:
            ApiError: It had not begun.
        """
        if not exchange.begun:
            raise shutting_down()
        self._unsent.extend(messages(await exchange.break_off(shutting_down()), added(more)))
        await self._send_unsent()

    def _resumes(self) -> bool:
        assert self._task is not None  # noqa: S101 - a connection is made by the task that serves it
        return self._interrupted and self._task.uncancel() == 0

    async def _send_unsent(self) -> None:
        unsent = self._unsent
        while unsent:
            await self._send_text(unsent[0])
            unsent.popleft()

    async def _error(self, error: ApiError, more: Mapping[str, Any] | None = None) -> None:
        await self._send_text(error_message(error, {**error_headers(error)}, more or {}))

    async def _send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._raw_send(message)
        except OSError:
            # The server's way of saying that nobody is there any more.
            raise ClientLeft from None


def _read_event(text: str) -> Mapping[str, Any]:
    try:
        event = decode(text)
    except CodecError:
        raise BadRequest("We could not parse the JSON of your message.") from None
    if not isinstance(event, dict):
        raise BadRequest("A message must be a JSON object.")
    if not isinstance(event.get("type"), str):
        raise BadRequest("Missing required parameter: 'type'.", param="type", code="missing_required_parameter")
    return event


def routes(path: str, sockets: Sockets) -> list[WebSocketRoute]:
    """The routes, with and without the version in front."""
    return [WebSocketRoute(prefix + path, sockets) for prefix in ("/v1", "")]

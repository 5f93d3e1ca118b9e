"""The server process: its socket, its signals, its log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from app.settings import Settings
from app.telemetry.log import JsonFormatter, log_format

KEEP_ALIVE_SECONDS = 75
"""How long an idle client connection is kept: longer than the pools of the common clients keep theirs."""

BACKLOG = 2048

DEFAULT_MESSAGE_BYTES = 16 * 1024 * 1024
"""The largest message over a WebSocket, where nothing else is said."""


class PortTakenError(Exception):
    """The address cannot be listened on; the message says why."""


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 takes any free one.

    Raises:
        PortTakenError: It cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False)
    except OSError as error:
        raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    # Connections inherit it. Not every event loop sets it, and without it a token may wait 40 ms for the one before.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def run(
    app: ASGIApp,
    listener: socket.socket,
    *,
    drain_seconds: float,
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    prepare: Callable[[], Awaitable[None]] | None = None,
    beside: ASGIApp | None = None,
    beside_listener: socket.socket | None = None,
) -> None:
    """Serve until a signal ends it.

    Args:
        app: What to serve.
        listener: Where.
        drain_seconds: How long open requests may go on after the signal.
        max_message_bytes: The largest message over a WebSocket; a larger one ends its connection.
        prepare: Opens what the application needs before it can serve; its errors end the start.
        beside: Another application of the same process, such as the emulator; it ends after ``app`` has.
        beside_listener: Where that one listens.
    """
    server = _Server(_uvicorn_config(app, drain_seconds, max_message_bytes))

    async def serve() -> None:
        # Before the server: what cannot be opened is said in one sentence, not in a trace of the start.
        if prepare is not None:
            await prepare()
        if beside is None or beside_listener is None:
            await server.serve(sockets=[listener])
            return
        other = _Companion(_uvicorn_config(beside, 1))
        task = asyncio.create_task(other.serve(sockets=[beside_listener]))
        try:
            await server.serve(sockets=[listener])
        finally:
            other.should_exit = True
            await task

    # What lives from the start lives to the end: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())


class _Server(uvicorn.Server):
    """A server for which a signal is a request to end and not a death: the process ends with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Companion(uvicorn.Server):
    """A server that leaves the signals to the one it stands beside."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def websocket_protocol(**arguments: Any) -> asyncio.Protocol:  # noqa: ANN401 - the server's business
    """Make the protocol of one WebSocket connection. At the server's end it lets the application finish."""
    # Here and not above: few clients upgrade, and the others need not wait for it.
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol  # noqa: PLC0415

    class Protocol(WebSocketsSansIOProtocol):
        async def send(self, message: Any) -> None:  # noqa: ANN401 - the server's type
            await super().send(message)
            if message["type"] == "websocket.http.response.body":
                # Refusing the upgrade is an answer too; without this each one is logged as a defect.
                self.handshake_complete = True

        def shutdown(self) -> None:
            if self.handshake_complete and not self.close_sent:
                self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012, "reason": ""})
            else:
                super().shutdown()

    return Protocol(**arguments)


def _uvicorn_config(
    app: ASGIApp, drain_seconds: float, max_message_bytes: int = DEFAULT_MESSAGE_BYTES
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        # uvicorn takes anything that makes a protocol; this one loads the library with the first upgrade.
        ws=websocket_protocol,  # type: ignore[arg-type]
        ws_max_size=max_message_bytes,
        # Most connections are on one machine; compressing every token costs more than it saves.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def configure_logging(settings: Settings) -> None:
    """Send every log line that is not an exchange's to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format(settings.log_format, sys.stdout) == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # Both tell of every start in many lines; the command line says it in one.
    for chatty in ("uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)

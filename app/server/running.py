"""Serving until a signal ends it, in good order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import FrameType
from typing import Final, NoReturn

import uvicorn
from starlette.types import ASGIApp

from app.api.drain import Drain
from app.api.ids import new_id
from app.server.bounds import Bounds
from app.server.door import Door
from app.server.http_protocol import Connection, http_protocol
from app.server.listening import BACKLOG, allow_many_files
from app.server.parent import Parent
from app.server.websocket import DEFAULT_MESSAGE_BYTES, websocket_protocol

LAST_WORDS_SECONDS: Final = 5.0
"""How long those that are interrupted at the end of the drain have to tell their clients and to account for it."""

CANCEL_SECONDS: Final = 1.0
"""How long tasks may take to end when they are cancelled."""

CLOSE_SECONDS: Final = 10.0
"""How long the application may take to close what it has open."""

FORCED_SECONDS: Final = 0.3
"""Likewise for both, when a second signal stops the server at once."""

SETTLE_SECONDS: Final = 0.02
"""How long requests that have reached this machine get to reach this process, before idle connections are closed."""

TURNS_TO_READ: Final = 3
"""After so many turns of an event loop, everything that had come before them was read."""

ACCEPT_SECONDS: Final = 0.25
"""How long connections are taken that wait in line when the end begins, where more and more come."""

GARBAGE_THRESHOLDS: Final = (10_000, 10, 10)
"""Python's own would have a busy server with 2,000 connections stand still for 50 ms in every second."""

POLL_SECONDS: Final = 0.05
LOOK_TICKS: Final = 10
"""The server looks at its connections at every tenth of its ticks, which are a tenth of a second."""

_log = logging.getLogger(__name__)


def run(
    app: ASGIApp,
    listener: socket.socket,
    *,
    drain_seconds: float,
    drain_delay: float = 0.0,
    drain: Drain | None = None,
    bounds: Bounds | None = None,
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    prepare: Callable[[], Awaitable[None]] | None = None,
    beside: ASGIApp | None = None,
    beside_listener: socket.socket | None = None,
    parent: Parent | None = None,
    watch_refusals: Callable[[Callable[[], int]], None] | None = None,
) -> None:
    """Serve until a signal ends it; a second signal ends the process at once, with the status of that signal.

    Args:
        app: What to serve.
        listener: Where.
        drain_seconds: How long open requests may go on after the signal. Then they are interrupted.
        drain_delay: Seconds after the signal in which new connections are still taken, so that those who send clients
            here have time to notice that the server is not ready.
        drain: How the application hears of the end.
        bounds: What is taken from clients.
        max_message_bytes: The largest message over a WebSocket; a larger one ends its connection.
        prepare: Opens what the application needs before it can serve; its errors end the start.
        beside: Another application of the same process, such as the emulator; it ends after ``app`` has.
        beside_listener: Where that one listens.
        parent: The process that has started this one, if one of ours has.
        watch_refusals: Is told who knows how many requests were refused for lack of room.
    """
    files = allow_many_files()
    door = Door((bounds or Bounds()).within(files), new_id)
    if watch_refusals is not None:
        watch_refusals(lambda: door.refused)
    if door.bounds.connections < door.bounds.in_flight:
        _log.warning("%s open files are enough for %d connections of clients", files, door.bounds.connections)
    server = Server(
        _uvicorn_config(app, door, max_message_bytes),
        door,
        drain or Drain(),
        drain_seconds=drain_seconds,
        drain_delay=drain_delay,
        parent=parent,
    )

    async def serve() -> None:
        if parent is not None:
            parent.attach(server.end, server.stop)
        # Before the server: what cannot be opened is said in one sentence, not in a trace of the start.
        if prepare is not None:
            await prepare()
        # What lives from the start lives to the end: the collector need not look at it again. Nor for a first time: a
        # tenth of the start would go into finding that nothing of it is garbage.
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        gc.enable()
        if beside is None or beside_listener is None:
            await server.serve(sockets=[listener])
            return
        other_door = Door(Bounds().within(files), new_id)
        other = Server(_uvicorn_config(beside, other_door), other_door, Drain(), drain_seconds=1.0, hears_signals=False)
        task = asyncio.create_task(other.serve(sockets=[beside_listener]))
        try:
            await server.serve(sockets=[listener])
        finally:
            other.should_exit = True
            other.force_exit = server.force_exit
            await task

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())
        if server.status:
            # Threads that are stuck are not waited for.
            leave(server.status)


def leave(status: int) -> NoReturn:
    """End this process without waiting for anything."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


class Server(uvicorn.Server):
    """A server for which a signal is a request to end in good order.

    Args:
        config: uvicorn's.
        door: What its connections share.
        drain: How the application hears of the end.
        drain_seconds: As for ``run``.
        drain_delay: As for ``run``.
        hears_signals: Signals are for this server; otherwise it is ended by who has started it.
        parent: As for ``run``. Signals often go to the whole family; then only the parent says that the end is at once.

    Attributes:
        status: What the process is to end with; not 0 when the end was not in good order.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        door: Door,
        drain: Drain,
        *,
        drain_seconds: float,
        drain_delay: float = 0.0,
        hears_signals: bool = True,
        parent: Parent | None = None,
    ) -> None:
        super().__init__(config)
        self._door = door
        self._drain = drain
        self._drain_seconds = drain_seconds
        self._drain_delay = drain_delay
        self._hears_signals = hears_signals and (parent is None or parent.hears_signals)
        self._parent = parent
        self.status = 0

    def end(self) -> None:
        """End in good order."""
        self.should_exit = True

    def stop(self) -> None:
        """End at once."""
        self.should_exit = self.force_exit = True
        self.status = self.status or 128 + signal.SIGTERM

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Hear a signal."""
        del frame
        if self.should_exit and self._parent is None:
            self.force_exit = True
            self.status = 128 + sig
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear signals while serving. Unlike uvicorn's, they are not raised again: the process ends with status 0."""
        if not self._hears_signals:
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        if self._parent is not None:
            self._parent.say_ready()

    async def on_tick(self, counter: int) -> bool:
        """Do what is to be done now and then; true when it is time to end."""
        if counter % LOOK_TICKS == 0:
            self._look_at_connections()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, in good order unless told otherwise."""
        self._drain.begin(self._drain_delay + self._drain_seconds)
        self._door.last_requests = True
        self._door.take_put_off()
        for connection in self._http_connections():
            connection.finish_requests()
        await self._until(lambda: False, self._drain_delay)

        await self._take_waiting(sockets or ())
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        # What clients have sent before they could know is still answered.
        await asyncio.sleep(SETTLE_SECONDS)
        # Where this process stood still for so long, nothing was read in it.
        for _ in range(TURNS_TO_READ):
            await asyncio.sleep(0)
        for each in list(self.server_state.connections):
            each.shutdown()

        await self._until(self._is_quiet, self._drain_seconds)
        if not self._is_quiet() and not self.force_exit:
            _log.warning("%d requests are interrupted by the end of the server", len(self.server_state.tasks))
            self._door.refuse_waiting()
            for connection in self._http_connections():
                connection.give_up_arriving()
            self._drain.end()
            await self._until(self._is_quiet, LAST_WORDS_SECONDS)
        await self._cut_off()
        closing = asyncio.create_task(self.lifespan.shutdown())
        await self._until(closing.done, self._drain.seconds_left() + CLOSE_SECONDS)
        if self.force_exit:
            await asyncio.wait([closing], timeout=FORCED_SECONDS)
        elif not closing.done():
            _log.error("the application does not close what it has open")
            self.status = 1

    async def _take_waiting(self, listeners: Sequence[socket.socket]) -> None:
        """Take the connections that clients have already: with the listener closed, they would be reset."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ACCEPT_SECONDS
        with selectors.DefaultSelector() as selector:
            for listener in listeners:
                selector.register(listener, selectors.EVENT_READ)
            # A turn of the event loop takes one of them.
            while listeners and selector.select(0) and loop.time() < deadline and not self.force_exit:  # noqa: ASYNC110 - the kernel tells of it only when asked
                await asyncio.sleep(0)

    async def _cut_off(self) -> None:
        """End what could not be ended otherwise."""
        for each in list(self.server_state.connections):
            if isinstance(each, Connection):
                each.cut_off()
            else:
                each.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=FORCED_SECONDS if self.force_exit else CANCEL_SECONDS)

    def _is_quiet(self) -> bool:
        return not self.server_state.connections and not self.server_state.tasks

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, for so long; not at all when the end is at once."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        looked = loop.time()
        while not self.force_exit and not condition() and (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(POLL_SECONDS, left))
            if loop.time() - looked >= 1.0:
                looked = loop.time()
                self._look_at_connections()

    def _look_at_connections(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in self._http_connections():
            connection.look(now)

    def _http_connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]


def _uvicorn_config(app: ASGIApp, door: Door, max_message_bytes: int = DEFAULT_MESSAGE_BYTES) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # uvicorn takes anything that makes a protocol.
        http=http_protocol(door),  # type: ignore[arg-type]
        # This one loads its library with the first upgrade.
        ws=websocket_protocol,  # type: ignore[arg-type]
        ws_max_size=max_message_bytes,
        # Most connections are on one machine; compressing every token costs more than it saves.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        # Nothing here looks at where a request seems to come from.
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=door.bounds.keep_alive_seconds,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory

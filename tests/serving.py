"""Real servers for tests: an application on a free loopback port, served by uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn

from app.server import DEFAULT_MESSAGE_BYTES, websocket_protocol


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def serving(app: object, *, grace: int = 1, max_message_bytes: int = DEFAULT_MESSAGE_BYTES) -> Iterator[str]:
    """Serve an ASGI application; yields its address, such as ``http://127.0.0.1:40123``."""
    listener = socket.create_server(("127.0.0.1", 0))
    # A listener made so has no protocol number, and asyncio then leaves Nagle's algorithm on: 40 ms for each answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # any ASGI application
        http="httptools",
        ws=websocket_protocol,  # type: ignore[arg-type]  # anything that makes a protocol
        ws_max_size=max_message_bytes,
        ws_per_message_deflate=False,
        lifespan="auto",
        log_config=None,
        access_log=False,
        # Longer than httpx keeps a connection: the end of one must not meet the next request on its way.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace,
    )
    server = _Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    assert server.started, "the server did not start"
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


def until(condition: Callable[[], object], seconds: float = 10.0, every: float = 0.005) -> None:
    """Wait for something that another thread or process will bring about; fail when it does not come in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)

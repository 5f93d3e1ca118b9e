"""The server in a thread of this process, in front of an application that does as its path says."""

import asyncio
import contextlib
import threading

from app.api.drain import Drain
from app.api.ids import new_id
from app.server import Bounds, listen, running
from app.server.door import Door
from tests.serving import until

BLOCK = b"x" * 65536


class Application:
    """What requests find.

    Attributes:
        bodies: The bodies that were whole, by path.
        left: The paths of requests whose client has left.
        sent: Blocks that ``/flood`` has sent.
        held: How many ``/hold`` there are.
    """

    def __init__(self, drain):
        self.drain = drain
        self.bodies = {}
        self.left = []
        self.sent = 0
        self.held = 0
        self.released = threading.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        path = scope["path"]
        if path == "/early":
            await answer(send, 413)
            return
        body = await self._body(path, receive)
        if body is None:
            return
        self.bodies[path] = body
        if path == "/readyz":
            await answer(send, 503 if self.drain.begun else 200)
        elif path == "/flood":
            await self._flood(receive, send)
        elif path == "/hold":
            gone = asyncio.ensure_future(receive())
            self.held += 1
            while not self.released.is_set() and not gone.done():
                await asyncio.sleep(0.01)
            self.held -= 1
            gone.cancel()
            await answer(send, 200)
        else:
            await answer(send, 200)

    async def _body(self, path, receive):
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                return body
        self.left.append(path)
        return None

    async def _flood(self, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
            self.sent += 1
            await asyncio.sleep(0)
        self.left.append("/flood")


async def answer(send, status):
    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


class Inside:
    """A running server.

    Attributes:
        port: Where it listens.
        app: The application.
        door: What its connections share.
        loop: Its event loop, while it runs.
        end: Tells it to end in good order.
    """

    def __init__(self, application, bounds, drain_seconds, drain_delay):
        drain = Drain()
        self.app = application(drain)
        self.door = Door(Bounds(**bounds), new_id)
        self._listener = listen("127.0.0.1", 0)
        self.port = self._listener.getsockname()[1]
        config = running._uvicorn_config(self.app, self.door)
        self.server = running.Server(
            config, self.door, drain, drain_seconds=drain_seconds, drain_delay=drain_delay, hears_signals=False
        )
        self.end = self.server.end
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        with asyncio.Runner(loop_factory=running._loop_factory()) as runner:
            self.loop = runner.get_loop()
            runner.run(self.server.serve(sockets=[self._listener]))


@contextlib.contextmanager
def inside(application=Application, drain_seconds=0.2, drain_delay=0.0, **bounds):
    """Run a server."""
    made = Inside(application, bounds, drain_seconds, drain_delay)
    made.thread.start()
    try:
        until(lambda: made.server.started or not made.thread.is_alive())
        yield made
    finally:
        made.app.released.set()
        made.end()
        made.thread.join(10)
        assert not made.thread.is_alive()


async def soon(condition):
    """Wait for something that the server will bring about."""
    while not condition():
        await asyncio.sleep(0.005)

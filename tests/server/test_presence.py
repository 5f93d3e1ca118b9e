"""Whether a client is still there: on our own server, which calls back, and on any other, which is listened to."""

import asyncio

import pytest

from app.api.presence import DEPARTURE, Presence
from app.wire.sse import KEEP_ALIVE
from tests.server.inside import Application, inside, soon
from tests.server.processes import clients

LARGE = 300_000
"""Bytes of a body that the server stops reading until it is taken."""

START = {"type": "http.response.start", "status": 200, "headers": []}


class Watched(Application):
    """Watches its clients, and answers as its path says."""

    calls_back = True

    def __init__(self, drain):
        super().__init__(drain)
        self.arrived = 0
        self.gone = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        while (await receive())["more_body"]:
            pass
        assert DEPARTURE in scope["extensions"]
        if not self.calls_back:
            scope = {name: value for name, value in scope.items() if name != "extensions"}
        async with Presence(scope, receive, send, 0.05, self.drain) as presence:
            self.arrived += 1
            await self._answer(scope["path"], presence, send)
        self.gone += presence.left

    async def _answer(self, path, presence, send):
        if path == "/wait":
            await asyncio.Event().wait()
        await send(START)
        if path == "/silent":
            await presence.send(b"a", more=True)
            await asyncio.sleep(0.18)
        if path == "/talking":
            for _ in range(9):
                await presence.send(b"a", more=True)
                await asyncio.sleep(0.02)
        await presence.send(b"z", more=False)


class Listening(Watched):
    """The same on a server that does not call back."""

    calls_back = False


@pytest.fixture(params=[Watched, Listening])
def server(request):
    with inside(request.param) as server:
        yield server


@pytest.fixture
async def connect(server):
    async with clients(server.port) as connect, asyncio.timeout(10):
        yield connect


@pytest.mark.parametrize("length", [0, 10, LARGE])
async def test_who_leaves_is_missed_at_once(server, connect, length):
    client = await connect()
    client.writer.write(b"POST /wait HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length + b"a" * length)
    await soon(lambda: server.app.arrived == 1)
    client.writer.close()
    await soon(lambda: server.app.gone == 1)


async def test_who_stays_is_not(server, connect):
    client = await connect()
    for path in ("/a", "/b"):
        assert (await answered(client, path)).endswith(b"\r\nz\r\n0\r\n\r\n")
    client.writer.close()
    await client.writer.wait_closed()
    await answered(await connect(), "/c")
    assert (server.app.arrived, server.app.gone) == (3, 0)


async def test_the_second_of_two_pipelined_requests_is_missed_too(server, connect):
    client = await connect()
    client.writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
    await soon(lambda: server.app.arrived == 2)
    client.writer.close()
    await soon(lambda: server.app.gone == 1)


async def test_silence_is_broken_and_only_silence(server, connect):
    client = await connect()
    silent = await answered(client, "/silent")
    assert silent.count(KEEP_ALIVE) >= 1
    assert silent.index(b"a\r\n") < silent.index(KEEP_ALIVE) < silent.index(b"z\r\n0")
    assert KEEP_ALIVE not in await answered(client, "/talking")


async def answered(client, path):
    """All bytes of an answer."""
    client.writer.write(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode())
    return await client.reader.readuntil(b"\r\n0\r\n\r\n")

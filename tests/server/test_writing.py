"""Heads that go out together with the beginning of what follows them."""

import asyncio

import pytest

from app.server.writing import JoinedWrites
from tests.server.inside import Application, inside
from tests.server.processes import clients

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Transport:
    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.written.append("closed")

    def is_closing(self):
        return "closed" in self.written


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
async def joined(transport):
    return JoinedWrites(transport, asyncio.get_running_loop())


async def test_a_head_waits_for_the_body(transport, joined):
    for data in (HEAD, b"a", b"b"):
        joined.write(data)
    assert transport.written == [HEAD + b"a", b"b"]
    await asyncio.sleep(0)
    assert transport.written == [HEAD + b"a", b"b"]


async def test_a_head_does_not_wait_long(transport, joined):
    joined.write(HEAD)
    assert transport.written == []
    await asyncio.sleep(0)
    assert transport.written == [HEAD]
    joined.write(b"a")
    assert transport.written == [HEAD, b"a"]


async def test_a_head_goes_out_before_the_connection_is_closed(transport, joined):
    joined.write(HEAD)
    assert not joined.is_closing()
    joined.close()
    assert transport.written == [HEAD, "closed"]
    assert joined.is_closing()
    await asyncio.sleep(0)
    assert transport.written == [HEAD, "closed"]


async def test_what_asks_for_the_body_is_no_head(transport, joined):
    for data in (b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"a"):
        joined.write(data)
    assert transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"a"]


class Late(Application):
    """Begins its answer, and goes on when it is told to."""

    def __init__(self, drain):
        super().__init__(drain)
        self.goes_on = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        if scope["path"] == "/late":
            await self.goes_on.wait()
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else b"a"})


async def test_on_a_connection():
    with inside(Late) as server:
        async with clients(server.port) as connect, asyncio.timeout(10):
            client = await connect()
            assert (await client.send("HEAD", "/")).headers["content-length"] == "1"
            assert (await client.get("/")).body == b"a"
            late = await client.send("GET", "/late")
            server.loop.call_soon_threadsafe(server.app.goes_on.set)
            assert (await client.whole(late)).body == b"a"
            client.writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nconnection: close\r\n\r\na")
            assert (await client.reader.read()).endswith(b"\r\n\r\na")

"""What any upstream transport must do; servers here are scripted byte by byte."""

import asyncio
import contextlib

import httpx
import pytest

from app.cloudflare.transport import AiohttpTransport

OK = b"HTTP/1.1 200 OK\r\n"


class Script:
    """A server that answers every request with the next of its scripts, each a list of bytes and events to wait for."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.requests = []
        self.connections = 0
        self.gone = asyncio.Event()

    async def __call__(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].partition(b":")[2])) if length else b""
                self.requests.append((head, body))
                for step in self.scripts.pop(0):
                    if step is None:
                        writer.close()
                        return
                    if isinstance(step, asyncio.Event):
                        await step.wait()
                    else:
                        writer.write(step)
                        await writer.drain()
        self.gone.set()
        writer.close()


@contextlib.asynccontextmanager
async def serving(script):
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    transport = AiohttpTransport(max_connections=4)
    try:
        yield transport, httpx.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x")
    finally:
        await transport.aclose()
        server.close()
        await server.wait_closed()


async def send(transport, url, content=b"{}", method="POST"):
    headers = {"content-type": "application/json", "authorization": "Bearer t"}
    return await transport.handle_async_request(httpx.Request(method, url, headers=headers, content=content))


async def read(response):
    blocks = [block async for block in response.stream]
    await response.stream.aclose()
    return b"".join(blocks)


BODIES = {
    "length": (b"content-length: 5\r\n\r\nhello", b"hello"),
    "chunked": (b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
    "empty": (b"content-length: 0\r\n\r\n", b""),
}


@pytest.mark.parametrize(("answer", "body"), BODIES.values(), ids=BODIES)
async def test_bodies_are_read_and_the_connection_is_used_again(answer, body):
    script = Script([OK + answer], [OK + answer])
    async with serving(script) as (transport, url):
        for _ in range(2):
            response = await send(transport, url)
            assert response.status_code == 200
            assert await read(response) == body
    assert script.connections == 1


async def test_a_body_without_length_ends_with_the_connection():
    async with serving(Script([OK + b"\r\nhello", None])) as (transport, url):
        assert await read(await send(transport, url)) == b"hello"


async def test_what_is_sent():
    script = Script([OK + b"content-length: 0\r\n\r\n"])
    async with serving(script) as (transport, url):
        await read(await send(transport, url, b'{"a":1}'))
    head, body = script.requests[0]
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /x http/1.1"
    assert "authorization: bearer t" in lines
    assert "content-length: 7" in lines
    assert [line for line in lines if line.startswith("host:")] == [f"host: 127.0.0.1:{url.port}"]
    assert not any(line.startswith(("transfer-encoding", "user-agent", "cookie")) for line in lines)
    assert body == b'{"a":1}'


async def test_bytes_come_as_soon_as_they_are_there():
    later = asyncio.Event()
    frames = b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    async with serving(Script([OK + frames, later, b"4\r\nlast\r\n0\r\n\r\n"])) as (transport, url):
        blocks = (await send(transport, url)).stream.__aiter__()
        assert await anext(blocks) == b"first"
        later.set()
        assert await anext(blocks) == b"last"
        with pytest.raises(StopAsyncIteration):
            await anext(blocks)


async def test_giving_up_early_closes_the_connection_at_once():
    script = Script([OK + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"])
    async with serving(script) as (transport, url):
        response = await send(transport, url)
        await anext(response.stream.__aiter__())
        await response.stream.aclose()
        async with asyncio.timeout(5):
            await script.gone.wait()


async def test_cancelling_a_request_closes_the_connection():
    never = asyncio.Event()
    script = Script([never])
    async with serving(script) as (transport, url):
        task = asyncio.create_task(send(transport, url))
        async with asyncio.timeout(5):
            while not script.requests:
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        never.set()
        async with asyncio.timeout(5):
            await script.gone.wait()


async def test_redirects_are_not_followed_and_cookies_not_kept():
    moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    script = Script([moved], [OK + b"content-length: 0\r\n\r\n"])
    async with serving(script) as (transport, url):
        response = await send(transport, url)
        assert response.status_code == 302
        await read(response)
        await read(await send(transport, url))
    assert b"cookie" not in script.requests[1][0].lower()


async def test_an_encoded_body_is_left_as_it_is():
    async with serving(Script([OK + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello"])) as (transport, url):
        assert await read(await send(transport, url)) == b"hello"


FAILURES = {
    "closed before an answer": ([None], httpx.RemoteProtocolError),
    "not HTTP": ([b"SSH-2.0-OpenSSH_9\r\n\r\n"], httpx.RemoteProtocolError),
}


@pytest.mark.parametrize(("script", "error"), FAILURES.values(), ids=FAILURES)
async def test_failures_before_the_answer(script, error):
    async with serving(Script(script)) as (transport, url):
        with pytest.raises(error):
            await send(transport, url)


CUTS = {
    "in a length": b"content-length: 10\r\n\r\nhello",
    "in a chunk": b"transfer-encoding: chunked\r\n\r\na\r\nhello",
    "between chunks": b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("answer", CUTS.values(), ids=CUTS)
async def test_a_cut_body_is_an_error_after_all_that_had_come_and_never_the_end(answer, late):
    async with serving(Script([OK + answer, None])) as (transport, url):
        response = await send(transport, url)
        content = response.stream._response.content
        async with asyncio.timeout(5):
            while late and content.exception() is None:
                # Whoever reads slowly looks only when the connection is gone already.
                await asyncio.sleep(0)
        seen = b""
        with pytest.raises(httpx.ReadError):
            async for block in response.stream:
                seen += block
        assert seen == b"hello"
        await response.stream.aclose()


async def test_what_nobody_asked_for_is_nobodys_answer():
    later = asyncio.Event()
    good = OK + b"content-length: 4\r\n\r\n"
    script = Script([good + b"mine", later, good + b"evil"], [good + b"next"])
    async with serving(script) as (transport, url):
        assert await read(await send(transport, url)) == b"mine"
        (idle,) = transport._session.connector._conns.values()
        later.set()
        async with asyncio.timeout(5):
            while not idle[0][0].should_close:
                await asyncio.sleep(0)
        assert await read(await send(transport, url)) == b"next"
    assert script.connections == 2


async def test_nobody_listens():
    transport = AiohttpTransport(max_connections=4)
    with pytest.raises(httpx.ConnectError):
        await send(transport, httpx.URL("http://127.0.0.1:9/x"))
    await transport.aclose()


async def test_more_requests_than_connections_wait_their_turn():
    scripts = [[OK + b"content-length: 1\r\n\r\n", b"x"] for _ in range(12)]
    script = Script(*scripts)
    async with serving(script) as (transport, url):

        async def one():
            return await read(await send(transport, url))

        assert await asyncio.gather(*(one() for _ in range(12))) == [b"x"] * 12
    assert script.connections <= 4

"""What any upstream transport must do; servers here are scripted byte by byte."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
import struct

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.cloudflare.transport import Transport

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
                    elif step is asyncio.sleep:
                        # What was written goes out before what comes.
                        await asyncio.sleep(0)
                    else:
                        writer.write(step)
                        await writer.drain()
        self.gone.set()
        writer.close()


@contextlib.asynccontextmanager
async def listening(script, **arguments):
    """Serve it; yields the port."""
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        # The end of the test ends it too.
        with contextlib.suppress(asyncio.CancelledError):
            await script(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **arguments)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(script, **arguments):
    """Serve it; yields a transport and a URL that leads there."""
    async with listening(script) as port:
        transport = Transport(**{"max_connections": 4, **arguments})
        try:
            yield transport, httpx.URL(f"http://127.0.0.1:{port}/x")
        finally:
            await transport.aclose()


@pytest.fixture(params=[True, False], ids=["httpx's interface", "ours"], autouse=True)
def _interface(request, monkeypatch):
    monkeypatch.setattr(Interface, "is_httpx", request.param)


class Interface:
    """Which of the transport's two interfaces is tried."""

    is_httpx = True


class Blocks(httpx.AsyncByteStream):
    """A body of ours as one of httpx's."""

    def __init__(self, body, seconds):
        self.body, self.seconds = body, seconds

    async def __aiter__(self):
        while block := await self.body.read(self.seconds):
            yield block

    async def aclose(self):
        await self.body.aclose()


async def send(transport, url, content=b"{}", method="POST", *, seconds=None, **headers):
    headers = {"content-type": "application/json", "authorization": "Bearer t", **headers}
    seconds = seconds or {}
    request = httpx.Request(method, url, headers=headers, content=content, extensions={"timeout": seconds})
    if Interface.is_httpx:
        return await transport.handle_async_request(request)
    connect = seconds.get("connect", seconds.get("pool"))
    received = await transport.send(
        method, request.url, request.headers.raw, await request.aread(), connect=connect, head=seconds.get("read")
    )
    stream = Blocks(received.body, seconds.get("read"))
    return httpx.Response(received.status, headers=received.headers, stream=stream, request=request)


async def read(response):
    blocks = [block async for block in response.stream]
    await response.stream.aclose()
    return b"".join(blocks)


async def gone(transport):
    """Wait until no connection is open."""
    async with asyncio.timeout(5):
        while transport.connections:
            await asyncio.sleep(0)


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
    "closed within the head": ([OK, b"content-le", None], httpx.RemoteProtocolError),
    "not HTTP": ([b"SSH-2.0-OpenSSH_9\r\n\r\n"], httpx.RemoteProtocolError),
    "another protocol": (
        [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
        httpx.RemoteProtocolError,
    ),
    "a head without end": ([OK] + [b"x: " + b"y" * 1000 + b"\r\n"] * 100, httpx.RemoteProtocolError),
    "two lengths": ([OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello"], httpx.RemoteProtocolError),
}


@pytest.mark.parametrize(("script", "error"), FAILURES.values(), ids=FAILURES)
async def test_failures_before_the_answer(script, error):
    async with serving(Script(script)) as (transport, url):
        with pytest.raises(error):
            await send(transport, url)
        await gone(transport)


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
        if late:
            # Whoever reads slowly looks only when the connection is gone already.
            await gone(transport)
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
        later.set()
        await gone(transport)
        assert await read(await send(transport, url)) == b"next"
    assert script.connections == 2


async def test_nobody_listens():
    transport = Transport(max_connections=4)
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


async def test_nothing_is_sent_before_the_answer_is_complete():
    later, asked = asyncio.Event(), asyncio.Event()
    script = Script([OK + b"content-length: 2\r\n\r\n1", later, b"1"], [OK + b"content-length: 2\r\n\r\n22"])
    async with serving(script, max_connections=1) as (transport, url):
        first = await send(transport, url)

        async def ask():
            asked.set()
            return await read(await send(transport, url))

        second = asyncio.create_task(ask())
        await asked.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(script.requests) == 1
        later.set()
        assert await read(first) == b"11"
        assert await second == b"22"
    assert script.connections == 1


async def test_an_answer_that_is_complete_needs_no_connection_any_more():
    script = Script([OK + b"content-length: 5\r\n\r\nfirst"], [OK + b"content-length: 6\r\n\r\nsecond"])
    async with serving(script) as (transport, url):
        first = await send(transport, url)
        second = await send(transport, url)
        assert [await read(second), await read(first)] == [b"second", b"first"]
        await first.stream.aclose()
    assert script.connections == 1


ENDINGS = {
    "connection: close": OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "two answers at once": OK + b"content-length: 5\r\n\r\nhello" + OK + b"content-length: 4\r\n\r\nevil",
    "more than its length": OK + b"content-length: 5\r\n\r\nhello, and more",
    "more than its chunks": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nmore",
}


@pytest.mark.parametrize("answer", ENDINGS.values(), ids=ENDINGS)
async def test_after_these_answers_the_connection_is_not_used_again(answer):
    script = Script([answer], [OK + b"content-length: 4\r\n\r\nnext"])
    async with serving(script) as (transport, url):
        assert await read(await send(transport, url)) == b"hello"
        assert await read(await send(transport, url)) == b"next"
    assert script.connections == 2


async def test_a_connection_that_the_server_closed_is_not_used_again():
    good = OK + b"content-length: 2\r\n\r\nok"
    script = Script([good, None], [good])
    async with serving(script) as (transport, url):
        assert await read(await send(transport, url)) == b"ok"
        await gone(transport)
        assert await read(await send(transport, url)) == b"ok"
    assert script.connections == 2


async def test_a_connection_that_is_closed_under_a_request_is_an_error_and_nothing_is_sent_twice():
    script = Script([OK + b"content-length: 2\r\n\r\nok"], [None])
    async with serving(script) as (transport, url):
        await read(await send(transport, url))
        with pytest.raises(httpx.RemoteProtocolError):
            await send(transport, url)
    assert len(script.requests) == 2


async def test_a_reset_is_an_error():
    async def reset(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with serving(reset) as (transport, url):
        with pytest.raises(httpx.ReadError) as caught:
            await send(transport, url)
        assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("hint", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"])
async def test_what_comes_before_the_answer_is_not_the_answer(hint):
    script = Script([hint + hint + OK + b"x: y\r\ncontent-length: 2\r\n\r\nok"])
    async with serving(script) as (transport, url):
        response = await send(transport, url)
        assert (response.status_code, response.headers.raw) == (200, [(b"x", b"y"), (b"content-length", b"2")])
        assert await read(response) == b"ok"


async def test_what_follows_a_chunked_body_is_no_header():
    script = Script([OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nset-cookie: a\r\n\r\n"])
    async with serving(script) as (transport, url):
        response = await send(transport, url)
        assert await read(response) == b"ok"
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("method", "head"),
    [("HEAD", OK + b"content-length: 5\r\n\r\n"), ("POST", b"HTTP/1.1 204 No Content\r\n\r\n")],
)
async def test_answers_without_a_body(method, head):
    async with serving(Script([head])) as (transport, url):
        assert await read(await send(transport, url, method=method)) == b""


async def test_every_cut_of_an_answer_gives_the_same():
    whole = OK + b"x: y\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    scripts = [[whole[:cut], asyncio.sleep, whole[cut:]] for cut in range(1, len(whole))]
    async with serving(Script(*scripts)) as (transport, url):
        for _ in scripts:
            response = await send(transport, url)
            assert response.headers.raw == [(b"x", b"y"), (b"transfer-encoding", b"chunked")]
            assert await read(response) == b"hello"


async def test_whoever_reads_slowly_stops_the_upstream():
    sent, block, blocks = 0, b"x" * 65_536, 1_000

    async def pour(reader, writer):
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"content-length: %d\r\n\r\n" % (len(block) * blocks))
        for _ in range(blocks):
            writer.write(block)
            await writer.drain()
            sent += len(block)
        writer.close()

    async with serving(pour) as (transport, url):
        response = await send(transport, url)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        # Most of it is in the kernel's buffers.
        assert sent < len(block) * blocks / 2
        assert len(await read(response)) == len(block) * blocks


async def test_a_large_body_is_sent_whole():
    script = Script([OK + b"content-length: 0\r\n\r\n"])
    body = bytes(range(256)) * 40_000
    async with serving(script) as (transport, url):
        await read(await send(transport, url, body))
    assert script.requests[0][1] == body


async def test_a_body_of_pieces_is_sent_with_its_length():
    async def pieces():
        yield b"hel"
        yield b"lo"

    script = Script([OK + b"content-length: 0\r\n\r\n"])
    async with serving(script) as (transport, url):
        await read(await send(transport, url, pieces()))
    head, body = script.requests[0]
    assert (body, b"transfer-encoding" in head.lower()) == (b"hello", False)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b"])
async def test_a_header_stays_one(value):
    async with serving(Script()) as (transport, url):
        with pytest.raises(httpx.LocalProtocolError):
            await send(transport, url, x=value)
        assert transport.connections == 0


async def test_a_url_that_is_not_http():
    transport = Transport(max_connections=1)
    with pytest.raises(httpx.UnsupportedProtocol):
        await send(transport, httpx.URL("ftp://127.0.0.1/x"))


async def test_time_runs_out():
    never = asyncio.Event()
    script = Script([never], [OK + b"content-length: 5\r\n\r\nhe", never])
    async with serving(script, max_connections=1) as (transport, url):
        with pytest.raises(httpx.ReadTimeout):
            await send(transport, url, seconds={"read": 0.05})
        response = await send(transport, url, seconds={"read": 0.5})
        with pytest.raises(httpx.PoolTimeout):
            await send(transport, url, seconds={"pool": 0.05})
        with pytest.raises(httpx.ReadTimeout):
            await read(response)
        await response.stream.aclose()
        await gone(transport)
        never.set()


async def test_no_connection_in_time():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        address = full.getsockname()
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(address)
        transport = Transport(max_connections=1)
        for _ in range(2):
            # The second time shows that the place came back.
            with pytest.raises(httpx.ConnectTimeout):
                await send(
                    transport, httpx.URL(f"http://127.0.0.1:{address[1]}/x"), seconds={"connect": 0.05, "pool": 1}
                )
        await transport.aclose()


async def test_who_gives_up_waiting_is_not_waited_for():
    never, later = asyncio.Event(), asyncio.Event()
    good = OK + b"content-length: 1\r\n\r\n"
    async with serving(Script([later, good + b"a"], [good + b"c"]), max_connections=1) as (transport, url):
        first = asyncio.create_task(send(transport, url))
        await asyncio.sleep(0)
        second = asyncio.create_task(send(transport, url))
        third = asyncio.create_task(send(transport, url))
        await asyncio.sleep(0)
        second.cancel()
        later.set()
        assert await read(await first) == b"a"
        assert await read(await third) == b"c"
        with pytest.raises(asyncio.CancelledError):
            await second
    never.set()


async def test_who_is_called_and_leaves_gives_the_turn_on():
    never = asyncio.Event()
    good = OK + b"content-length: 1\r\n\r\n"
    async with serving(Script([good, never], [good + b"c"]), max_connections=1) as (transport, url):
        first = await send(transport, url)
        second = asyncio.create_task(send(transport, url))
        third = asyncio.create_task(send(transport, url))
        await asyncio.sleep(0)
        # In one turn of the loop: the place becomes free, and who was to have it leaves.
        await first.stream.aclose()
        second.cancel()
        async with asyncio.timeout(5):
            assert await read(await third) == b"c"
        with pytest.raises(asyncio.CancelledError):
            await second


async def test_another_host_gets_the_place_of_an_idle_connection():
    good = OK + b"content-length: 1\r\n\r\nx"
    async with (
        serving(Script([good], [good]), max_connections=1) as (transport, url),
        listening(Script([good])) as port,
    ):
        other = url.copy_with(port=port)
        for each in (url, other, url):
            assert await read(await send(transport, each)) == b"x"
        assert transport.connections == 1


async def test_what_is_idle_for_long_is_closed():
    good = OK + b"content-length: 1\r\n\r\nx"
    script = Script([good], [good])
    async with serving(script, keep_alive_seconds=0.05) as (transport, url):
        await read(await send(transport, url))
        assert transport.connections == 1
        await gone(transport)
        await read(await send(transport, url))
    assert script.connections == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that nobody has signed: its file, and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls(certificate):
    """How the server is to serve."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def trust(certificate):
    """How a client trusts it."""
    return ssl.create_default_context(cafile=certificate[0])


async def test_tls(tls, trust):
    good = OK + b"content-length: 1\r\n\r\nx"
    script = Script([good], [good])
    async with listening(script, ssl=tls) as port:
        transport = Transport(max_connections=1, verify=trust)
        for _ in range(2):
            assert await read(await send(transport, httpx.URL(f"https://localhost:{port}/x"))) == b"x"
        await transport.aclose()
    assert script.connections == 1


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
async def test_a_certificate_that_is_not_the_hosts_is_refused(tls, trust, host, trusted):
    script = Script([OK + b"content-length: 0\r\n\r\n"])
    async with listening(script, ssl=tls) as port:
        transport = Transport(max_connections=1, verify=trust if trusted else None)
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await send(transport, httpx.URL(f"https://{host}:{port}/x"))
        assert transport.connections == 0
        await transport.aclose()
    assert script.requests == []


async def tunnel(reader, writer):
    """A proxy that lets a client through to the port that it names; it wants a name and a password."""
    head = await reader.readuntil(b"\r\n\r\n")
    if b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" not in head:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        return
    assert head.startswith(b"CONNECT localhost:")
    port = int(head.split(b" ", 2)[1].rpartition(b":")[2])
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n")

    async def pump(source, sink):
        with contextlib.suppress(ConnectionError):
            while block := await source.read(65536):
                sink.write(block)
        sink.close()

    await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))


@pytest.fixture
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_a_tunnel_through_the_proxy_of_the_environment(tls, trust, monkeypatch, no_proxies):
    good = OK + b"content-length: 1\r\n\r\nx"
    script = Script([good], [good])
    async with listening(script, ssl=tls) as port, listening(tunnel) as door:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{door}")
        transport = Transport(max_connections=1, verify=trust)
        for _ in range(2):
            assert await read(await send(transport, httpx.URL(f"https://localhost:{port}/x"))) == b"x"
        await transport.aclose()
    assert script.connections == 1
    # The proxy's password is not for who is behind it.
    assert not any(b"proxy-authorization" in head.lower() for head, _ in script.requests)


async def test_a_proxy_that_refuses(monkeypatch, no_proxies):
    async with listening(tunnel) as door:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:wrong@127.0.0.1:{door}")
        transport = Transport(max_connections=1)
        with pytest.raises(httpx.ProxyError, match="407"):
            await send(transport, httpx.URL("https://localhost:1/x"))
        await transport.aclose()


async def test_a_proxy_that_is_not_there(monkeypatch, no_proxies):
    monkeypatch.setenv("ALL_PROXY", "127.0.0.1:9")
    transport = Transport(max_connections=1)
    for scheme in ("http", "https"):
        with pytest.raises(httpx.ProxyError):
            await send(transport, httpx.URL(f"{scheme}://localhost:1/x"))


async def test_a_proxy_that_cannot_be_used(monkeypatch, no_proxies):
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    transport = Transport(max_connections=1)
    with pytest.raises(httpx.ProxyError, match="socks5"):
        await send(transport, httpx.URL("http://localhost:1/x"))


async def test_a_proxy_that_forwards(monkeypatch, no_proxies):
    script = Script([OK + b"content-length: 1\r\n\r\nx"])
    async with listening(script) as door:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{door}")
        transport = Transport(max_connections=1)
        assert await read(await send(transport, httpx.URL("http://example.test/x?y=1"))) == b"x"
        await transport.aclose()
    head = script.requests[0][0]
    assert head.startswith(b"POST http://example.test/x?y=1 HTTP/1.1\r\n")
    assert b"\r\nHost: example.test\r\n" in head
    assert b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n" in head


async def test_hosts_that_need_no_proxy(monkeypatch, no_proxies):
    async with serving(Script([OK + b"content-length: 1\r\n\r\nx"])) as (transport, url):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        assert await read(await send(transport, url)) == b"x"


async def test_an_answer_has_so_long_in_all_and_waiting_for_a_connection_is_part_of_it():
    never = asyncio.Event()
    async with serving(Script([never]), max_connections=1) as (transport, url):
        busy = asyncio.create_task(send(transport, url))
        while not transport.connections:
            await asyncio.sleep(0)
        with pytest.raises(httpx.ReadTimeout):
            await transport.send("GET", url, [(b"host", b"x")], b"", connect=None, head=0.02)
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)

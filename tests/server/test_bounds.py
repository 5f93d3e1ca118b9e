"""What a client may send, how slowly, and how much of it at a time."""

import asyncio
import contextlib
import re
import socket
import time

import pytest

from app.api.ids import new_id
from app.server import Bounds, door, running
from app.server.door import Door
from tests.server.inside import inside, soon
from tests.server.processes import clients
from tests.serving import until

START = b"POST /a HTTP/1.1\r\nhost: x\r\n"
HEAD_BYTES = 8192


@pytest.fixture(scope="module")
def server():
    with inside(head_bytes=HEAD_BYTES, headers=20) as server:
        yield server


@pytest.fixture(scope="module")
def impatient():
    """A server that looks at its connections ten times a second, and gives them a third of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "LOOK_TICKS", 1)
        with inside(
            head_seconds=0.3, stall_seconds=0.3, body_seconds=60, unread_seconds=0.3, keep_alive_seconds=60
        ) as server:
            yield server


@pytest.fixture
async def connect(server):
    async with clients(server.port) as connect, asyncio.timeout(10):
        yield connect


@pytest.fixture
async def connect_impatient(impatient):
    async with clients(impatient.port) as connect, asyncio.timeout(10):
        yield connect


LARGE = {
    "one header": [START + b"a: " + b"a" * HEAD_BYTES + b"\r\n\r\n"],
    "a megabyte": [START + b"a: " + b"a" * 1_000_000 + b"\r\n\r\n"],
    "without an end": [START + b"a: ", *[b"a" * 1000] * 20],
    "in pieces": [START, *[b"a: " + b"a" * 800 + b"\r\n"] * 11, b"\r\n"],
    "at its end": [START, *[b"a: " + b"a" * 800 + b"\r\n"] * 9, b"a: " + b"a" * 1200 + b"\r\n\r\n"],
    "many headers": [START + b"a: b\r\n" * 20 + b"\r\n"],
    "a long path": [b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n"],
}


@pytest.mark.parametrize("pieces", LARGE.values(), ids=LARGE)
async def test_a_large_head_is_refused(connect, pieces):
    client = await connect()
    for piece in pieces:
        client.writer.write(piece)
        await client.writer.drain()
        await asyncio.sleep(0)
    answer = await client.whole(await client.head())
    assert (answer.status, answer.error["type"]) == (431, "invalid_request_error")
    assert re.fullmatch("req_[0-9a-f]{32}", answer.headers["x-request-id"])
    assert await client.reader.read() == b""


@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_head_within_the_bounds_passes(server, connect, pieces):
    client = await connect()
    head = START + b"content-length: 70000\r\na: " + b"a" * (HEAD_BYTES - 100) + b"\r\n" + b"a: b\r\n" * 15 + b"\r\n"
    size = len(head) // pieces + 1
    for _ in range(2):
        for start in range(0, len(head), size):
            client.writer.write(head[start : start + size])
            await client.writer.drain()
            await asyncio.sleep(0.01)
        client.writer.write(b"b" * 70_000)
        assert (await client.whole(await client.head())).status == 200
        assert len(server.app.bodies.pop("/a")) == 70_000


async def test_what_is_no_http_is_refused_in_the_same_words(connect):
    client = await connect()
    client.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    answer = await client.whole(await client.head())
    assert (answer.status, answer.error["type"], answer.error["param"]) == (400, "invalid_request_error", None)


async def test_a_connection_without_a_request_is_closed(connect_impatient):
    silent, blank, half = [await connect_impatient() for _ in range(3)]
    assert (await blank.get("/a")).status == 200
    # Blank lines are allowed before a request, and are none.
    blank.writer.write(b"\r\n\r\n")
    half.writer.write(START)
    assert await silent.reader.read() == b""
    assert await blank.reader.read() == b""
    answer = await half.whole(await half.head())
    assert (answer.status, answer.headers["connection"]) == (408, "close")


async def test_an_idle_connection_is_kept(impatient, connect_impatient):
    client = await connect_impatient()
    for _ in range(2):
        assert (await client.get("/a")).status == 200
        await asyncio.sleep(0.6)


async def test_a_body_that_stops_is_refused(impatient, connect_impatient):
    impatient.app.left.clear()
    client = await connect_impatient()
    client.writer.write(b"POST /stops HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\na")
    answer = await client.whole(await client.head())
    assert (answer.status, answer.error["type"]) == (408, "invalid_request_error")
    until(lambda: impatient.app.left == ["/stops"], seconds=1)


async def test_a_body_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(running, "LOOK_TICKS", 1)
    with inside(body_seconds=0.3) as server:
        async with clients(server.port) as connect, asyncio.timeout(10):
            client = await connect()
            client.writer.write(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
            head = asyncio.create_task(client.head())
            while not head.done():
                client.writer.write(b"a")
                await asyncio.sleep(0.05)
            assert (await head).status == 408


async def test_a_slow_body_that_is_quick_enough_is_taken(impatient, connect_impatient):
    client = await connect_impatient()
    client.writer.write(b"POST /enough HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n")
    for _ in range(3):
        await asyncio.sleep(0.1)
        client.writer.write(b"a")
    assert (await client.whole(await client.head())).status == 200
    assert impatient.app.bodies["/enough"] == b"aaa"


async def test_what_follows_an_early_answer_is_not_heard_for_ever(connect_impatient):
    client = await connect_impatient()
    client.writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
    assert (await client.whole(await client.head())).status == 413
    rest = asyncio.create_task(client.reader.read())
    while not rest.done():
        client.writer.write(b"a")
        await asyncio.sleep(0.05)
    assert await rest == b""


async def test_the_next_request_has_time_while_an_answer_is_under_way(impatient, connect_impatient):
    client = await connect_impatient()
    client.writer.write(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n" + START)
    until(lambda: impatient.app.held == 1)
    await asyncio.sleep(0.6)
    impatient.app.released.set()
    assert (await client.whole(await client.head())).status == 200
    client.writer.write(b"content-length: 0\r\n\r\n")
    assert (await client.whole(await client.head())).status == 200
    impatient.app.released.clear()


async def test_who_does_not_read_is_sent_no_more_and_then_cut(impatient):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", impatient.port))
        client.sendall(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: impatient.app.left[-1:] == ["/flood"])
    # What the kernel and the server's own buffer take.
    assert impatient.app.sent < 12


async def test_requests_past_the_bound_are_refused():
    with inside(in_flight=2) as server:
        async with clients(server.port) as connect:
            held = [await connect() for _ in range(2)]
            for client in held:
                client.writer.write(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
            until(lambda: server.app.held == 2)
            client = await connect()
            for _ in range(3):
                answer = await client.post("/a", {"body": "x" * 100_000}, ["x-request-id: mine"])
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert answer.headers["x-request-id"] == "mine"
                error = {"type": "service_unavailable_error", "code": "server_is_overloaded", "param": None}
                assert error.items() <= answer.error.items()
                assert (await client.get("/healthz")).status == 200
            head = await client.send("HEAD", "/a")
            assert head.status == 503
            # Its body is not sent, so the next answer follows at once.
            assert (await client.get("/readyz")).status == 200
            client.writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n")
            assert (await client.whole(await client.head())).headers["connection"] == "close"
            client = await connect()
            client.writer.write(b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            assert (await client.whole(await client.head())).status == 503
            assert server.door.refused == 6
            server.app.released.set()
            for each in held:
                assert (await each.whole(await each.head())).status == 200
            assert (await (await connect()).get("/a")).status == 200


@contextlib.asynccontextmanager
async def full(**arguments):
    """A server without room, and what makes connections to it."""
    with inside(in_flight=1, **arguments) as server:
        async with clients(server.port) as connect, asyncio.timeout(20):
            held = await connect()
            held.writer.write(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
            until(lambda: server.app.held == 1)
            yield server, connect


@pytest.fixture
def long_window(monkeypatch):
    """What is put off waits until it is told."""
    monkeypatch.setattr(door, "REFUSAL_SECONDS", 60)


async def test_a_few_are_refused_at_once_and_many_together_a_little_later(long_window):
    async with full() as (server, connect):
        many = [await connect() for _ in range(3 * door.PROMPT_REFUSALS)]
        answers = [asyncio.create_task(client.get("/a")) for client in many]
        await soon(lambda: len(server.door.put_off) == 2 * door.PROMPT_REFUSALS)
        await soon(lambda: sum(answer.done() for answer in answers) == door.PROMPT_REFUSALS)
        # Health checks are not for waiting.
        assert (await (await connect()).get("/healthz")).status == 200
        assert server.door.refused == door.PROMPT_REFUSALS
        server.loop.call_soon_threadsafe(server.door.take_put_off)
        assert {(await answer).status for answer in answers} == {503}
        # A few are refused at once again.
        assert (await many[0].get("/a")).status == 503


async def test_who_comes_back_at_once_is_not_refused_all_the_time():
    async with full() as (server, connect):
        many = [await connect() for _ in range(100)]

        async def insist(client):
            while True:
                await client.get("/a")

        insisting = [asyncio.create_task(insist(client)) for client in many]
        began = time.monotonic()
        await asyncio.wait(insisting, timeout=0.5)
        windows = (time.monotonic() - began) / door.REFUSAL_SECONDS + 2
        assert 0 < server.door.refused <= windows * (len(many) + door.PROMPT_REFUSALS)
        for task in insisting:
            task.cancel()
        await asyncio.gather(*insisting, return_exceptions=True)


async def test_refusing_takes_its_share_of_the_time_and_no_more():
    now, loop = [0.0], asyncio.get_running_loop()
    taken = []

    class Costly:
        def take_put_off(self):
            now[0] += 0.01
            taken.append(loop.time())

    full = Door(Bounds(), new_id, lambda: now[0])
    began = loop.time()
    for count in (1, 1, 0):
        full.put_off.extend(Costly() for _ in range(count))
        full.puts_off()
        await soon(lambda: not full.put_off)
    assert taken[0] - began >= door.REFUSAL_SECONDS
    assert taken[1] - taken[0] >= 0.01 * door.REST_AFTER_REFUSALS


@pytest.fixture
def nothing_prompt(long_window, monkeypatch):
    """All that finds no room is put off."""
    monkeypatch.setattr(door, "PROMPT_REFUSALS", 0)


async def test_what_was_put_off_is_served_when_there_is_room_again(nothing_prompt):
    async with full() as (server, connect):
        client, gone = await connect(), await connect()
        answer = asyncio.create_task(client.post("/a", {"x": 1}))
        gone.writer.write(b"GET /gone HTTP/1.1\r\nhost: x\r\n\r\n")
        await soon(lambda: len(server.door.put_off) == 2)
        await gone.aclose()
        server.app.released.set()
        await soon(lambda: not server.server.server_state.tasks)
        server.loop.call_soon_threadsafe(server.door.take_put_off)
        assert (await answer).status == 200
        assert list(server.app.bodies) == ["/hold", "/a"]
        assert server.door.refused == 0


async def test_who_is_refused_again_and_again_keeps_its_connection():
    async with full(keep_alive_seconds=1) as (_, connect):
        busy, idle = await connect(), await connect()
        assert (await idle.get("/healthz")).status == 200
        began = time.monotonic()
        while time.monotonic() < began + 2.2:
            answer = await busy.post("/a", {"x": 1})
            assert (answer.status, "connection" in answer.headers) == (503, False)
            await asyncio.sleep(0.2)
        assert idle.reader.at_eof()
        assert await busy.reader.read() == b""
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("rest", [b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"])
async def test_what_comes_in_pieces_is_not_put_off_further(nothing_prompt, rest):
    async with full() as (server, connect):
        client = await connect()
        client.writer.write(START)
        await soon(lambda: len(server.door.put_off) == 1)
        client.writer.write(b"content-length: 4\r\n\r\n1234" + rest)
        assert (await client.whole(await client.head())).status == 503
        if rest:
            assert (await client.whole(await client.head())).status == 200


async def test_the_end_of_the_server_puts_nothing_off(nothing_prompt):
    async with full(drain_delay=0.3) as (server, connect):
        client, later = await connect(), await connect()
        answer = asyncio.create_task(client.get("/a"))
        await soon(lambda: server.door.put_off)
        server.end()
        for refused in (await answer, await later.get("/a")):
            assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert server.door.put_off == []


class Request:
    def __init__(self, log):
        self.log = log

    def begin(self):
        self.log.append(self)


async def test_long_turns_begin_one_request_and_short_ones_several():
    now, begun = [0.0], []
    door = Door(Bounds(), new_id, lambda: now[0])

    async def turns(seconds):
        """How many requests each turn begins."""
        counts = []
        door.waiting.extend(Request(begun) for _ in range(60))
        assert not door.has_turn()
        while door.waiting:
            before = len(begun)
            now[0] += seconds
            await asyncio.sleep(0)
            counts.append(len(begun) - before)
        await asyncio.sleep(0)
        return counts

    assert (await turns(0.0001))[:10] == [2, 3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert (await turns(0.005))[:6] == [4, 2, 1, 1, 1, 1]


async def test_many_requests_at_once_are_all_answered(server, connect):
    several = [await connect() for _ in range(50)]
    answers = await asyncio.gather(*(client.get(f"/{number}") for number, client in enumerate(several)))
    assert {answer.status for answer in answers} == {200}
    assert not server.door.waiting


async def test_pipelined_requests_are_answered_in_their_order(connect):
    client = await connect()
    client.writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /early HTTP/1.1\r\nhost: x\r\n\r\n" * 3)
    assert [(await client.whole(await client.head())).status for _ in range(6)] == [200, 413] * 3


async def test_connections_past_the_bound_get_only_health():
    with inside(connections=2) as server:
        async with clients(server.port) as connect:
            for _ in range(2):
                assert (await (await connect()).get("/a")).status == 200
            third = await connect()
            assert (await third.get("/healthz")).status == 200
            assert await third.reader.read() == b""
            fourth = await connect()
            answer = await fourth.get("/a")
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            crowd = [await connect() for _ in range(110)]
            async with asyncio.timeout(1):
                with contextlib.suppress(ConnectionError):
                    assert await crowd[-1].reader.read() == b""
            assert not crowd[0].reader.at_eof()

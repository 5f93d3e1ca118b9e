"""How the end is told to those who serve requests, and the order in which things are closed."""

import asyncio
import threading
import time

import pytest

from app.api.drain import Drain
from tests.server.inside import inside
from tests.server.processes import clients
from tests.serving import until


class One:
    def __init__(self):
        self.interrupted = 0

    def interrupt(self):
        self.interrupted += 1


async def test_what_is_under_way_is_interrupted_once_and_what_has_ended_is_not():
    drain, begun = Drain(), []
    drain.tell(lambda: begun.append(drain.begun))
    under_way, ended = One(), One()
    for one in (under_way, ended):
        drain.enter(one)
    drain.leave(ended)
    assert drain.seconds_left() == 0
    drain.begin(5)
    drain.begin(9)
    assert begun == [True]
    assert 4 < drain.seconds_left() <= 5
    assert under_way.interrupted == 0
    drain.end()
    assert (under_way.interrupted, ended.interrupted, drain.seconds_left()) == (1, 0, 0)


async def test_what_comes_too_late_is_interrupted_but_not_before_it_has_begun():
    drain = Drain()
    drain.end()
    late, gone = One(), One()
    drain.enter(late)
    drain.enter(gone)
    drain.leave(gone)
    assert late.interrupted == 0
    await asyncio.sleep(0)
    assert (late.interrupted, gone.interrupted) == (1, 0)


async def refuses(connect):
    try:
        await connect()
    except ConnectionError:
        return True
    return False


async def test_for_a_while_it_is_not_ready_and_still_answers():
    with inside(drain_delay=0.5, drain_seconds=10) as server:
        async with clients(server.port) as connect, asyncio.timeout(10):
            assert (await (await connect()).get("/readyz")).status == 200
            idle, busy = await connect(), await connect()
            assert "connection" not in (await idle.get("/a")).headers
            busy.writer.write(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
            while not server.app.held:
                await asyncio.sleep(0.01)
            server.end()
            while not server.app.drain.begun:
                await asyncio.sleep(0.01)
            new = await connect()
            answer = await new.get("/readyz")
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert await idle.reader.read() == b""
            while not await refuses(connect):
                await asyncio.sleep(0.01)
            server.app.released.set()
            answer = await busy.whole(await busy.head())
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            server.thread.join(5)
            assert not server.thread.is_alive()


@pytest.mark.parametrize("seconds", [0, 0.3])
async def test_a_request_that_is_still_arriving_is_told(seconds):
    with inside(drain_seconds=seconds) as server:
        async with clients(server.port) as connect, asyncio.timeout(10):
            client = await connect()
            client.writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\na")
            assert (await (await connect()).get("/readyz")).status == 200
            server.end()
            answer = await client.whole(await client.head())
            assert (answer.status, answer.error["code"]) == (503, "server_is_overloaded")
            until(lambda: server.app.left == ["/a"])


async def test_those_who_wait_in_line_when_the_end_begins_are_answered():
    with inside(drain_seconds=5) as server:
        began, all_sent = threading.Event(), threading.Event()

        def stand_still():
            began.set()
            assert all_sent.wait(5)
            # Longer than a tick, so that the server looks at the end before it looks at its listener.
            time.sleep(0.2)

        async with clients(server.port) as connect, asyncio.timeout(10):
            server.loop.call_soon_threadsafe(stand_still)
            await asyncio.to_thread(began.wait)
            waiting = [await connect() for _ in range(30)]
            for client in waiting:
                client.writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
                await client.writer.drain()
            server.end()
            all_sent.set()
            answers = [await client.whole(await client.head()) for client in waiting]
        assert [answer.status for answer in answers] == [200] * 30

"""The parent of several processes."""

import asyncio
import contextlib
import signal
import sys

import pytest

from app.server import Listeners, PortTakenError, listen
from tests.server.processes import children, clients, ended, exists, port_of, process, ready, said
from tests.serving import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@contextlib.asynccontextmanager
async def family():
    """Two workers and what is beside them, one of them busy; yields their parent and a client that waits."""
    with process("tests.server.family", "serve") as parent:
        port = await port_of(parent)
        await ready(port)
        async with clients(port) as connect, asyncio.timeout(10):
            until(lambda: len(children(parent.pid)) == 3)
            client = await connect()
            client.writer.write(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await (await connect()).get("/readyz")).status == 200
            yield parent, connect


async def test_a_second_signal_ends_all_at_once():
    async with family() as (parent, connect):
        family_members = children(parent.pid)
        parent.terminate()
        with contextlib.suppress(ConnectionError):
            while True:
                await connect()
                await asyncio.sleep(0.01)
        assert parent.poll() is None
        parent.send_signal(signal.SIGINT)
        assert await ended(parent, 1.5) == 128 + signal.SIGINT
        assert not any(map(exists, family_members))


async def test_without_their_parent_they_end():
    async with family() as (parent, connect):
        busy_and_idle = children(parent.pid)
        parent.kill()
        parent.wait()
        until(lambda: sum(map(exists, busy_and_idle)) <= 1)
        with pytest.raises(ConnectionError):
            await connect()
        # The client leaves, and nothing keeps the last one.
    until(lambda: not any(map(exists, busy_and_idle)))


async def test_the_first_worker_says_why_it_cannot_start():
    with process("tests.server.family", "fail") as parent:
        assert await ended(parent, 20) == 2
        assert said(parent).splitlines()[1:] == ["wrong"]


async def test_the_parent_gives_up_when_workers_die_at_their_start():
    with process("tests.server.family", "die") as parent:
        assert await ended(parent, 20) == 1
        assert "end as soon as they are started (killed by SIGKILL, 5 times in a row)" in said(parent).splitlines()[-1]


def test_a_port_that_is_listened_on_is_taken():
    listeners = Listeners("127.0.0.1", 0, 2)
    try:
        for take in (
            lambda: Listeners("127.0.0.1", listeners.address[1], 2),
            lambda: listen("127.0.0.1", listeners.address[1]),
        ):
            with pytest.raises(PortTakenError, match="cannot listen on"):
                take()
    finally:
        listeners.close()


def test_a_socket_that_was_given_up_is_opened_again():
    listeners = Listeners("127.0.0.1", 0, 2)
    try:
        first = listeners.take(0)
        listeners.give_up(0)
        assert first.fileno() == -1
        # The last one stays: somebody has to keep the port.
        listeners.give_up(1)
        assert listeners.take(1).fileno() != -1
        assert listeners.take(0).getsockname() == ("127.0.0.1", listeners.address[1])
    finally:
        listeners.close()

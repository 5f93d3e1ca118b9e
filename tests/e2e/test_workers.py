"""The proxy as several processes on one port."""

import asyncio
import contextlib
import os
import signal
import sys

import pytest

from app.emulator.server import create_emulator
from tests.bench.account import cpu_seconds
from tests.e2e.overload import bounded
from tests.server.processes import ACCOUNT, TOKEN, children, clients, ended, logged, said
from tests.serving import serving, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

CHAT = "/v1/chat/completions"
HELLO = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Write 5 words."}]}


async def test_workers_share_a_port_replace_each_other_and_finish_what_they_do():
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN, token_delay=0.05)) as emulator:
        async with bounded(emulator, workers=2) as (running, port), clients(port) as connect, asyncio.timeout(30):
            until(lambda: len(children(running.pid)) == 2)
            first, second = children(running.pid)
            # One answers nothing more. Its connections wait at its socket, and its successor answers them.
            os.kill(first, signal.SIGSTOP)
            several = [await connect() for _ in range(20)]
            answers = [asyncio.create_task(client.get("/v1/models")) for client in several]
            while not any(answer.done() for answer in answers):
                await asyncio.sleep(0.01)
            assert not all(answer.done() for answer in answers)
            os.kill(first, signal.SIGKILL)
            assert {answer.status for answer in await asyncio.gather(*answers)} == {200}
            assert "killed by SIGKILL" in said(running)
            until(lambda: len(children(running.pid)) == 2)
            assert second in children(running.pid)

            before = cpu_seconds([running.pid])
            streams = [await connect() for _ in range(20)]
            await asyncio.gather(*(client.stream(CHAT, HELLO) for client in streams))
            assert cpu_seconds([running.pid]) - before < 0.01
            # As terminals and some supervisors do it: every process gets the signal, and the parent's word besides.
            running.send_signal(signal.SIGINT)
            with contextlib.suppress(ConnectionError):
                while True:
                    await connect()
                    await asyncio.sleep(0.01)
            for pid in children(running.pid):
                os.kill(pid, signal.SIGINT)
            rests = await asyncio.gather(*(client.rest() for client in streams))
            assert all(rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for rest in rests)
            assert await ended(running, 10) == 0
            assert [line["ending"] for line in logged(running)] == ["completed"] * 20

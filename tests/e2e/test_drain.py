"""What a signal does to the real process: nothing that can be finished is cut."""

import asyncio
import json
import re
import signal
import tempfile

import httpx
import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed

from app.emulator.server import create_emulator
from tests.server.processes import ACCOUNT, TOKEN, clients, ended, logged, proxy, request, said
from tests.serving import serving, until

STREAMS = 200
SLOW = "@cf/openai/gpt-oss-20b"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"


@pytest.fixture(scope="module")
def slow():
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN, token_delay=0.1)) as address:
        yield address


def asking(path, model, text="Write 5 words."):
    return {"model": model, "input" if path == RESPONSES else "messages": [{"role": "user", "content": text}]}


async def refuses(connect):
    try:
        await connect()
    except ConnectionError:
        return True
    return False


async def test_every_live_stream_finishes(slow):
    async with proxy(slow, FLARELAY_DRAIN_SECONDS="30") as (running, port), clients(port) as connect:
        idle = await connect()
        assert (await idle.get("/healthz")).status == 200
        streams = {await connect(): path for path in [CHAT, RESPONSES] * (STREAMS // 2)}
        async with asyncio.timeout(30):
            await asyncio.gather(*(client.stream(path, asking(path, SLOW)) for client, path in streams.items()))
            unstreamed = await connect()
            late = asyncio.create_task(unstreamed.send("POST", CHAT, asking(CHAT, SLOW)))
            await asyncio.sleep(0)
            running.send_signal(signal.SIGTERM)
            assert await idle.reader.read() == b""
            while not await refuses(connect):
                await asyncio.sleep(0.01)
            rests = await asyncio.gather(*(client.rest() for client in streams))
            answer = await unstreamed.whole(await late)
        assert all(b"data: [DONE]" in rest and b'"error":{' not in rest for rest in rests)
        assert all(b"response.completed" in rest for rest in rests[1::2])
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert await ended(running, 10) == 0
        assert [line["ending"] for line in logged(running)] == ["completed"] * (STREAMS + 1)
        assert said(running).count("\n") == 1


@pytest.fixture(scope="module")
def quick():
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN)) as address:
        yield address


@pytest.fixture
def received(quick):
    """What the upstream was asked, and how that ended."""
    with httpx.Client(base_url=f"{quick}/_emulator", trust_env=False) as control:
        yield lambda: [each for each in control.get("/requests").json() if each["method"] == "POST"]
        control.delete("/requests").raise_for_status()


async def test_what_lasts_longer_ends_with_an_error(quick, received):
    stall, hang = "@cf/emulator/stall", "@cf/emulator/hang"
    async with proxy(quick, FLARELAY_DRAIN_SECONDS="0.5") as (running, port), clients(port) as connect:
        chat, responses, choices, unread, silent, uploading = [await connect() for _ in range(6)]
        socket = await connect_socket(f"ws://127.0.0.1:{port}{RESPONSES}", proxy=None)
        async with asyncio.timeout(20):
            await chat.stream(CHAT, asking(CHAT, stall))
            await responses.stream(RESPONSES, asking(RESPONSES, stall))
            await choices.stream(CHAT, {**asking(CHAT, stall), "n": 2})
            unread.writer.transport.pause_reading()
            long = {**asking(RESPONSES, "gpt-oss-20b", "Write 20000 words."), "stream": True, "store": False}
            unread.writer.write(request(RESPONSES, long))
            waiting = asyncio.create_task(silent.send("POST", CHAT, asking(CHAT, hang)))
            uploading.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
            await socket.send(json.dumps({"type": "response.create", **asking(RESPONSES, stall)}))
            events = [json.loads(await socket.recv())]
            while len(received()) < 7:
                await asyncio.sleep(0.01)
            running.send_signal(signal.SIGTERM)
            while "interrupted" not in said(running):
                await asyncio.sleep(0.01)
            unread.writer.transport.resume_reading()
            ends = [await client.rest() for client in (chat, responses, choices, unread)]
            refusals = [await silent.whole(await waiting), await uploading.whole(await uploading.head())]
            await uploading.aclose()
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    events.append(json.loads(await socket.recv()))
            assert await ended(running, 10) == 0
        lines, printed = logged(running), said(running)
    assert all(b"server_is_overloaded" in end and b"shutting down" in end for end in ends)
    assert [b"[DONE]" in end for end in ends] == [False, True, False, True]
    assert b"event: response.failed" in ends[1]
    # What was written before it was interrupted, and could not be sent, is not lost.
    numbers = [int(number) for number in re.findall(rb'"sequence_number":(\d+)', ends[3])]
    assert numbers == list(range(len(numbers)))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert closed.value.rcvd.code == 1012
    for answer in refusals:
        assert (answer.status, answer.error["code"]) == (503, "server_is_overloaded")
        assert answer.headers["retry-after"] == "1"
    assert {line["ending"] for line in lines} <= {"failed", "refused", "disconnected"}
    # The upstream hears of it when it gets to it. What nobody read may all be in the kernel's buffers, and then its end
    # was sent before.
    unfinished = [each for each in received() if not each["completed"]]
    assert len(unfinished) >= 6
    until(lambda: all(each["closed_early"] for each in received() if not each["completed"]))
    assert "Traceback" not in printed


async def test_a_second_signal_ends_it_at_once(quick, received):
    async with proxy(quick) as (running, port), clients(port) as connect:
        client = await connect()
        await client.stream(CHAT, asking(CHAT, "@cf/emulator/stall"))
        running.send_signal(signal.SIGTERM)
        while not await refuses(connect):
            await asyncio.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        assert await ended(running, 1) == 128 + signal.SIGTERM
        assert [line["ending"] for line in logged(running)] == ["failed"]


async def test_background_work_is_given_back(quick, received):
    asked = {**asking(RESPONSES, "@cf/emulator/stall"), "background": True}
    with tempfile.TemporaryDirectory(prefix="flarelay-test-") as folder:
        settings = {"FLARELAY_DATA_DIR": folder, "FLARELAY_DRAIN_SECONDS": "0"}
        async with proxy(quick, **settings) as (running, port), clients(port) as connect:
            client = await connect()
            made = json.loads((await client.post(RESPONSES, asked)).body)
            while not received():
                await asyncio.sleep(0.01)
            running.send_signal(signal.SIGINT)
            assert await ended(running, 10) == 0
        async with proxy(quick, **settings) as (_, port), clients(port) as connect, asyncio.timeout(8):
            # Much earlier than the lease of the first process would have ended.
            while len(received()) < 2:
                await asyncio.sleep(0.01)
            client = await connect()
            assert json.loads((await client.get(f"{RESPONSES}/{made['id']}")).body)["status"] == "in_progress"

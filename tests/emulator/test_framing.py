"""How a stream is cut up, wrapped and littered, and that its text stays what it was."""

import gzip
from email.utils import parsedate_to_datetime

import httpx
import orjson
import pytest

from app.emulator.server import create_emulator

GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"
CHAT = f"/client/v4/accounts/{'a' * 32}/ai/v1/chat/completions"
TEXT = "naïve 日本 😀 done"
ASK = f"Say exactly: {TEXT}"


def blocks(text):
    """Read an event stream as the standard says: events as (name, data), comments and unknown fields aside."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events, name, data = [], "message", []
    for line in lines:
        if not line:
            if data:
                events.append((name, "\n".join(data)))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
    assert not data
    return events


def frames_of(text):
    found = []
    for name, data in blocks(text):
        if name == "message" and data.startswith("{"):
            try:
                found.append(orjson.loads(data))
            except orjson.JSONDecodeError:
                continue
    return found


def said(frames):
    deltas = [frame["choices"][0]["delta"] for frame in frames if frame.get("choices")]
    chat = "".join(delta.get("content") or "" for delta in deltas)
    return chat + "".join(str(frame.get("response") or "") for frame in frames)


async def say(client, model, fault, **more):
    """Ask for the text under a fault, and make sure that the fault was played."""
    body = {"messages": [{"role": "user", "content": ASK}], **more}
    answer = await client.chat(model, body, headers={"x-emulator-fault": fault})
    assert (await client.received())[-1]["scenario"] == fault.partition(":")[0]
    return answer


HARMLESS = [
    "bom", "cr", "crlf", "comments", "drip:0", "duplicate-frames", "event-names", "garbage-bytes", "garbage-frame",
    "gzip", "huge-frame", "no-space-data", "one-write", "pause:0.001", "split", "split-utf8", "sse-fields",
]  # fmt: skip


@pytest.mark.parametrize("fault", HARMLESS)
@pytest.mark.parametrize("model", [GPT, LLAMA])
async def test_the_text_is_whole_under_every_fault_that_harms_none(live, model, fault):
    answer = await say(live, model, fault, stream=True)
    frames = frames_of(answer.content.decode("utf-8", "replace"))
    assert said(frames) == TEXT
    assert "[DONE]" in answer.text
    native = await live.run(LLAMA, {"prompt": ASK, "stream": True}, headers={"x-emulator-fault": fault})
    assert said(frames_of(native.content.decode("utf-8", "replace"))) == TEXT
    whole = await say(live, model, fault)
    assert whole.json()["choices"][0]["message"]["content"] == TEXT


async def writes(live, fault):
    """The writes of a stream, each of which is a chunk of the transfer encoding."""
    async with live.stream(
        "POST",
        CHAT,
        json={"model": LLAMA, "stream": True, "messages": [{"role": "user", "content": ASK}]},
        headers={"x-emulator-fault": fault, "accept-encoding": "identity"},
    ) as answer:
        return [piece async for piece in answer.aiter_raw()], answer.headers


async def test_everything_in_one_write(live):
    (whole,), _ = await writes(live, "one-write")
    assert whole.endswith(b"data: [DONE]\n\n")


async def test_a_drip_is_one_byte_at_a_time(live):
    pieces, _ = await writes(live, "drip:0.0001")
    assert {len(piece) for piece in pieces} == {1}


async def test_writes_end_inside_characters(live):
    pieces, _ = await writes(live, "split-utf8")
    broken = [piece for piece in pieces if not _is_utf8(piece)]
    # Of the four characters of more than one byte each byte but the first begins a write.
    assert len([piece for piece in pieces if piece[0] & 0xC0 == 0x80]) == 1 + 2 + 2 + 3
    assert len(broken) >= 8
    assert _is_utf8(b"".join(pieces))


def _is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


async def test_gzip_comes_unasked_and_frame_by_frame(live):
    pieces, headers = await writes(live, "gzip")
    assert headers["content-encoding"] == "gzip"
    assert len(pieces) > 5
    assert gzip.decompress(b"".join(pieces)).endswith(b"data: [DONE]\n\n")


async def test_a_byte_order_mark_comes_once(live):
    pieces, _ = await writes(live, "bom")
    whole = b"".join(pieces)
    assert whole.startswith(b"\xef\xbb\xbfdata: ")
    assert whole.count(b"\xef\xbb\xbf") == 1


async def test_lines_end_with_a_bare_return(live):
    whole = b"".join((await writes(live, "cr"))[0])
    assert b"\n" not in whole
    assert whole.endswith(b"data: [DONE]\r\r")


async def test_fields_and_names_that_nobody_asked_for(live):
    text = b"".join((await writes(live, "event-names"))[0]).decode()
    assert {name for name, _ in blocks(text)} == {"message", "ping"}
    text = b"".join((await writes(live, "sse-fields"))[0]).decode()
    assert text.startswith("id: 7\nretry: 3000\ncolour: green\ndata: {")


async def test_a_huge_frame_is_one_frame(live):
    answer = await say(live, GPT, "huge-frame", stream=True)
    sizes = sorted(len(data) for _, data in blocks(answer.text))
    assert sizes[-1] > 1024 * 1024
    assert sizes[-2] < 1000


@pytest.mark.parametrize("model", [GPT, LLAMA, "@cf/zai-org/glm-5.3-flash"])
async def test_only_frames_that_add_nothing_come_twice(live, model):
    plain = frames_of((await live.say(model, ASK, stream=True)).text)
    answer = await say(live, model, "duplicate-frames", stream=True)
    doubled = frames_of(answer.text)
    extra = len(doubled) - len(plain)
    assert extra >= 1
    assert answer.text.count(": keep-alive") == 2 * extra
    again = [frame for place, frame in enumerate(doubled) if place and frame == doubled[place - 1]]
    assert all(not said([frame]) for frame in again)
    deltas = [frame["choices"][0]["delta"] for frame in again if frame["choices"]]
    assert all(delta in ({}, {"role": "assistant", "content": ""}) for delta in deltas)


async def test_ends_that_look_orderly(client):
    for fault, whole_frames in (("cut-clean", True), ("cut-frame-clean", False)):
        text = (await client.say(f"@cf/emulator/{fault}", ASK, stream=True)).text
        assert "[DONE]" not in text
        assert text.endswith("\n\n") is whole_frames
        body = (await client.say(f"@cf/emulator/{fault}", ASK)).content
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(body)
    empty = await client.say("@cf/emulator/empty-stream", ASK, stream=True)
    assert (empty.status_code, empty.headers["content-type"], empty.content) == (200, "text/event-stream", b"")
    assert (await client.say("@cf/emulator/empty-stream", ASK)).content == b""


async def test_the_quota_inside_a_stream(client, frames):
    (only,) = frames(await client.say("@cf/emulator/quota-in-stream", "Hi", stream=True))
    assert only["errors"][0]["code"] == 3036


async def test_waits_are_told_in_every_form():
    transport = httpx.ASGITransport(create_emulator(clock=lambda: 1_790_000_000.0))
    told = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator") as client:
        for form in ("seconds", "zero", "fraction", "ms", "date", "past", "long", "negative", "junk"):
            body = {"model": f"@cf/emulator/retry-after-{form}", "messages": []}
            answer = await client.post(CHAT, json=body, headers={"authorization": "Bearer x"})
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (429, 3021)
            told[form] = answer.headers.get("retry-after", answer.headers.get("retry-after-ms"))
    dates = {form: parsedate_to_datetime(told.pop(form)).timestamp() - 1_790_000_000 for form in ("date", "past")}
    assert dates == {"date": 2, "past": -60}
    assert told == {
        "seconds": "1", "zero": "0", "fraction": "0.25", "ms": "250", "long": "86400", "negative": "-5", "junk": "soon",
    }  # fmt: skip


@pytest.mark.parametrize("status", [200, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530])
async def test_pages_come_under_their_status(live, status):
    answer = await say(live, GPT, f"html-{status}", stream=True)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert answer.text.startswith("<!DOCTYPE html>")

"""Faults on the wire, over a real socket."""

import asyncio
import re

import httpx
import orjson
import pytest

GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"


CHAT = f"/client/v4/accounts/{'a' * 32}/ai/v1/chat/completions"


def chat(model, text, **more):
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": text}], **more}


def events(text):
    return [orjson.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]


def said(text):
    deltas = [frame["choices"][0]["delta"] for frame in events(text) if frame.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)


async def until_streams_are(live, number):
    """Ask until the emulator has noticed; the client's time limit bounds the test."""
    async with asyncio.timeout(4):
        while (await live.get("/_emulator/streams")).json() != {"open": number, "in_flight": number}:
            pass


@pytest.mark.parametrize("model", ["@cf/emulator/cut", "@cf/emulator/cut-first"])
async def test_a_cut_breaks_the_connection(live, model):
    pieces = []

    async def read():
        async with live.stream("POST", CHAT, json=chat(model, "Say exactly: one two three four")) as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_text():
                pieces.append(piece)

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await read()
    text = "".join(pieces)
    assert "[DONE]" not in text
    assert said(text) == ("" if model.endswith("first") else "one two three")
    (record,) = await live.received()
    assert (record["completed"], record["closed_early"]) == (False, False)


async def test_a_cut_breaks_unstreamed_answers_too(live):
    with pytest.raises(httpx.RemoteProtocolError):
        await live.say("@cf/emulator/cut", "Hi")


async def test_clean_end_without_a_finish(live):
    text = (await live.say("@cf/emulator/cut-clean", "Say exactly: one two three four", stream=True)).text
    assert said(text) == "one two three"
    assert "[DONE]" not in text
    assert '"finish_reason":"stop"' not in text


async def test_no_done_has_finish_and_usage(live):
    text = (await live.say("@cf/emulator/no-done", "Hi", stream=True)).text
    assert "[DONE]" not in text
    assert events(text)[-1]["usage"]["completion_tokens"] > 0


async def test_error_frames(live):
    envelope = events((await live.say("@cf/emulator/error-mid-stream", "count to 9", stream=True)).text)
    assert envelope[-1]["errors"][0]["code"] == 3040
    assert envelope[-1]["success"] is False
    only = events((await live.say("@cf/emulator/error-first-frame", "Hi", stream=True)).text)
    assert len(only) == 1
    text = (await live.say("@cf/emulator/error-mid-stream-object", "count to 9", stream=True)).text
    assert events(text)[-1]["error"]["message"]
    assert text.endswith("data: [DONE]\n\n")


async def test_framings(live):
    crlf = await live.say("@cf/emulator/crlf", "Hi", stream=True)
    assert crlf.content.count(b"\r\n\r\n") == crlf.content.count(b"\n") / 2
    tight = await live.say("@cf/emulator/no-space-data", "Hi", stream=True)
    assert b"data: " not in tight.content
    assert tight.text.endswith("data:[DONE]\n\n")
    comments = await live.say("@cf/emulator/comments", "Hi", stream=True)
    assert comments.text.startswith(": keep-alive\n\ndata: {")
    garbage = await live.say("@cf/emulator/garbage-frame", "Say exactly: 1 2 3", stream=True)
    assert "data: {not json\n\n" in garbage.text


async def test_split_writes_single_bytes(live):
    sizes = set()
    body = chat("@cf/emulator/split", "Say exactly: é")
    async with live.stream("POST", CHAT, json=body) as answer:
        async for piece in answer.aiter_raw():
            sizes.add(len(piece))
    assert sizes == {1}


async def test_json_in_place_of_a_stream(live):
    whole = await live.say("@cf/emulator/json-for-stream", "Say exactly: hey", stream=True)
    assert whole.headers["content-type"] == "application/json"
    assert whole.json()["choices"][0]["message"]["content"] == "hey"
    assert (await live.say("@cf/emulator/json-empty-for-stream", "Hi", stream=True)).json()["result"] == {}
    failed = await live.say("@cf/emulator/json-error-for-stream", "Hi", stream=True)
    assert (failed.status_code, failed.json()["success"]) == (200, False)


async def test_a_client_that_leaves_a_stalled_stream_is_noticed(live):
    body = chat("@cf/emulator/stall", "count to 9")
    async with live.stream("POST", CHAT, json=body) as answer:
        assert re.match(r"data: \{", await anext(answer.aiter_text()))
        await until_streams_are(live, 1)
    await until_streams_are(live, 0)
    (record,) = await live.received()
    assert record["closed_early"] is True
    assert record["completed"] is False
    assert record["scenario"] == "stall"


async def test_a_client_that_leaves_a_running_stream_is_noticed(live, raw_stream):
    await live.fault("slow", seconds=0.01)
    with raw_stream(GPT, "count to 3000") as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    await until_streams_are(live, 0)
    (record,) = await live.received()
    assert record["closed_early"] is True


async def test_a_client_that_gives_up_waiting_is_noticed(live):
    with pytest.raises(httpx.ReadTimeout):
        await live.post(CHAT, json=chat("@cf/emulator/hang", "Hi"), timeout=0.1)
    async with asyncio.timeout(4):
        while not [record for record in await live.received() if record["closed_early"]]:
            pass
    (record,) = await live.received()
    assert record["status"] is None
    await until_streams_are(live, 0)


async def test_a_whole_stream_is_completed(live):
    await live.say(GPT, "Hi", stream=True)
    (record,) = await live.received()
    assert (record["completed"], record["closed_early"], record["status"]) == (True, False, 200)


async def test_slow_first_waits_as_told(live):
    loop = asyncio.get_running_loop()
    started = loop.time()
    await live.say("@cf/emulator/slow-first:0.2", "Hi", stream=True)
    assert loop.time() - started >= 0.2
    await live.fault("slow-first", seconds=0.1, model=GPT)
    started = loop.time()
    await live.say(GPT, "Hi")
    assert loop.time() - started >= 0.1


async def test_slow_pauses_before_every_frame(live):
    await live.fault("slow", seconds=0.01)
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await live.say(LLAMA, "Say exactly: a b c", stream=True)
    assert loop.time() - started >= 0.01 * len(events(answer.text))


async def test_a_queued_fault_hits_the_next_matching_requests_only(live):
    await live.fault("capacity", times=2, model=GPT)
    statuses = [(await live.say(model, "Hi")).status_code for model in (LLAMA, GPT, GPT, GPT)]
    assert statuses == [200, 429, 429, 200]
    assert (await live.get("/_emulator/faults")).json() == []


async def test_a_fault_can_be_bound_to_a_path_and_taken_back(live, ai):
    await live.fault("unauthorized", path="/models/search", times=None)
    assert (await live.say(GPT, "Hi")).status_code == 200
    assert (await live.get(f"{ai}/models/search")).status_code == 401
    assert (await live.get(f"{ai}/models/search")).status_code == 401
    await live.delete("/_emulator/faults")
    assert (await live.get(f"{ai}/models/search")).status_code == 200


async def test_the_free_plan_refuses_paid_models_only(live):
    assert (await live.say("@cf/zai-org/glm-5.2", "Hi")).status_code == 200
    await live.post("/_emulator/faults", json={"plan": "free"})
    refused = await live.say("@cf/zai-org/glm-5.2", "Hi")
    assert (refused.status_code, refused.json()["result"]) == (403, {})
    assert refused.json()["errors"][0]["code"] == 5035
    assert (await live.say(GPT, "Hi")).status_code == 200


async def test_any_status_can_be_had(live):
    await live.fault("status", status=503, body={"oops": True}, headers={"retry-after": "7"})
    answer = await live.say(GPT, "Hi")
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (503, {"oops": True}, "7")


@pytest.mark.parametrize(
    "fault",
    [{"fault": "nonsense"}, {"fault": "cut", "colour": 1}, {"fault": "cut", "times": 0}, {"plan": "gold"}, []],
)
async def test_a_fault_that_makes_no_sense_is_refused(live, fault):
    assert (await live.post("/_emulator/faults", json=fault)).status_code == 400


async def test_records_hide_the_token(live):
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    await live.chat(GPT, body, headers={"x-session-affinity": "s"})
    (record,) = await live.received()
    assert record["headers"]["authorization"] == "***"
    assert record["headers"]["x-session-affinity"] == "s"
    assert record["body"]["model"] == GPT
    assert record["method"] == "POST"
    assert record["path"].endswith("/ai/v1/chat/completions")

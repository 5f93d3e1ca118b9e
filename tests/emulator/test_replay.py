"""Recordings: what is read from a folder, which one answers, and that it answers byte for byte."""

import asyncio
import hashlib
import json
import socket
import time
from pathlib import Path

import httpx
import pytest

from app.emulator.server import create_emulator
from app.emulator.transcripts import Library, TranscriptError, asked_of
from tests.serving import serving

ACCOUNT = "0123456789abcdef0123456789abcdef"
AI = f"/client/v4/accounts/{ACCOUNT}/ai"
CHAT = "/ai/v1/chat/completions"
GPT = "@cf/openai/gpt-oss-20b"
OTHER = "@cf/meta/llama-3.1-8b-instruct-fp8"
TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"


def body(text, model=GPT):
    return {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}


def record(root, name, request, data=b"", answer=None, file="upstream.sse"):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "request.json").write_text(json.dumps(request))
    if data:
        (folder / file).write_bytes(data)
    if answer is not None:
        (folder / "answer.json").write_text(json.dumps(answer))


def chat(text, model=GPT):
    return {"model": model, "path": CHAT, "body": body(text, model)}


def client_of(root, **options):
    transport = httpx.ASGITransport(create_emulator(replay=root, **options))
    return httpx.AsyncClient(
        transport=transport, base_url="http://emulator", headers={"authorization": "Bearer x"}, timeout=5
    )


async def ask(client, text, model=GPT, path="v1/chat/completions"):
    return await client.post(f"{AI}/{path}", json=body(text, model))


async def test_a_body_finds_its_recording_whatever_the_order_of_its_keys(tmp_path):
    record(tmp_path, "1", chat("one"), b"data: 1\n\n")
    record(tmp_path, "2", chat("two"), b"data: 2\n\n")
    async with client_of(tmp_path) as client:
        for _ in range(2):
            assert (await ask(client, "two")).text == "data: 2\n\n"
        mixed = json.dumps(dict(reversed(body("one").items())), indent=3)
        answer = await client.post(f"{AI}/v1/chat/completions", content=mixed)
        assert (answer.text, answer.headers["content-type"]) == ("data: 1\n\n", "text/event-stream")
        gateway = await client.post(f"/v1/{ACCOUNT}/mine/workers-ai/v1/chat/completions", json=body("two"))
        assert gateway.text == "data: 2\n\n"
        shown = (await client.get("/_emulator/replay")).json()
    assert shown == {"recordings": {"1": {"body": 1, "order": 0}, "2": {"body": 3, "order": 0}}, "missed": []}


async def test_other_words_are_answered_in_order_each_recording_once(tmp_path):
    for number in (1, 2, 3):
        record(tmp_path, f"{number}", chat(f"recorded {number}"), f"data: {number}\n\n".encode())
    record(tmp_path, "0", chat("other model", OTHER), b"data: other\n\n")
    async with client_of(tmp_path) as client:
        assert (await ask(client, "recorded 2")).text == "data: 2\n\n"
        assert [(await ask(client, "new words")).text for _ in range(2)] == ["data: 1\n\n", "data: 3\n\n"]
        refused = await ask(client, "secret words")
        assert refused.status_code == 404
        (error,) = refused.json()["errors"]
        assert error["code"] == 7000
        assert error["message"] == (
            f"No recording for POST {CHAT} with the model {GPT}: none of the 3 for it has this body, "
            "and all have been served in order"
        )
        assert (await ask(client, "recorded 3")).text == "data: 3\n\n"
        assert (await client.delete("/_emulator/replay")).status_code == 204
        assert (await ask(client, "new words")).text == "data: 1\n\n"


async def test_what_was_never_recorded_is_named_and_nothing_of_its_body(tmp_path):
    record(tmp_path, "1", chat("one"), b"data: 1\n\n")
    async with client_of(tmp_path) as client:
        answers = [
            await ask(client, "secret", "@cf/acme/none"),
            await client.get(f"{AI}/models/search?per_page=9&page=2"),
            await client.post(f"{AI}/run/@cf/baai/bge-m3", json={"text": "secret"}),
        ]
        shown = (await client.get("/_emulator/replay")).json()
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["success"] for answer in answers} == {False}
    assert [answer.json()["errors"][0]["message"] for answer in answers] == [
        "No recording for POST /ai/v1/chat/completions with the model @cf/acme/none",
        "No recording for GET /ai/models/search?page=2&per_page=9",
        "No recording for POST /ai/run/@cf/baai/bge-m3 with the model @cf/baai/bge-m3",
    ]
    assert len(shown["missed"]) == 3
    assert "secret" not in str(shown) + "".join(answer.text for answer in answers)


async def test_alike_recordings_take_turns(tmp_path):
    record(tmp_path, "1", chat("x"), b'{"errors":[]}', {"status": 429}, "upstream.json")
    record(tmp_path, "2", chat("x"), b"data: 2\n\n")
    async with client_of(tmp_path) as client:
        assert [(await ask(client, "x")).status_code for _ in range(4)] == [429, 200, 429, 200]


async def test_an_answer_comes_with_its_status_and_headers(tmp_path):
    answer = {
        "status": 429,
        "headers": [
            ["content-type", "application/json; charset=x"],
            ["cf-ray", "abc-OSL"],
            ["x-twice", "1"],
            ["x-twice", "2"],
            ["transfer-encoding", "chunked"],
            ["content-length", "9999"],
            ["set-cookie", "session=secret"],
        ],
    }
    record(tmp_path, "1", chat("x"), b'{"a":1}', answer, "upstream.json")
    async with client_of(tmp_path) as client:
        got = await ask(client, "x")
    assert (got.status_code, got.content) == (429, b'{"a":1}')
    assert got.headers["content-type"] == "application/json; charset=x"
    assert got.headers.get_list("cf-ray") == ["abc-OSL"]
    assert got.headers.get_list("x-twice") == ["1", "2"]
    assert got.headers["content-length"] == "7"
    assert "set-cookie" not in got.headers


async def test_listings_and_bodies_that_are_no_json_can_be_recorded(tmp_path):
    listing = {"method": "GET", "path": f"{AI}/models/search?page=1&per_page=50"}
    record(tmp_path, "list", listing, b'{"result":[]}', file="upstream.json")
    sound = b"RIFF...."
    digest = hashlib.sha256(sound).hexdigest()
    whisper = {"model": "@cf/openai/whisper", "path": "/ai/run/@cf/openai/whisper", "body_sha256": digest}
    record(tmp_path, "sound", whisper, b'{"result":{}}', file="upstream.json")
    record(tmp_path, "speech", {"path": "/ai/run/@cf/deepgram/aura-1"}, b"ID3", file="upstream.bin")
    async with client_of(tmp_path) as client:
        found = await client.get(f"{AI}/models/search", params={"per_page": 50, "page": 1})
        assert found.json() == {"result": []}
        heard = await client.post(f"{AI}/run/%40cf/openai/whisper", content=sound)
        assert heard.json() == {"result": {}}
        spoken = await client.post(f"{AI}/run/@cf/deepgram/aura-1", json={"text": "Hi"})
        assert (spoken.content, spoken.headers["content-type"]) == (b"ID3", "application/octet-stream")
        shown = (await client.get("/_emulator/replay")).json()["recordings"]
    assert shown["sound"] == {"body": 1, "order": 0}


def raw(address, text):
    """Send one request over a bare socket; return the raw answer behind its head, and how it ended."""
    data = json.dumps(body(text)).encode()
    head = (
        f"POST {AI}/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nConnection: close\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    host, port = address.removeprefix("http://").split(":")
    pieces = []
    ended = "closed"
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(head.encode() + data)
        try:
            while piece := sock.recv(65536):
                pieces.append(piece)
        except ConnectionResetError:
            ended = "reset"
    return b"".join(pieces).partition(b"\r\n\r\n")[2], ended


def test_chunks_are_those_that_were_recorded_and_so_is_the_end(tmp_path):
    stream = 'data: {"é":1}\n\ndata: [DONE]\n\n'.encode()
    sizes = [7, 2, len(stream) - 9]
    chunks = [[0.1 * place, size] for place, size in enumerate(sizes)]
    for end in ("whole", "cut", "reset"):
        record(tmp_path, end, chat(end), stream, {"chunks": chunks, "end": end})
    cut = [stream[:7], stream[7:9], stream[9:]]
    expected = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in cut)
    with serving(create_emulator(replay=tmp_path)) as address:
        assert raw(address, "whole") == (expected + b"0\r\n\r\n", "closed")
        assert raw(address, "cut") == (expected, "closed")
        assert raw(address, "reset") == (expected, "reset")


async def test_time_is_kept_only_when_asked_for(tmp_path):
    record(tmp_path, "short", chat("x"), b"abcdef", {"started": 0.1, "chunks": [[0.15, 3], [0.25, 3]]})
    record(tmp_path, "long", chat("y"), b"abcdef", {"started": 500, "chunks": [[600, 3], [700, 3]]})
    async with client_of(tmp_path, replay_timing=True) as client:
        started = time.monotonic()
        assert (await ask(client, "x")).text == "abcdef"
        assert time.monotonic() - started >= 0.24
    async with client_of(tmp_path) as client, asyncio.timeout(60):
        assert (await ask(client, "y")).text == "abcdef"


async def test_a_fault_that_was_asked_for_goes_before_a_recording(tmp_path):
    record(tmp_path, "1", chat("x"), b"data: 1\n\n")
    async with client_of(tmp_path) as client:
        url = f"{AI}/v1/chat/completions"
        failed = await client.post(url, json=body("x"), headers={"x-emulator-fault": "html-502"})
        assert failed.status_code == 502
        squeezed = await client.post(url, json=body("x"), headers={"x-emulator-fault": "gzip"})
        assert (squeezed.headers["content-encoding"], squeezed.text) == ("gzip", "data: 1\n\n")
        shown = (await client.get("/_emulator/replay")).json()["recordings"]
    assert shown == {"1": {"body": 1, "order": 0}}


async def test_the_tests_own_transcripts_are_recordings():
    names = sorted(path.parent.name for path in TRANSCRIPTS.glob("*/request.json"))
    asked = json.loads((TRANSCRIPTS / "crlf" / "request.json").read_text())["model"]
    async with client_of(TRANSCRIPTS) as client:
        assert list((await client.get("/_emulator/replay")).json()["recordings"]) == names
        answer = await ask(client, "anything", asked)
    streams = {(TRANSCRIPTS / name / "upstream.sse").read_bytes() for name in names}
    assert answer.status_code == 200
    assert answer.content in streams


async def test_a_token_is_wanted_here_too(tmp_path):
    record(tmp_path, "1", chat("x"), b"data: 1\n\n")
    async with client_of(tmp_path, token="right") as client:
        assert (await ask(client, "x")).status_code == 401


def test_what_a_request_is_known_by():
    plain = asked_of("POST", f"{AI}/run/@cf/a/b", "b=2&a=1", b'{"x":1,"a":[1.0]}')
    same = asked_of("post", f"/v1/{ACCOUNT}/gate/workers-ai/run/%40cf%2Fa%2Fb", "a=1&b=2", b'{ "a":[1.0], "x":1 }')
    assert plain == same
    assert (plain.path, plain.model) == ("/ai/run/@cf/a/b?a=1&b=2", "@cf/a/b")
    assert asked_of("POST", f"{AI}/run/@cf/a/b", "", b'{"x":2}').body != plain.body
    assert asked_of("GET", f"{AI}/models/search", "", b"").body is None


@pytest.mark.parametrize(
    ("request_json", "answer", "complaint"),
    [
        ("[]", None, "object"),
        ("{", None, "request.json"),
        ('{"model": 5}', None, "texts"),
        ('{"model": "m"}', '{"chunks": [[0, 1], [0, 99]]}', "add up"),
        ('{"model": "m"}', '{"chunks": [[0, 10], [0, -3]]}', "add up"),
        ('{"model": "m"}', '{"chunks": [5]}', "answer"),
        ('{"model": "m"}', '{"end": "later"}', "end"),
        ('{"model": "m"}', '{"status": "fine"}', "fine"),
    ],
)
def test_a_recording_that_cannot_be_read_is_named(tmp_path, request_json, answer, complaint):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "request.json").write_text(request_json)
    (folder / "upstream.sse").write_bytes(b"data: 1")
    if answer is not None:
        (folder / "answer.json").write_text(answer)
    with pytest.raises(TranscriptError, match="broken") as caught:
        Library(tmp_path)
    assert complaint in str(caught.value) or complaint == "answer"


def test_a_folder_without_recordings_and_two_bodies_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no recording"):
        create_emulator(replay=tmp_path)
    record(tmp_path, "1", chat("x"), b"1")
    (tmp_path / "1" / "upstream.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match="more than one body"):
        create_emulator(replay=tmp_path)


def test_chaos_has_nothing_to_strike_in_a_replay():
    with pytest.raises(ValueError, match="choose one"):
        create_emulator(replay=TRANSCRIPTS, chaos=0.1)


async def test_without_recordings_there_is_nothing_to_tell(client):
    assert (await client.get("/_emulator/replay")).status_code == 404

"""The recorder between a client and an upstream on real sockets: what passes, what is written, and what never is."""

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from click.testing import CliRunner

from app.cli import main
from app.cloudflare.transport import Transport
from app.emulator.server import create_emulator
from app.emulator.transcripts import Library
from app.recorder.server import Recorder, create_recorder
from app.wire.sse import Framer
from tests.serving import serving, until

ACCOUNT = "0123456789abcdef0123456789abcdef"
CLIENTS = "fedcba9876543210fedcba9876543210"
TOKEN = "cfut_token-of-the-operator-0123456789"
AI = f"/client/v4/accounts/{CLIENTS}/ai"
CHAT = f"{AI}/v1/chat/completions"
GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"


@contextlib.contextmanager
def recording(out, upstream, **options):
    """A recorder in front of an upstream; gives its address and the lines that it says."""
    said = []
    transport = Transport(max_connections=10)
    known = {"account_id": ACCOUNT, "token": TOKEN, **options}
    recorder = Recorder(out, f"{upstream}/client/v4", transport, time.perf_counter, say=said.append, **known)
    with serving(create_recorder(recorder, transport)) as address:
        yield address, said


@pytest.fixture(scope="module")
def upstream():
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN)) as address:
        yield address


def raw(address, body, path=CHAT, headers=(), method="POST"):
    """Send one request over a bare socket; return the head and the raw body of the answer, and how it ended."""
    data = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(data)}", *headers]
    host, port = address.removeprefix("http://").split(":")
    pieces = []
    ended = "closed"
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + data)
        try:
            while piece := sock.recv(65536):
                pieces.append(piece)
        except ConnectionResetError:
            ended = "reset"
    head, _, got = b"".join(pieces).partition(b"\r\n\r\n")
    return head.decode("latin-1"), got, ended


def unchunked(got):
    body = b""
    while got and (size := int(got.partition(b"\r\n")[0], 16)):
        start = got.index(b"\r\n") + 2
        body += got[start : start + size]
        got = got[start + size + 2 :]
    return body


def chat(text, model=LLAMA, *, stream=True, **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **more}


def folders(out):
    return sorted(path.name for path in out.iterdir())


def answer_of(out, name):
    return json.loads((out / name / "answer.json").read_text())


def test_what_is_recorded_replays_byte_for_byte(tmp_path, upstream):
    asked = [
        (CHAT, chat("Count to 30.")),
        (CHAT, chat("Write 20 words.", GPT, max_tokens=99)),
        (CHAT, chat("Write 20 words.", GPT, stream=False)),
        (f"{AI}/run/{LLAMA}", {"prompt": "Count to 9.", "stream": True, "max_tokens": 64}),
        (f"{AI}/run/%40cf/baai/bge-m3", {"text": ["é", "\u2028"]}),
        (f"{AI}/run/@cf/black-forest-labs/flux-1-schnell", {"prompt": "a cat"}),
        (CHAT, chat("x", "@cf/acme/none")),
    ]
    with recording(tmp_path, upstream) as (address, said):
        direct = [raw(address, body, path) for path, body in asked]
        listed = raw(address, None, f"{AI}/models/search?per_page=2&page=1", method="GET")
        until(lambda: len(said) == len(asked) + 1)
    assert folders(tmp_path) == [
        "00001-llama-3.1-8b-instruct-fp8-stream",
        "00002-gpt-oss-20b-stream",
        "00003-gpt-oss-20b-unstreamed",
        "00004-llama-3.1-8b-instruct-fp8-stream",
        "00005-bge-m3-unstreamed",
        "00006-flux-1-schnell-unstreamed",
        "00007-none-unstreamed",
        "00008-search-unstreamed",
    ]
    with serving(create_emulator(replay=tmp_path)) as address:
        credentials = ["Authorization: Bearer x"]
        again = [raw(address, body, path, credentials) for path, body in reversed(asked)][::-1]
        relisted = raw(address, None, f"{AI}/models/search?page=1&per_page=2", credentials, method="GET")
        shown = httpx.get(f"{address}/_emulator/replay", trust_env=False).json()
    assert shown["missed"] == []
    assert all(served == {"body": 1, "order": 0} for served in shown["recordings"].values())
    for before, after in zip([*direct, listed], [*again, relisted], strict=True):
        status = before[0].splitlines()[0].split()[1]
        assert after[0].splitlines()[0].split()[1] == status
        kind = re.search("(?im)^content-type: .*$", before[0])[0]
        assert kind in after[0]
        assert after[1] == before[1]
        assert after[2] == before[2] == "closed"
    second = json.loads((tmp_path / "00002-gpt-oss-20b-stream" / "request.json").read_text())
    assert (second["model"], second["max_tokens"], second["path"]) == (GPT, 99, "/ai/v1/chat/completions")
    assert second["body"] == asked[1][1]
    assert json.loads((tmp_path / "00004-llama-3.1-8b-instruct-fp8-stream" / "request.json").read_text())["dialect"]


def test_requests_pass_as_they_are_but_for_the_account_and_the_credentials(tmp_path):
    seen = []

    async def upstream(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        message = await receive()
        seen.append((scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], message["body"]))
        await answered(send, b"ok", (b"x-own", b"1"), (b"content-type", b"text/plain"), (b"date", b"then"))

    sent = ["X-One: 1", "X-One: 2", "Authorization: Bearer clients", "Cookie: a=b", "Content-Type: a/b; c=d", "TE: x"]
    path = f"{AI}/run/@cf/a%2Fb/c?x=%20y&z"
    with serving(upstream) as origin:
        with recording(tmp_path / "own", origin) as (address, _):
            head, got, _ = raw(address, ["a", 1], path, sent)
        with recording(tmp_path / "theirs", origin, account_id=None, token=None) as (address, _):
            raw(address, ["a", 1], path, sent)
    assert unchunked(got) == b"ok"
    assert "x-own: 1" in head
    assert head.lower().count("\r\ndate: ") == 1
    own, theirs = seen
    assert own[:3] == ("POST", f"/client/v4/accounts/{ACCOUNT}/ai/run/@cf/a%2Fb/c".encode(), b"x=%20y&z")
    assert own[4] == theirs[4] == b'["a", 1]'
    passed = [pair for pair in own[3] if pair[0] != b"host"]
    assert passed == [
        (b"x-one", b"1"),
        (b"x-one", b"2"),
        (b"content-type", b"a/b; c=d"),
        (b"authorization", f"Bearer {TOKEN}".encode()),
        (b"accept-encoding", b"identity"),
        (b"content-length", b"8"),
    ]
    assert theirs[1].startswith(f"/client/v4/accounts/{CLIENTS}/".encode())
    assert {(b"authorization", b"Bearer clients"), (b"cookie", b"a=b")} <= set(theirs[3])


async def answered(send, body, *headers, status=200):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


def test_pieces_pass_when_they_come(tmp_path):
    go_on = []

    async def upstream(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            async for _ in waiting(go_on, number):
                pass
        await send({"type": "http.response.body"})

    with serving(upstream) as origin, recording(tmp_path, origin) as (address, said):
        with httpx.stream("POST", f"{address}{CHAT}", json=chat("x"), trust_env=False) as answer:
            for number, piece in enumerate(answer.iter_raw()):
                assert piece == b"data: %d\n\n" % number
                go_on.append(number)
        until(lambda: said)
    assert [size for _, size in answer_of(tmp_path, folders(tmp_path)[0])["chunks"]] == [9, 9, 9]


async def waiting(go_on, number):
    while number not in go_on:
        await asyncio.sleep(0.002)
        yield


@contextlib.contextmanager
def breaking(go_on, *, reset):
    """An upstream that breaks the connection within its answer, once it may."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                while b"}]" not in connection.recv(65536):
                    pass
                head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                connection.sendall(head + b"9\r\ndata: 1\n\n\r\n")
                go_on.wait(10)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join(10)


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_an_answer_that_breaks_off_is_recorded_as_such(tmp_path, end):
    body = chat("x")
    go_on = threading.Event()
    with breaking(go_on, reset=end == "reset") as upstream, recording(tmp_path, upstream) as (address, said):
        with (
            pytest.raises(httpx.RemoteProtocolError),
            httpx.stream("POST", f"{address}{CHAT}", json=body, trust_env=False) as answer,
        ):
            for piece in answer.iter_raw():
                assert piece == b"data: 1\n\n"
                go_on.set()
        until(lambda: said)
    (name,) = folders(tmp_path)
    assert said == [f"{name}: 200, 9 bytes, {end}"]
    assert answer_of(tmp_path, name)["end"] == end
    with serving(create_emulator(replay=tmp_path)) as address:
        _, again, ended = raw(address, body, headers=["Authorization: Bearer x"])
    assert again == b"9\r\ndata: 1\n\n\r\n"
    assert ended == ("reset" if end == "reset" else "closed")


def test_an_upstream_that_does_not_answer_is_said_and_not_recorded(tmp_path, upstream):
    with recording(tmp_path, upstream) as (address, said):
        head, got, _ = raw(address, chat("x"), headers=["X-Emulator-Fault: closed"])
        assert " 502 " in head.splitlines()[0]
        assert json.loads(got)["errors"][0]["code"] == 7009
    with recording(tmp_path, "http://127.0.0.1:9") as (address, more):
        assert " 502 " in raw(address, chat("x"))[0].splitlines()[0]
    assert ["not recorded" in line for line in said + more] == [True, True]
    assert folders(tmp_path) == []


def test_a_client_that_leaves_closes_the_upstream_and_leaves_what_came(tmp_path, upstream):
    with recording(tmp_path, upstream) as (address, said):
        body = chat("Write 40 words.")
        headers = {"X-Emulator-Fault": "stall"}
        with httpx.stream("POST", f"{address}{CHAT}", json=body, headers=headers, trust_env=False) as answer:
            next(answer.iter_raw())
        until(lambda: said)
        until(lambda: httpx.get(f"{upstream}/_emulator/streams", trust_env=False).json()["in_flight"] == 0)
    (name,) = folders(tmp_path)
    assert answer_of(tmp_path, name)["end"] == "cut"
    assert answer_of(tmp_path, name)["client_left"] is True


def test_what_is_too_large_passes_and_is_not_recorded(tmp_path, upstream):
    with recording(tmp_path, upstream, most_bytes=2000) as (address, said):
        _, got, _ = raw(address, chat("Count to 200."))
        assert len(unchunked(got)) > 2000
        raw(address, chat("x" * 2000, max_tokens=1))
        raw(address, chat("Say exactly: x", stream=False))
        until(lambda: len(said) == 3)
    assert folders(tmp_path) == ["00003-llama-3.1-8b-instruct-fp8-unstreamed"]


def test_what_is_compressed_is_not_recorded(tmp_path, upstream):
    with recording(tmp_path, upstream) as (address, said):
        head, _, _ = raw(address, chat("Count to 20."), headers=["X-Emulator-Fault: gzip"])
        until(lambda: said)
    assert "content-encoding: gzip" in head
    assert "compressed" in said[0]
    assert folders(tmp_path) == []


def test_numbers_go_on_where_the_folder_stopped(tmp_path, upstream):
    for _ in range(2):
        with recording(tmp_path, upstream) as (address, said):
            raw(address, chat("Say exactly: x", stream=False))
            until(lambda said=said: said)
    assert [name[:5] for name in folders(tmp_path)] == ["00001", "00002"]
    assert len(Library(tmp_path).shown()["recordings"]) == 2


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/client/v4/accounts/{CLIENTS}/workers/scripts", (), 404),
        (f"{AI}/../tokens", (), 404),
        (f"{AI}/%2e%2e/tokens", (), 404),
        (f"{AI}/run/%2e%2e%2ftokens", (), 404),
        ("/client/v4/user/tokens/verify", (), 404),
        (CHAT, ("Origin: https://example.com",), 403),
    ],
)
def test_the_token_opens_nothing_else(tmp_path, path, headers, status):
    seen = []

    async def upstream(scope, receive, send):
        if scope["type"] != "lifespan":
            seen.append(scope["path"])
            await answered(send, b"")

    with serving(upstream) as origin, recording(tmp_path, origin) as (address, _):
        assert raw(address, {}, path, headers)[0].split()[1] == str(status)
    assert seen == []


# Known by nothing but where they stand.
STANDING = {
    "Authorization": "Bearer canary-bearer-K7",
    "X-Auth-Key": "canary-global-key-K7",
    "X-Auth-Email": "canary-mail-K7@example.org",
    "Cookie": "canary=canary-cookie-K7; session=canary-session-K7",
    "X-Session-Affinity": "canary-affinity-K7",
    "Cf-Aig-Authorization": "Bearer canary-gateway-K7",
    "Cf-Connecting-Ip": "198.51.100.77",
    "X-Forwarded-For": "198.51.100.78, 2001:db8:77::1234:5678",
    "X-Custom-Token": "canary-custom-K7",
}
ANSWERED = {
    "Cf-Ray": "c0ffee77c0ffee77-AMS",
    "Cf-Ai-Req-Id": "canary-request-K7",
    "Set-Cookie": "__cf_bm=canary-set-cookie-K7; path=/; HttpOnly",
    "X-Anything": "canary-unknown-header-K7",
    "Retry-After": "1",
    "X-RateLimit-Remaining": "7",
}
TOLD = 'canary "told" \\ K7/é'
PLAIN = "canary-plain-K7"
CANARIES = [
    "canary-",
    "canary ",
    "198.51.100",
    "2001:db8",
    "c0ffee77",
    "example.org",
    TOKEN,
    TOKEN[:20],
    ACCOUNT,
    CLIENTS,
]


def test_no_canary_is_in_any_file(tmp_path):
    """Planted in every header, path, query and body, over the bounds of chunks and frames, and in error bodies."""
    rays = [ANSWERED[name] for name in ("Cf-Ray", "Cf-Ai-Req-Id", "Set-Cookie")]
    echo = " ".join([*STANDING.values(), *rays, TOLD, PLAIN, TOKEN, ACCOUNT, CLIENTS])
    echo64 = base64.b64encode(f"a:{TOLD}{PLAIN}{TOKEN}{ACCOUNT}".encode()).decode()
    nested = json.dumps(json.dumps({"a": echo}))
    frames = [{"choices": [{"index": 0, "delta": {"content": sign}}], "p": nested[:3]} for sign in echo]
    frames += [{"response": echo}, {"response": nested, "tool_calls": [{"arguments": nested}]}, {"b": echo64}]
    stream = b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames) + b"data: [DONE]\n\n"
    page = f"<html><p>Ray ID: <code>{ANSWERED['Cf-Ray'][:16]}</code> Your IP: 198.51.100.79 {echo}</html>".encode()
    refusal = json.dumps({"success": False, "errors": [{"code": 5006, "message": echo}], "result": {}}).encode()
    answers = {
        "stream": (200, "text/event-stream", stream),
        "json": (200, f'application/json; x="{PLAIN}"', json.dumps({"a": [echo, nested], echo: 1}).encode()),
        "refusal": (400, "application/json", refusal),
        "page": (502, f"text/html; {PLAIN}", page),
        "binary": (200, "audio/mpeg", b"\xff\xfb" + f"{TOLD}{PLAIN}{TOKEN}{ACCOUNT}{CLIENTS}".encode()),
    }

    async def upstream(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        while (await receive()).get("more_body"):
            pass
        what = re.search(r"what=(\w+)", scope["query_string"].decode())[1]
        status, kind, body = answers[what]
        headers = [(name.lower().encode(), value.encode()) for name, value in ANSWERED.items()]
        headers += [(b"content-type", kind.encode()), (b"x-ratelimit-limit", PLAIN.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        # Seven bytes a piece: every canary is cut, each at another place.
        for start in range(0, len(body), 7):
            await send({"type": "http.response.body", "body": body[start : start + 7], "more_body": True})
        await send({"type": "http.response.body"})

    headers = [f"{name}: {value}" for name, value in STANDING.items()]
    asked = {"model": f"@cf/x/{PLAIN}", "messages": [{"content": echo, echo: nested}], "b": echo64, "max_tokens": 5}
    with serving(upstream) as origin, recording(tmp_path, origin, secrets=[TOLD, PLAIN]) as (address, said):
        for what in answers:
            query = f"what={what}&token=canary-query-K7&q={PLAIN}&u=canary%20%22told%22%20%5C%20K7%2F%C3%A9"
            for path in (CHAT, f"{AI}/run/@cf/x/{PLAIN}"):
                _, got, _ = raw(address, asked, f"{path}?{query}", headers)
                assert unchunked(got) == answers[what][2]
        until(lambda: len(said) == 2 * len(answers))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3 * 2 * len(answers)
    assert sum(path.stat().st_size for path in files if path.name.startswith("upstream")) == 2 * sum(
        len(body) for _, _, body in answers.values()
    )
    for path in files:
        seen = [path.relative_to(tmp_path).as_posix(), *readings(path.read_bytes())]
        for canary in CANARIES:
            for form in (canary, base64.b64encode(canary.encode()).decode().rstrip("=")[:-1]):
                assert not any(form.lower() in text.lower() for text in seen), (path, canary)
    assert "canary" not in "".join(said)
    Library(tmp_path)


def readings(data):
    """All that a file can be read as: as it is, unescaped, from base64, and what its frames say together."""
    text = data.decode("utf-8", "replace")
    yield text
    yield unquote(text)
    unescaped = text
    for _ in range(4):
        unescaped = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), unescaped).replace("\\", "")
        yield unescaped
    for inner in re.findall(r"[A-Za-z0-9+/=]{40,}", text):
        for offset in range(4):
            piece = inner[offset:]
            yield base64.b64decode(piece[: len(piece) // 4 * 4] + "====", validate=False).decode("latin-1")
    if data.startswith(b"data: "):
        loaded = [json.loads(frame) for frame in Framer().feed(data) if frame != b"[DONE]"]
        yield "".join(frame["choices"][0]["delta"]["content"] for frame in loaded if "choices" in frame)


def test_a_command_records(tmp_path, upstream):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FLARELAY_", "CLOUDFLARE_"))}
    environ |= {
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "FLARELAY_UPSTREAM_URL": f"{upstream}/client/v4",
    }
    words = tmp_path / "words"
    words.write_text("squirrel\n\n")
    command = [sys.executable, "-m", "app", "record", "--out", str(tmp_path / "out"), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--redact", "hedgehog", "--redact-file", str(words)],
        cwd=Path(__file__).resolve().parents[2],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = re.search(r"http://[0-9.]+:\d+", process.stderr.readline())[0]
        head, got, _ = raw(address, chat("Say exactly: a hedgehog and a squirrel", stream=False))
        assert " 200 " in head.splitlines()[0]
        assert b"hedgehog and a squirrel" in got
        line = process.stderr.readline()
        assert line.startswith("00001-llama-3.1-8b-instruct-fp8-unstreamed: 200, ")
        raw(address, chat("Write 30 words."), headers=["X-Emulator-Fault: cut"])
        line = process.stderr.readline()
        assert line.startswith("00002-llama-3.1-8b-instruct-fp8-stream: 200, ")
        assert line.endswith(", cut\n")
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, rest) == (0, "")
    written = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    assert "a REDACTED and a REDACTED" in written
    assert "hedgehog" not in written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "quota"),
        (["--redact", "abc"], "at least 4"),
        ([], "CLOUDFLARE_ACCOUNT_ID"),
        (["--pass-through", "--out", "/dev/null/x"], "--out"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, monkeypatch, arguments, said):
    for name in os.environ:
        if name.startswith(("FLARELAY_", "CLOUDFLARE_")):
            monkeypatch.delenv(name)
    result = CliRunner().invoke(main, ["record", "--out", str(tmp_path), "--port", "0", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1

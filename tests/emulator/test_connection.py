"""Faults below HTTP, over real sockets and two event loops: what the client's system says, byte for byte."""

import contextlib
import socket
import threading

import httpx
import orjson
import pytest
import uvicorn

from app.emulator.server import create_emulator
from tests.serving import serving, until

ACCOUNT = "0123456789abcdef0123456789abcdef"
CHAT = f"/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions"
GPT = "@cf/openai/gpt-oss-20b"
STREAM = {"stream": True}


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def emulator(request):
    if request.param == "asyncio":
        with serving(create_emulator()) as address:
            yield address
        return
    with _on_uvloop() as address:
        yield address


@contextlib.contextmanager
def _on_uvloop():
    uvloop = pytest.importorskip("uvloop")
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_emulator(), log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=lambda: uvloop.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def conversation(address, fault, last=None, **more):
    """Send one chat request; return the head and body of the answer, as far as they came, and how it ended.

    Once `last` has come, nothing more is waited for than a fifth of a second.
    """
    messages = [{"role": "user", "content": "Say exactly: one two three four"}]
    body = orjson.dumps({"model": GPT, "messages": messages, **more})
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: emulator\r\nAuthorization: Bearer secret\r\nx-emulator-fault: {fault}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, port = address.removeprefix("http://").split(":")
    pieces = []
    ended = "open"
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(head.encode() + body)
        try:
            while piece := sock.recv(65536):
                pieces.append(piece)
                if fault == "plain" and pieces[-1].endswith(b"0\r\n\r\n"):
                    break
                if last is not None and last in b"".join(pieces):
                    sock.settimeout(0.2)
            else:
                ended = "closed"
        except ConnectionResetError:
            ended = "reset"
        except TimeoutError:
            ended = "silent"
    head, _, rest = b"".join(pieces).partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest, ended


BREAKS = {
    "reset", "closed", "reset-first", "reset-mid-stream", "cut", "cut-first", "cut-frame", "length-long",
    "length-short",
}  # fmt: skip


@pytest.mark.parametrize(("fault", "ended"), [("reset", "reset"), ("closed", "closed")])
@pytest.mark.parametrize("more", [STREAM, {}])
def test_a_connection_ends_before_any_answer(emulator, fault, ended, more):
    assert conversation(emulator, fault, **more) == ("", b"", ended)


@pytest.mark.parametrize(
    ("fault", "ended"), [("reset-first", "reset"), ("cut-first", "closed"), ("stall-first", "silent")]
)
@pytest.mark.parametrize("more", [STREAM, {}])
def test_headers_come_and_no_body(emulator, fault, ended, more):
    head, body, how = conversation(emulator, fault, b"\r\n\r\n", **more)
    assert head.startswith("HTTP/1.1 200")
    assert (body, how) == (b"", ended)


@pytest.mark.parametrize(
    ("fault", "ended"), [("reset-mid-stream", "reset"), ("cut", "closed"), ("cut-frame", "closed"), ("stall", "silent")]
)
def test_text_comes_and_no_end(emulator, fault, ended):
    _, body, how = conversation(emulator, fault, b'"content":" three"', **STREAM)
    assert how == ended
    assert b'"content":" three"' in body
    assert b'"content":" four' not in body
    assert b"0\r\n\r\n" not in body
    # A cut between frames leaves whole frames, one inside a frame does not.
    assert body.endswith(b"}\n\n\r\n") is (fault != "cut-frame")


@pytest.mark.parametrize(
    ("fault", "ended"), [("reset-mid-stream", "reset"), ("cut", "closed"), ("cut-frame", "closed")]
)
def test_half_a_body_comes_of_an_answer_that_is_no_stream(emulator, fault, ended):
    head, body, how = conversation(emulator, fault)
    assert how == ended
    assert "application/json" in head
    assert b'{"id":"chatcmpl' in body
    assert b'"usage"' not in body
    # The end of the connection is the only end: no length was told, and the last chunk did not come.
    assert "content-length" not in head
    assert not body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("more", [STREAM, {}])
def test_the_announced_length_can_be_wrong_both_ways(emulator, more):
    lengths = {}
    for fault in ("length-long", "length-short"):
        head, body, ended = conversation(emulator, fault, **more)
        announced = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        lengths[fault] = announced - len(body)
        assert ended == "closed"
        assert b"four" in body
    assert lengths["length-long"] == 64
    assert lengths["length-short"] < -100


def test_a_client_library_meets_each_as_its_own_error(emulator):
    errors = {}
    with httpx.Client(base_url=emulator, headers={"authorization": "Bearer x"}, trust_env=False) as client:
        for fault in ("reset", "closed", "reset-first", "cut-first", "length-long", "hang", "stall-first"):
            body = {"model": GPT, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
            with pytest.raises(httpx.TransportError) as caught:
                patience = 0.2 if fault in {"hang", "stall-first"} else 10
                client.post(CHAT, json=body, headers={"x-emulator-fault": fault}, timeout=patience)
            errors[fault] = type(caught.value).__name__
    assert errors == {
        "reset": "ReadError",
        "closed": "RemoteProtocolError",
        "reset-first": "ReadError",
        "cut-first": "RemoteProtocolError",
        "length-long": "RemoteProtocolError",
        "hang": "ReadTimeout",
        "stall-first": "ReadTimeout",
    }


def test_what_the_emulator_breaks_off_is_not_laid_to_the_client(emulator):
    with httpx.Client(base_url=emulator, trust_env=False) as client:
        client.delete("/_emulator/requests")
        for fault in ("reset", "closed", "cut", "length-short"):
            conversation(emulator, fault, **STREAM)
        until(lambda: client.get("/_emulator/streams").json() == {"open": 0, "in_flight": 0})
        records = client.get("/_emulator/requests").json()
    assert [(one["scenario"], one["completed"], one["closed_early"]) for one in records] == [
        ("reset", False, False),
        ("closed", False, False),
        ("cut", False, False),
        ("length-short", False, False),
    ]
    assert [one["status"] for one in records] == [None, None, 200, 200]


def test_the_server_is_well_after_every_break(emulator, caplog):
    for fault in sorted(BREAKS):
        conversation(emulator, fault, **STREAM)
    head, body, ended = conversation(emulator, "plain", **STREAM)
    assert head.startswith("HTTP/1.1 200")
    assert ended == "open"
    assert b"[DONE]" in body
    assert not [record.message for record in caplog.records if record.levelname == "ERROR"]


def test_a_connection_can_be_refused(emulator):
    with httpx.Client(trust_env=False) as client:
        told = client.get(f"{emulator}/_emulator/refusing").json()
        assert client.get(f"{emulator}/_emulator/refusing").json() == told
        with pytest.raises(httpx.ConnectError):
            client.get(f"http://{told['host']}:{told['port']}/")


async def test_in_memory_a_break_is_a_connection_error(client):
    for fault in ("reset", "closed", "cut-first", "reset-mid-stream"):
        with pytest.raises(ConnectionResetError):
            await client.say(f"@cf/emulator/{fault}", "Hi", stream=True)

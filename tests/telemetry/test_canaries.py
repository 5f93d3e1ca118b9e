"""Secrets and prompts are planted everywhere, and must come up nowhere: logs, errors, metrics and crash output.

The server is a process of its own, as people start it; every planted text has the word ``canary`` in it.
"""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from app.emulator.server import create_emulator
from tests.serving import serving, until
from tests.telemetry import defective

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("FLARELAY_", "CLOUDFLARE_"))}

ACCOUNT = "c0ffee0123456789c0ffee0123456789"
OTHER_ACCOUNT = "decade0123456789decade0123456789"
TOKEN = "canary-token-0123456789abcdef0123456789ab"
KEY = "sk-canary-key-0123456789abcdef"
ADMIN = "canary-admin-0123456789abcdef"
SECRETS = {
    "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
    "CLOUDFLARE_API_TOKEN": TOKEN,
    "FLARELAY_MORE_ACCOUNTS": f"{OTHER_ACCOUNT}:canary-second-0123456789abcdef0123456789",
    "FLARELAY_API_KEYS": KEY,
    "FLARELAY_ADMIN_KEY": ADMIN,
    "FLARELAY_SEAL_KEY": "canary-seal-0123456789abcdef",
}
MODEL = "@cf/openai/gpt-oss-120b"
PROMPT = "canary-prompt"

TOOL = {
    "name": "look_up",
    "description": f"{PROMPT} description",
    "parameters": {"type": "object", "properties": {"word": {"type": "string", "description": PROMPT}}},
}
MESSAGES = [
    {"role": "system", "content": f"{PROMPT} system"},
    {"role": "developer", "content": f"{PROMPT} developer"},
    {"role": "user", "content": [{"type": "text", "text": f"{PROMPT} first"}]},
    {
        "role": "assistant",
        "content": f"{PROMPT} said",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": f'{{"word":"{PROMPT}"}}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": f"{PROMPT} result"},
    {"role": "user", "content": "Say exactly: canary-answer"},
]
CHAT = {
    "model": MODEL,
    "messages": MESSAGES,
    "tools": [{"type": "function", "function": TOOL}],
    "user": "canary-user",
    "metadata": {"canary-name": "canary-value"},
    "prompt_cache_key": "canary-cache-key",
    "stop": ["canary-stop"],
    "canary_unknown_field": "canary-unknown",
}
RESPONSE = {
    "model": MODEL,
    "instructions": f"{PROMPT} instructions",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Say exactly: canary-answer"}]}],
    "tools": [{"type": "function", **TOOL}],
    "metadata": {"canary-name": "canary-value"},
}
HEADERS = {
    "authorization": f"Bearer {KEY}",
    "cookie": "session=canary-cookie",
    "user-agent": "canary-agent",
    "x-request-id": "canary request id",
    "x-session-affinity": "canary-conversation",
    "openai-organization": "canary-organization",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=canary-state",
    "baggage": "user=canary-baggage",
}
PICTURE = f"https://canary-host.invalid/{PROMPT}.png"
DOCUMENT = "data:application/pdf;base64," + base64.b64encode(f"%PDF {PROMPT}".encode()).decode()

FAULTS = (
    *("paid-only", "html-502", "error-first-frame", "json-error-for-stream", "garbage-frame", "cut"),
    *("error-mid-stream", "json-empty-for-stream"),
)
HASTY = {"FLARELAY_RETRIES": "0"}
LAST_FAULTS = ("rate-limited", "unauthorized", "quota")
"""After these nothing is asked of the upstream for a while."""


@pytest.fixture(scope="module")
def upstream():
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN)) as address:
        yield address


class Server:
    """A server that was started as a process, and all that it writes."""

    def __init__(self, process, out):
        self.process = process
        self._out = out
        until(lambda: process.poll() is not None or self._address(), 30)
        assert self._address(), self.written
        self.address = self._address()[0]

    @property
    def written(self):
        return self._out.read_text("utf-8")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return self.written

    def _address(self):
        return re.search(r"http://[0-9.]+:\d+(?=/v1)", self.written)


@contextlib.contextmanager
def server(upstream, folder, *command, **environ):
    settings = {
        "FLARELAY_UPSTREAM_URL": f"{upstream}/client/v4",
        "FLARELAY_DATA_DIR": str(folder),
        **SECRETS,
        **environ,
    }
    out = folder / "written"
    # Not into a pipe: nobody reads while the server is asked.
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *(command or ("app",)), "serve", "--port", "0"],
            cwd=ROOT,
            env={**CLEAN, **settings},
            stdout=file,
            stderr=file,
        )
    try:
        yield Server(process, out)
    finally:
        process.kill()
        process.wait()


def asks(stream):
    """Requests of every kind, most of which are answered."""
    chat = {**CHAT, "stream": stream}
    response = {**RESPONSE, "stream": stream}
    yield "/v1/chat/completions", chat
    yield "/v1/chat/completions", {**chat, "n": 2}
    yield "/v1/chat/completions", {**chat, "response_format": {"type": "json_object"}}
    yield "/v1/completions", {"model": MODEL, "prompt": "Say exactly: canary-answer", "stream": stream}
    yield "/v1/responses", {**response, "store": False}
    yield "/v1/responses", response
    yield "/v1/responses", {**response, "background": True}
    yield "/v1/responses/input_tokens", response
    yield "/v1/responses/compact", {"model": MODEL, "input": RESPONSE["input"]}
    for fault in FAULTS:
        yield "/v1/chat/completions", {**chat, "model": f"@cf/emulator/{fault}"}
        yield "/v1/responses", {**response, "model": f"@cf/emulator/{fault}"}


def asks_in_the_end():
    """Requests after which the upstream is left alone."""
    for fault in LAST_FAULTS:
        yield "/v1/chat/completions", {**CHAT, "model": f"@cf/emulator/{fault}"}
        yield "/v1/responses", {**RESPONSE, "model": f"@cf/emulator/{fault}", "stream": True}


def refused():
    """Requests that are at fault, each in another way, with a prompt beside the fault."""
    yield "/v1/chat/completions", {**CHAT, "model": "no-such-model"}
    yield "/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": {"text": PROMPT}}]}
    yield "/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": [PROMPT]}]}
    yield "/v1/chat/completions", {**CHAT, "temperature": 99}
    yield "/v1/chat/completions", {**CHAT, "tools": [{"type": "function", "function": {"description": PROMPT}}]}
    yield "/v1/chat/completions", {**CHAT, "max_tokens": 10**9, "messages": MESSAGES * 400}
    image = {"type": "image_url", "image_url": {"url": PICTURE}}
    picture = [{"role": "user", "content": [{"type": "text", "text": PROMPT}, image]}]
    yield "/v1/chat/completions", {**CHAT, "messages": picture}
    yield "/v1/chat/completions", {**CHAT, "model": "@cf/meta/llama-3.2-11b-vision-instruct", "messages": picture}
    document = {"type": "file", "file": {"filename": "a.pdf", "file_data": DOCUMENT}}
    yield "/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": [document]}]}
    yield "/v1/responses", {**RESPONSE, "previous_response_id": "resp_none"}
    yield "/v1/responses", {**RESPONSE, "text": {"format": {"type": "json_schema", "schema": {"description": PROMPT}}}}
    yield "/v1/responses", {**RESPONSE, "input": [{"type": "item_reference", "id": "msg_none"}, {"text": PROMPT}]}


def drive(client):
    """Ask everything; the bodies of all answers that are errors."""
    errors = []
    for stream in (False, True):
        for path, body in asks(stream):
            answer = client.post(path, json=body)
            if answer.status_code >= 400:
                errors.append(answer.text)
    for path, body in refused():
        answer = client.post(path, json=body)
        if answer.status_code >= 400:
            errors.append(answer.text)
    for raw in (f'{{"model": "{PROMPT}", ', PROMPT, f'["{PROMPT}"]', f'{{"{PROMPT}": NaN}}', b"\xff" + PROMPT.encode()):
        errors.append(client.post("/v1/chat/completions", content=raw).text)
    errors.append(client.post("/v1/responses", json=RESPONSE, headers={"content-encoding": "gzip"}).text)
    errors.append(client.post("/v1/responses", content=b"x" * (1 << 21)).text)
    errors.append(client.get("/v1/models", headers={"authorization": "Bearer sk-canary-wrong-0123456789"}).text)
    errors.append(client.get("/v1/models", headers={"authorization": "Basic canary-basic"}).text)
    errors.append(client.get("/v1/responses/resp_none", params={"include[]": PROMPT, "api_key": KEY}).text)
    errors.append(client.get("/v1/no/such/route", params={"api_key": "canary-query"}).text)
    errors.append(client.put("/v1/chat/completions", content=PROMPT).text)
    return errors


def leave(client):
    """Go in the middle of an answer, and before the request is whole."""
    body = {**CHAT, "stream": True, "messages": [{"role": "user", "content": f"Write 2000 words about {PROMPT}"}]}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_bytes())


def talk(address):
    """The same over a WebSocket, with messages that are at fault."""
    url = address.replace("http", "ws", 1) + "/v1/responses"
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        contextlib.suppress(ConnectionClosed),
        websockets.sync.client.connect(url, additional_headers=headers, proxy=None) as socket,
    ):
        for message in (PROMPT, json.dumps({"type": PROMPT}), json.dumps({"type": "response.create", **RESPONSE})):
            socket.send(message)
            while json.loads(socket.recv(timeout=20))["type"] not in {"error", "response.completed", "response.failed"}:
                pass


def administer(client):
    """Make a key and use it; the key, and the error bodies."""
    admin = {"authorization": f"Bearer {ADMIN}"}
    made = client.post("/admin/keys", json={"name": "team", "metadata": {"note": "canary-note"}}, headers=admin).json()
    errors = [client.post("/admin/keys", json={"name": 7, "metadata": {"note": PROMPT}}, headers=admin).text]
    assert client.post(
        "/v1/completions", json={"model": MODEL, "prompt": PROMPT}, headers=bearer(made["key"])
    ).is_success
    assert client.post(f"/admin/keys/{made['id']}/revoke", headers=admin).status_code < 500
    return made["key"], errors


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def leaks(text, *more):
    """The lines in which something planted comes up."""
    planted = ("canary", ACCOUNT, OTHER_ACCOUNT, *more)
    return [line for line in text.splitlines() if any(word in line.lower() for word in planted)]


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_nothing_planted_is_in_logs_errors_or_metrics(upstream, tmp_path, form):
    environ = {"FLARELAY_LOG_FORMAT": form, "FLARELAY_LOG_LEVEL": "debug", "FLARELAY_MAX_BODY_BYTES": "1MiB", **HASTY}
    with (
        server(upstream, tmp_path, **environ) as running,
        httpx.Client(base_url=running.address, headers=HEADERS, timeout=60, trust_env=False) as client,
    ):
        errors = drive(client)
        leave(client)
        talk(running.address)
        secret, more = administer(client)
        for path, body in asks_in_the_end():
            answer = client.post(path, json=body)
            assert answer.status_code >= 400
            errors.append(answer.text)
        shown = client.get("/metrics", headers=bearer(ADMIN)).text
        written = running.end()
    assert running.process.returncode == 0
    assert len(errors) > 30
    assert len(written.splitlines()) > 60
    assert leaks("\n".join([*errors, *more])) == []
    assert "flarelay_requests_total{" in shown
    assert leaks(shown) == []
    assert leaks(written, secret.lower()) == []


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_defect_does_not_tell_what_it_was_about(upstream, tmp_path, form):
    defect = tmp_path / "defect"
    defect.write_text("none")
    environ = {"FLARELAY_LOG_FORMAT": form, "DEFECT": str(defect)}
    with (
        server(upstream, tmp_path, "tests.telemetry.defective", **environ) as running,
        httpx.Client(base_url=running.address, headers=HEADERS, timeout=60, trust_env=False) as client,
    ):
        told = len(running.written)
        for place in defective.PLACES:
            defect.write_text(place)
            answers = [broken(client, place, stream=stream) for stream in (False, True)]
            assert place == "task" or None in answers or {answer.status_code for answer in answers} & {500}, place
            assert leaks("\n".join(answer.text for answer in answers if answer and answer.is_error)) == []
            until(lambda: "RuntimeError" in running.written[told:])  # noqa: B023 - it is called at once
            told = len(running.written)
        defect.write_text("none")
        assert broken(client, "none", stream=False).status_code == 200
        written = running.end()
    assert running.process.returncode == 0
    assert "fail" in written
    assert leaks(written) == []


def broken(client, place, *, stream):
    """Ask a server that has a defect; ``None`` when it breaks off."""
    path, body = ("/v1/responses", RESPONSE) if place in {"keep", "read"} else ("/v1/chat/completions", CHAT)
    # A connection on which there was a defect may be closed at any time.
    with contextlib.suppress(httpx.RemoteProtocolError):
        return client.post(path, json={**body, "stream": stream}, headers={"connection": "close"})
    return None


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("FLARELAY_DATABASE_URL", "postgresql://canary-user:canary-password@127.0.0.1:1/canary-name"),
        ("FLARELAY_DATABASE_URL", "canary-scheme://canary-password"),
        ("FLARELAY_API_KEYS", "canary key with spaces"),
        ("FLARELAY_ADMIN_KEY", "canary"),
        ("CLOUDFLARE_API_TOKEN", "canary token with spaces"),
        ("FLARELAY_CANARY", "canary-value"),
    ],
)
def test_a_start_that_fails_does_not_tell_secrets(tmp_path, name, url):
    settings = {
        **SECRETS,
        "FLARELAY_DATA_DIR": str(tmp_path),
        "FLARELAY_UPSTREAM_URL": "http://127.0.0.1:1/v4",
        name: url,
    }
    started = subprocess.run(
        [sys.executable, "-m", "app", "serve", "--port", "0"],
        cwd=ROOT,
        env={**CLEAN, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert started.returncode != 0
    text = (started.stdout + started.stderr).replace("FLARELAY_CANARY", "")
    assert text
    assert leaks(text) == []


def test_redis_that_is_away_is_told_without_its_password(upstream, tmp_path):
    environ = {"FLARELAY_REDIS_URL": "redis://:canary-password@127.0.0.1:1/0", "FLARELAY_REQUESTS_PER_MINUTE": "100"}
    with (
        server(upstream, tmp_path, **environ) as running,
        httpx.Client(base_url=running.address, headers=HEADERS, timeout=60, trust_env=False) as client,
    ):
        answer = client.post("/v1/chat/completions", json=CHAT)
        written = running.end()
    assert answer.status_code == 503
    assert "edis" in written
    assert leaks(answer.text + written) == []

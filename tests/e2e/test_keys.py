"""Keys as their owners and their administrators meet them: what opens, what is shut, and how soon."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI
from websockets.exceptions import InvalidStatus

from app.core.limits import LimitSpec
from app.keys.declared import declaration
from app.keys.record import revoked
from app.store.opening import open_store
from tests.conftest import ACCOUNT, TOKEN
from tests.e2e.test_limits import ADMIN, MODEL, NO_TLS, SURFACES, Key, ask, running
from tests.keys.keyring import key as declared
from tests.serving import until
from tests.store import databases

BIG = "@cf/openai/gpt-oss-120b"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"
WITHIN = 1.0
"""Seconds in which every replica knows of a change."""


@pytest.fixture(scope="module")
def proxy(emulator):
    with running(emulator, aliases="gpt-4o=gpt-oss-120b,cheap=gpt-oss-20b") as made:
        yield made


def status(proxy, secret, path=f"/v1/models/{MODEL}"):
    return proxy.admin.get(path, headers={"authorization": f"Bearer {secret}"}).status_code


def change(proxy, key, **fields):
    answer = proxy.admin.patch(f"/admin/keys/{key.id}", json=fields)
    assert answer.status_code == 200, answer.text


def revoke(proxy, key):
    proxy.admin.delete(f"/admin/keys/{key.id}").raise_for_status()


def rotate(proxy, key, **fields):
    answer = proxy.admin.post(f"/admin/keys/{key.id}/rotate", json=fields)
    assert answer.status_code == 200, answer.text
    return Key(key.id, answer.json()["key"])


@contextlib.contextmanager
def stalls():
    """A list whose sum is how long this process, and the proxies in it, were kept from running meanwhile."""
    seen, over = [0.0], threading.Event()

    def watch():
        before = time.monotonic()
        while not over.wait(0.01):
            now = time.monotonic()
            seen.append(max(0.0, now - before - 0.02))
            before = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def seen_within_a_second(condition):
    with stalls() as stalled:
        began = time.monotonic()
        until(condition, 5, every=0.02)
        seconds = time.monotonic() - began
    assert seconds - sum(stalled) < WITHIN


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_key_opens_every_surface_and_is_named_in_the_log(proxy, surface, stream):
    key = proxy.key()
    line = proxy.line(ask(proxy.sdk(key), surface, stream))
    assert (line["caller"], line["surface"], line["stream"]) == (key.id, surface, stream)
    assert proxy.told(f"keys/{key.id}")["id"] == key.id


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_the_keys_is_refused(proxy, control, surface, stream):
    key = proxy.key(models=["gpt-oss-20b", "@cf/meta/*"])
    client = proxy.sdk(key)
    for allowed in ("gpt-oss-20b", "openai/gpt-oss-20b", MODEL, "cheap", LLAMA)[:: 1 if surface == "chat" else 3]:
        assert ask(client, surface, stream, model=allowed).status_code == 200
    asked = len(control.get("/requests").json())
    for refused in ("gpt-oss-120b", BIG, "gpt-4o", "GPT-OSS-120B", "@cf/openai/no-such-model"):
        with pytest.raises(openai.PermissionDeniedError) as caught:
            ask(client, surface, stream, model=refused)
        error = caught.value
        assert (error.status_code, error.code, error.type) == (403, "model_not_found", "invalid_request_error")
        assert error.message.count(key.id) == 1
        assert f"does not have access to the model '{refused}'" in error.message
        assert key.secret not in error.response.text
    assert len(control.get("/requests").json()) == asked


def test_no_other_way_leads_to_a_model_that_is_not_the_keys(proxy):
    client = proxy.sdk(proxy.key(models=["gpt-oss-20b"]))
    for attempt in (
        lambda: client.responses.create(model=BIG, input="Hello", background=True),
        lambda: client.responses.input_tokens.count(model=BIG, input="Hello"),
        lambda: client.responses.compact(model=BIG, input="Hello"),
    ):
        with pytest.raises(openai.PermissionDeniedError, match="does not have access"):
            attempt()
    with client.responses.connect() as connection:
        connection.response.create(model=BIG, input="Hello")
        event = next(iter(connection)).to_dict()
    assert (event["type"], event["status"], event["error"]["code"]) == ("error", 403, "model_not_found")


def listed(proxy, **fields):
    return {model.id for model in proxy.sdk(proxy.key(**fields)).models.list()}


def test_a_key_sees_its_own_models(proxy):
    everything = listed(proxy)
    assert {MODEL, BIG, LLAMA, "gpt-4o", "cheap"} <= everything
    assert listed(proxy, models=["gpt-oss-20b"]) == {MODEL, "cheap"}
    assert listed(proxy, models=["gpt-4o"]) == {"gpt-4o"}
    assert listed(proxy, models=["gpt-oss-*"]) == {MODEL, BIG, "gpt-4o", "cheap"}
    assert listed(proxy, models=["@cf/meta/*"]) == {name for name in everything if name.startswith("@cf/meta/")}
    client = proxy.sdk(proxy.key(models=["gpt-4o"]))
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(BIG)
    assert caught.value.code == "model_not_found"
    # What is listed can be used, by the name under which it is listed and by no other.
    assert ask(client, "chat", model="gpt-4o").parse().model == "gpt-4o"
    with pytest.raises(openai.PermissionDeniedError):
        ask(client, "chat", model=BIG)


def test_a_key_expires(proxy):
    key = proxy.key(expires_at=time.time() + 0.5)
    assert status(proxy, key.secret) == 200
    until(lambda: status(proxy, key.secret) == 401)
    with pytest.raises(openai.AuthenticationError, match="has expired") as caught:
        ask(proxy.sdk(key), "chat")
    assert caught.value.code == "invalid_api_key"
    assert key.secret[-8:] not in caught.value.response.text
    change(proxy, key, expires_at=None)
    assert status(proxy, key.secret) == 200


def test_a_keys_limits_go_before_those_of_all(emulator):
    settings = {"requests_per_minute": 7, "tokens_per_minute": 9_000, "api_keys": "sk-set-0123456789abcdef"}
    with running(emulator, **settings) as proxy:

        def told(key):
            headers = ask(proxy.sdk(key), "chat", limit=5).headers
            return headers["x-ratelimit-limit-requests"], headers["x-ratelimit-limit-tokens"]

        assert told(Key("set", "sk-set-0123456789abcdef")) == ("7", "9000")
        own = proxy.key(requests_per_minute=70)
        assert told(proxy.key()) == ("7", "9000")
        assert told(own) == ("70", "9000")
        change(proxy, own, requests_per_minute=5, tokens_per_minute=50)
        with pytest.raises(openai.RateLimitError, match="Limit 50, Requested"):
            ask(proxy.sdk(own), "chat", limit=60)
        change(proxy, own, requests_per_minute=None, tokens_per_minute=None)
        assert told(own) == ("7", "9000")


@pytest.fixture(scope="module", params=databases.KINDS)
def replicas(request, emulator, tmp_path_factory):
    """Two proxies with one database."""
    folder = tmp_path_factory.mktemp("replicas")
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            shared = {"data_dir": folder}
        else:
            name = stack.enter_context(databases.template(request.param, folder))
            shared = {"database_url": f"{databases.SERVER}/{name}"}
        yield [stack.enter_context(running(emulator, **shared)) for _ in range(2)]


def test_every_replica_follows(replicas):
    one, other = replicas
    key = one.key(requests_per_day=500)
    assert status(one, key.secret) == 200
    # A replica that has just begun still opens its connections.
    until(lambda: status(other, key.secret) == 200)
    change(other, key, requests_per_day=300)
    assert ask(other.sdk(key), "chat").headers["x-ratelimit-limit-requests"] == "300"
    seen_within_a_second(lambda: ask(one.sdk(key), "chat").headers["x-ratelimit-limit-requests"] == "300")


def test_a_revoked_key_is_refused_within_a_second_everywhere(replicas):
    one, other = replicas
    key = one.key()
    until(lambda: status(other, key.secret) == 200)
    revoke(one, key)
    # Where it was revoked, at once.
    assert status(one, key.secret) == 401
    seen_within_a_second(lambda: status(other, key.secret) == 401)
    for proxy in replicas:
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key provided"):
            ask(proxy.sdk(key), "responses")
    again = one.admin.patch(f"/admin/keys/{key.id}", json={"name": "again"})
    assert (again.status_code, again.json()["error"]["code"]) == (400, "key_is_revoked")


def test_a_rotated_key_has_time_to_move(replicas):
    one, other = replicas
    old = one.key(requests_per_day=9)
    until(lambda: status(other, old.secret) == 200)
    assert ask(one.sdk(old), "chat").headers["x-ratelimit-remaining-requests"] == "8"
    kept = time.monotonic()
    new = rotate(one, old, keep_seconds=1)
    # The same key: its limits go on, whichever secret is shown.
    assert ask(one.sdk(old), "chat").headers["x-ratelimit-remaining-requests"] == "7"
    assert ask(one.sdk(new), "chat").headers["x-ratelimit-remaining-requests"] == "6"
    seen_within_a_second(lambda: status(other, new.secret) == 200)
    until(lambda: status(one, old.secret) == status(other, old.secret) == 401)
    assert time.monotonic() - kept > 1
    assert status(one, new.secret) == status(other, new.secret) == 200
    newest = rotate(one, new)
    assert status(one, new.secret) == 401
    seen_within_a_second(lambda: status(other, new.secret) == 401)
    assert status(other, newest.secret) == 200


def test_a_file_of_keys_is_followed_and_goes_before_the_store(emulator, tmp_path):
    path = tmp_path / "keys.toml"

    def write(*keys):
        path.write_text("".join(map(declaration, keys)), "utf-8")

    write(declared("a", models=("gpt-oss-20b",), limits=LimitSpec(requests_per_minute=9)), declared("gone"))
    with running(emulator, keys_file=path) as proxy:
        client = proxy.sdk(Key("key-a", "a"))
        answer = ask(client, "chat")
        assert answer.headers["x-ratelimit-limit-requests"] == "9"
        assert proxy.line(answer)["caller"] == "key-a"
        with pytest.raises(openai.PermissionDeniedError):
            ask(client, "chat", model=BIG)
        assert status(proxy, "gone") == 200
        write(declared("a", limits=LimitSpec(requests_per_minute=8)), declared("new"))
        seen_within_a_second(lambda: status(proxy, "gone") == 401)
        assert status(proxy, "new") == 200
        assert ask(client, "chat", model=BIG).headers["x-ratelimit-limit-requests"] == "8"
        # Keys of the store are beside them.
        assert status(proxy, proxy.key().secret) == 200
        refused = proxy.admin.delete("/admin/keys/key-a")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "key_is_read_only")


def test_the_first_key_closes_the_open_door(emulator, tmp_path):
    async def with_store(work):
        """Change what is stored, as the command line does it."""
        store = await open_store(f"sqlite:///{tmp_path / 'flarelay.sqlite3'}")
        try:
            await work(store.keys)
        finally:
            await store.close()

    with running(emulator, data_dir=tmp_path, admin_key=None) as proxy:
        answer = ask(proxy.sdk(Key("", "anything")), "chat")
        assert proxy.line(answer)["caller"] == "anonymous"
        first = declared("first")
        asyncio.run(with_store(lambda keys: keys.add(first)))
        seen_within_a_second(lambda: status(proxy, "anything") == 401)
        assert proxy.admin.get("/v1/models", headers={"authorization": ""}).status_code == 401
        assert proxy.line(ask(proxy.sdk(Key(first.id, "first")), "chat"))["caller"] == first.id
        asyncio.run(with_store(lambda keys: keys.change(first.id, lambda key: revoked(key, time.time()))))
        # The door does not open again when the only key is gone.
        seen_within_a_second(lambda: status(proxy, "first") == 401)
        assert status(proxy, "anything") == 401


def test_a_websocket_needs_a_key_at_its_beginning(proxy):
    gone = proxy.key()
    revoke(proxy, gone)
    for secret in ("", "sk-nobody-0123456789abcdef", gone.secret, ADMIN):
        with (
            pytest.raises(InvalidStatus) as caught,
            proxy.client.with_options(api_key=secret or "none").responses.connect(
                extra_headers={} if secret else {"authorization": ""}
            ),
        ):
            pytest.fail("it was let in")
        assert caught.value.response.status_code == (403 if secret == ADMIN else 401)


@pytest.mark.parametrize("end", [revoke, rotate])
def test_a_websocket_follows_its_key(proxy, end):
    key = proxy.key()
    with proxy.sdk(key).responses.connect() as connection:

        def answer():
            connection.response.create(model=MODEL, input="Hello", store=False)
            return next(event for event in connection if event.type in {"response.completed", "error"}).to_dict()

        assert answer()["type"] == "response.completed"
        change(proxy, key, models=["gpt-oss-120b"])
        refused = answer()
        assert (refused["type"], refused.get("status")) == ("error", 403)
        change(proxy, key, models=None)
        assert answer()["type"] == "response.completed"
        end(proxy, key)
        refused = answer()
        assert (refused["type"], refused.get("status")) == ("error", 401)
        assert refused["error"]["code"] == "invalid_api_key"


@pytest.fixture(scope="module")
def one_place(emulator):
    """A proxy that does one piece of background work at a time."""
    with running(emulator, background_places=1) as made:
        yield made


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_background_work_whose_key_is_gone_fails_and_says_so(one_place, control, how):
    proxy = one_place
    first = proxy.sdk(proxy.key())
    busy = first.responses.create(model="@cf/emulator/hang", input="Hello", background=True)
    until(lambda: first.responses.retrieve(busy.id).status == "in_progress")
    key = proxy.key()
    work = proxy.sdk(key).responses.create(model=MODEL, input="Hello", background=True)
    assert work.status == "queued"
    if how == "revoked":
        revoke(proxy, key)
    else:
        change(proxy, key, expires_at=time.time() + 0.2)
        until(lambda: status(proxy, key.secret) == 401)
    first.responses.cancel(busy.id)
    until(lambda: proxy.log.lines(caller=key.id, ending="refused"))
    (line,) = proxy.log.lines(caller=key.id, ending="refused")
    assert (line["status"], line["error_code"]) == (401, "invalid_api_key")
    assert "neurons" not in line
    assert not [one for one in control.get("/requests").json() if one["model"] == MODEL]
    if how == "expired":
        change(proxy, key, expires_at=None)
        until(lambda: proxy.sdk(key).responses.retrieve(work.id).status == "failed")
        failed = proxy.sdk(key).responses.retrieve(work.id)
        assert "not accepted any more" in failed.error.message


def test_no_secret_is_in_anything_that_is_written(emulator, tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(declaration(declared("a", secret="sk-in-the-file-0123456789")), "utf-8")
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("FLARELAY_", "CLOUDFLARE_"))}
    environ = {
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "FLARELAY_UPSTREAM_URL": f"{emulator}/client/v4",
        "FLARELAY_DATA_DIR": str(tmp_path),
        "FLARELAY_ADMIN_KEY": ADMIN,
        "FLARELAY_API_KEYS": "sk-in-the-settings-0123456789",
        "FLARELAY_KEYS_FILE": str(path),
        "FLARELAY_LOG_LEVEL": "debug",
        "FLARELAY_PORT": "0",
    }
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as to_out, err.open("w") as to_err:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            cwd=Path(__file__).resolve().parents[2],
            env={**clean, **environ},
            stdout=to_out,
            stderr=to_err,
        )
    try:
        until(lambda: re.search(r"http://[0-9.]+:\d+", err.read_text()), 20)
        address = re.search(r"http://[0-9.]+:\d+", err.read_text())[0]
        with (
            httpx.Client(base_url=address, headers=Key("", ADMIN).header, trust_env=False, verify=NO_TLS) as admin,
            OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
        ):
            made = admin.post("/admin/keys", json={"name": "ann", "requests_per_minute": 2}).json()
            rotated = admin.post(f"/admin/keys/{made['id']}/rotate", json={"keep_seconds": 60}).json()
            secrets = [made["key"], rotated["key"], "sk-in-the-file-0123456789", "sk-in-the-settings-0123456789", ADMIN]
            unknown = "sk-of-nobody-0123456789abcdef"
            told = ""
            for secret in [*secrets, *secrets, unknown]:
                try:
                    ask(client.with_options(api_key=secret), "responses", text="canary-prompt-7")
                except openai.APIStatusError as error:
                    told += error.response.text + str(error.response.headers)
            for shown in ("keys", f"keys/{made['id']}", "usage", "limits"):
                told += admin.get(f"/admin/{shown}").text
            told += admin.delete(f"/admin/keys/{made['id']}").text
            assert status_of(client, rotated["key"]) == 401
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    written = out.read_text() + err.read_text()
    assert made["id"] in written
    assert "canary" not in written
    everything = written + told
    for secret in [*secrets, unknown, TOKEN]:
        assert secret[-16:] not in everything
        assert secret[-16:].encode().hex() not in everything
    assert made["key"].split("-")[3] not in everything


def status_of(client, secret):
    try:
        return client.with_options(api_key=secret).models.with_raw_response.list().status_code
    except openai.APIStatusError as error:
        return error.status_code

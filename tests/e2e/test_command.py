"""The command as people start it: a process, a port, a signal."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.keys.declared import declaration
from tests.keys.keyring import key
from tests.serving import until

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("FLARELAY_", "CLOUDFLARE_"))}


def flarelay(*arguments, **environ):
    return subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={**CLEAN, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def address_of(process):
    line = process.stderr.readline()
    found = re.search(r"http://[0-9.]+:\d+", line)
    assert found, line + process.stderr.read()
    return found[0]


@contextlib.contextmanager
def serving(data_dir, **environ):
    process = flarelay("serve", "--offline", "--port", "0", FLARELAY_DATA_DIR=str(data_dir), **environ)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def offline(tmp_path):
    with serving(tmp_path) as process:
        yield process


def done(*arguments, status=0, **environ):
    """Run a command to its end; returns what it wrote to standard output and to standard error."""
    process = flarelay(*arguments, **environ)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status, err
    return out, err


def test_offline_answers_and_ends_at_a_signal(offline):
    address = address_of(offline)
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        assert client.get("/readyz").status_code == 200
        body = {"model": "gpt-oss-120b", "messages": [{"role": "user", "content": "Say exactly: canary-prompt-7"}]}
        answer = client.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer canary-key-7"})
        assert answer.json()["choices"][0]["message"]["content"] == "canary-prompt-7"
        streamed = client.post("/v1/responses", json={"model": "gpt-oss-20b", "input": "Hello", "stream": True})
        assert streamed.text.endswith("data: [DONE]\n\n")
    offline.send_signal(signal.SIGTERM)
    out, err = offline.communicate(timeout=20)
    assert offline.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["surface"], line["status"], line["ending"]) for line in lines] == [
        ("chat", 200, "completed"),
        ("responses", 200, "completed"),
    ]
    assert lines[0]["completion_tokens"] > 0
    assert "canary" not in out + err


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (["serve"], {}, "CLOUDFLARE_ACCOUNT_ID"),
        (["serve"], {"CLOUDFLARE_ACCOUNT_ID": "a" * 32}, "CLOUDFLARE_API_TOKEN"),
        (["serve"], {"CLOUDFLARE_ACCOUNT_ID": "${ACCOUNT}", "CLOUDFLARE_API_TOKEN": "x" * 40}, "CLOUDFLARE_ACCOUNT_ID"),
        (["serve"], {"CLOUDFLARE_ACCOUNT_ID": "aB3x" * 10, "CLOUDFLARE_API_TOKEN": "1b" * 16}, "swap"),
        (["serve", "--offline", "--host", "0.0.0.0"], {}, "FLARELAY_API_KEYS"),
        (["serve", "--offline"], {"FLARELAY_PROT": "1"}, "FLARELAY_PORT"),
        (["serve", "--offline"], {"FLARELAY_ALIASES": "gpt-4o=no-such-model"}, "no-such-model"),
        (["serve", "--offline", "--config", "absent.toml"], {}, "absent.toml"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments, environ, said):
    process = flarelay(*arguments, **environ)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


def test_a_taken_port_is_said_in_one_sentence(offline):
    port = address_of(offline).rpartition(":")[2]
    process = flarelay("serve", "--offline", "--port", port)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.startswith("flarelay: cannot listen on")


def test_importing_the_package_does_nothing():
    code = (
        "import sys, threading; before = set(sys.modules); import app\n"
        "assert threading.active_count() == 1\n"
        "assert {name for name in sys.modules if name.startswith('app')} == {'app'}\n"
        "import app.main, app.cli, asyncio\n"
        "assert threading.active_count() == 1\n"
        "assert asyncio.events._get_running_loop() is None\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, env=CLEAN, check=True, timeout=60)


def test_the_command_line_loads_nothing_that_help_does_not_need():
    code = (
        "import sys, app.cli\n"
        "heavy = {'asyncio', 'sqlalchemy', 'fastapi', 'pydantic', 'uvicorn', 'httpx', 'aiohttp', 'tomllib', 'orjson'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, env=CLEAN, check=True, timeout=60)


def test_a_shell_takes_the_key_alone(tmp_path):
    script = 'KEY=$("$0" -m app keys create --name ci --quiet) && printf "%s" "$KEY" | "$0" -m app keys hash'
    shell = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable],
        cwd=ROOT,
        env={**CLEAN, "FLARELAY_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert re.fullmatch(r"[0-9a-f]{64}\n", shell.stdout)
    assert len(shell.stderr.splitlines()) == 1
    out, _ = done("keys", "list", "--json", FLARELAY_DATA_DIR=str(tmp_path))
    assert [one["name"] for one in json.loads(out)] == ["ci"]


def test_a_person_at_a_terminal_sees_more_and_is_asked(tmp_path):
    def at_a_terminal(*arguments, typed=""):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "app", *arguments]
        environ = {**CLEAN, "FLARELAY_DATA_DIR": str(tmp_path)}
        with subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
        ) as it:
            os.close(theirs)
            os.write(ours, typed.encode())
            _, err = it.communicate(timeout=30)
            out = os.read(ours, 65536) if it.returncode == 0 and not typed else b""
        os.close(ours)
        return it.returncode, out.decode(), err.decode()

    status, out, err = at_a_terminal("keys", "create", "--name", "search team")
    assert status == 0
    assert "search team" in out
    key_id = re.search(r"key-[0-9a-z]{12}", out)[0]
    assert re.search(rf"^sk-fl-{key_id[4:]}-[0-9A-Za-z]{{43}}\r?$", out, re.MULTILINE)
    assert "only this once" in err
    status, _, err = at_a_terminal("keys", "revoke", key_id, typed="n\n")
    assert status == 1
    assert f"Revoke {key_id} for ever?" in err
    assert json.loads(done("keys", "show", key_id, "--json", FLARELAY_DATA_DIR=str(tmp_path))[0])["status"] == "active"
    status, _, err = at_a_terminal("keys", "revoke", key_id, typed="y\n")
    assert status == 0
    assert json.loads(done("keys", "show", key_id, "--json", FLARELAY_DATA_DIR=str(tmp_path))[0])["status"] == "revoked"


@contextlib.contextmanager
def asking(process):
    """Ask a running server with a key; gives the status and the error's message."""
    with httpx.Client(base_url=address_of(process), timeout=30, trust_env=False) as client:

        def ask(secret):
            answer = client.get("/v1/models", headers={"authorization": f"Bearer {secret}"})
            return answer.status_code, answer.json().get("error", {}).get("message", "")

        yield ask


def test_commands_are_felt_by_a_running_server(tmp_path):
    environ = {"FLARELAY_DATA_DIR": str(tmp_path)}
    with serving(tmp_path, FLARELAY_REQUIRE_KEYS="true") as server, asking(server) as ask:
        assert ask("anything")[0] == 401
        told = json.loads(done("keys", "create", "--name", "ci", "--expires", "1d", "--json", **environ)[0])
        first, key_id = told["key"], told["id"]
        until(lambda: ask(first)[0] == 200, 1)
        second = done("keys", "rotate", key_id, "--keep", "1h", **environ)[0].strip()
        until(lambda: ask(second)[0] == 200, 1)
        assert ask(first)[0] == 200
        done("keys", "revoke", key_id, "--yes", **environ)
        until(lambda: ask(second)[0] == 401, 1)
        status, message = ask(first)
        assert status == 401
        assert message.startswith("Incorrect API key provided")
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=20)
    assert first[-43:] not in out + err
    assert second[-43:] not in out + err


def test_a_file_of_keys_is_followed(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(declaration(key("old", expires_at=1.0)) + declaration(key("a")), "utf-8")
    with serving(tmp_path / "data", FLARELAY_KEYS_FILE=str(path)) as server, asking(server) as ask:
        assert ask("a")[0] == 200
        status, message = ask("old")
        assert status == 401
        assert "expired" in message
        path.write_text(declaration(key("b")), "utf-8")
        until(lambda: ask("b")[0] == 200, 1)
        assert ask("a")[0] == 401
        assert "has changed (keys: 1)" in server.stderr.readline()
        path.write_text("[[keys", "utf-8")
        assert "cannot be used" in server.stderr.readline()
        assert ask("b")[0] == 200


def test_a_bad_file_of_keys_stops_the_start(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(declaration(key("a")) + "requests_per_minut = 5\n", "utf-8")
    _, err = done("serve", "--offline", "--port", "0", status=2, FLARELAY_KEYS_FILE=str(path))
    assert len(err.splitlines()) == 1
    assert "requests_per_minut of key 1 (key-a) is not a field; did you mean requests_per_minute?" in err

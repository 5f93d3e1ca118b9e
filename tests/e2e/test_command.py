"""The command as people start it: a process, a port, a signal."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

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


@pytest.fixture
def offline():
    process = flarelay("serve", "--offline", "--port", "0")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


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

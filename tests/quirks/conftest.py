"""Every quirk is looked at in four ways: on both surfaces, streamed and not."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from app.main import create_app
from tests.conftest import ACCOUNT, TOKEN, settings_for
from tests.quirks.views import MODES, Asker
from tests.serving import serving

NATIVE = [
    "@cf/openai/gpt-oss-20b",
    "@cf/moonshotai/kimi-k2.6",
    "@cf/zai-org/glm-4.7-flash",
    "@cf/meta/llama-3.1-8b-instruct-fp8",
    "@cf/meta/llama-3.2-1b-instruct",
    "@cf/meta/llama-3.2-3b-instruct",
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
    "@cf/meta/llama-4-scout-17b-16e-instruct",
    "@cf/mistralai/mistral-small-3.1-24b-instruct",
    "@cf/qwen/qwen3-30b-a3b-fp8",
    "@cf/emulator/null-final-frame",
    "@cf/emulator/calls-in-every-frame",
    "@cf/emulator/number-tokens",
    "@cf/emulator/null-finaliser",
    "@cf/emulator/xml-tool-call",
    "@cf/emulator/object-args",
]
"""The models that the second proxy speaks to on the native route."""


@contextlib.contextmanager
def client_of(address):
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def native_proxy(emulator):
    settings = settings_for(emulator, dialects=dict.fromkeys(NATIVE, "native"))
    with serving(create_app(settings)) as address, client_of(address) as client:
        yield client


@pytest.fixture(params=MODES, ids=lambda mode: f"{mode[0]}-{'streamed' if mode[1] else 'whole'}")
def mode(request):
    return request.param


@pytest.fixture
def ask(http, mode):
    """Asks the proxy in one way."""
    return Asker(http, mode[0], stream=mode[1])


@pytest.fixture
def ask_native(native_proxy, mode):
    """Asks the proxy that uses the native route."""
    return Asker(native_proxy, mode[0], stream=mode[1])


@pytest.fixture
def sent(control):
    """What the emulator was asked to generate, in order: whole records."""

    def read():
        return [record for record in control.get("/requests").json() if record["method"] == "POST"]

    return read


@pytest.fixture
def truth(upstream, sent):
    """The answer to the last request when it is put to the emulator itself, without a stream."""

    def replay():
        record = sent()[-1]
        body = {key: value for key, value in record["body"].items() if key != "stream_options"}
        return upstream.post(record["path"].partition("/ai")[2], json={**body, "stream": False}).json()

    return replay


@pytest.fixture(scope="session")
def upstream(emulator):
    """The emulator's own routes, to show that a quirk is really there."""
    with client_of(f"{emulator}/client/v4/accounts/{ACCOUNT}/ai") as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client

"""A real emulator and a real proxy on loopback sockets, with the official SDK in front.

There is one of each for the whole run, clients included: making one reads every certificate of the system.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from app.emulator.server import create_emulator
from app.main import create_app
from app.settings import load
from tests.serving import serving

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "token-of-the-emulator-0123456789abcdefgh"


@pytest.fixture(scope="session")
def emulator():
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN)) as address:
        yield address


@functools.cache
def data_dirs():
    """Where the proxies of a run have their data; removed at its end."""
    folder = tempfile.mkdtemp(prefix="flarelay-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def settings_for(emulator_address, **more):
    return load(
        {
            "cloudflare_account_id": ACCOUNT,
            "cloudflare_api_token": TOKEN,
            "upstream_url": f"{emulator_address}/client/v4",
            "log_format": "json",
            "retries": 0,
            "data_dir": tempfile.mkdtemp(dir=data_dirs()),
            **more,
        },
        {},
    )


@pytest.fixture(scope="session")
def proxy(emulator):
    aliases = {"gpt-4o": "@cf/openai/gpt-oss-120b"}
    # What one test makes fail, the next one asks for again.
    with serving(create_app(settings_for(emulator, aliases=aliases, remember_failures=False))) as address:
        yield address


@pytest.fixture(scope="session")
def http(proxy):
    with httpx.Client(base_url=proxy, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def control_plane(emulator):
    with httpx.Client(base_url=f"{emulator}/_emulator", timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def control(control_plane):
    """The emulator's control plane; what was received before the test is forgotten, and faults end with it."""
    control_plane.delete("/requests").raise_for_status()
    yield control_plane
    control_plane.delete("/faults").raise_for_status()


@pytest.fixture(scope="session")
def sdk(proxy):
    with OpenAI(base_url=f"{proxy}/v1", api_key="any", max_retries=0, _strict_response_validation=True) as client:
        yield client


@pytest.fixture
async def async_sdk(proxy):
    async with AsyncOpenAI(
        base_url=f"{proxy}/v1", api_key="any", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client

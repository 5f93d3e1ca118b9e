import time

import httpx
import pytest

from app.doctor import Options, diagnose
from app.emulator.server import create_emulator
from app.settings import load
from tests.doctor.account import ACCOUNT, OFF, TOKEN


@pytest.fixture
def examined():
    """Examine an installation in front of an emulator; the findings come by their names."""

    async def examined(emulator=None, *, transport=None, clock=time.time, options=None, **more):
        app = create_emulator(**{"account_id": ACCOUNT, "token": TOKEN, **(emulator or {})})
        settings = {"cloudflare_account_id": ACCOUNT, "cloudflare_api_token": TOKEN, **OFF, **more}
        made = await diagnose(
            lambda: load(settings, {}),
            Options(**{"seconds": 20, **(options or {})}),
            lambda: transport or httpx.ASGITransport(app),
            clock,
        )
        told = str(made.as_dict())
        assert settings["cloudflare_api_token"] not in told
        assert ACCOUNT not in told
        return {finding.check: finding for finding in made.findings}, made

    return examined

"""The administration's routes in an application of their own; the gate in front of them has its own tests."""

import hashlib
import os
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from app.api import errors
from app.api.admin import keys, usage
from app.api.admin.keys import KeyKeeping
from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.core.key import ApiKey
from app.core.limits import LimitSpec
from app.exchange.accounting import Accounting
from tests.api.key_records import MemoryKeys
from tests.exchange.ledger import MemoryLedger

NOW = 1_795_262_400.0
"""2026-11-21T12:00:00Z."""


class Seen:
    """What a process knows of the keys: as much as when it was last told to look."""

    def __init__(self, records):
        self.records = records
        self.digests = {}
        self.fails = None

    async def look(self):
        if self.fails is not None:
            raise self.fails
        for key in (await self.records.changes(0)).keys:
            self.digests[key.id] = None if key.revoked_at is not None else key.digest

    def accepts(self, secret):
        return hashlib.sha256(secret.encode()).digest() in self.digests.values()


@pytest.fixture(scope="session")
def catalogue():
    return build(bundled(), aliases={"gpt-4o": "gpt-oss-120b"})


@pytest.fixture
def world(catalogue):
    """All that the routes work with; what is set on it holds from the next request on."""
    records, ledger = MemoryKeys(), MemoryLedger()
    world = SimpleNamespace(now=NOW, records=records, store=True, seen=Seen(records), ledger=ledger)
    world.fixed = [
        ("settings", ApiKey("key-0a1b2c3d", "key-0a1b2c3d", hashlib.sha256(b"set").digest())),
        ("file", ApiKey("search", "search team", hashlib.sha256(b"declared").digest(), limits=LimitSpec(5))),
    ]
    world.accounting = Accounting(lambda: ledger if world.store else None)
    keeping = KeyKeeping(
        lambda: records if world.store else None,
        lambda: world.fixed,
        world.seen.look,
        os.urandom,
        lambda: world.now,
    )
    world.app = FastAPI(openapi_url=None, redirect_slashes=False)
    world.app.router.routes.extend(keys.routes(keeping))
    stats = {"limiter": lambda: {"backend": "memory", "owners": 3}, "guard": lambda: {"waiting": 0}}
    world.app.router.routes.extend(
        usage.routes(world.accounting, lambda: catalogue, lambda: world.now, 10_000, stats),
    )
    errors.install(world.app)
    return world


@pytest.fixture
async def http(world):
    transport = httpx.ASGITransport(world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://flarelay") as client:
        yield client


async def create(http, **body):
    answer = await http.post("/admin/keys", json={"name": "search", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()

"""How soon a change is felt: the ring's own job, at its own pace, on a real database and a real file."""

import asyncio
import contextlib
import os
import time

import pytest
from msgspec.structs import replace

from app.core.key import ApiKey
from app.keys.declared import declaration
from app.keys.file import KeyFile
from app.keys.ring import KeyRing
from app.keys.secret import digest, new_key_id, new_secret
from app.store.opening import open_store
from tests.keys.keyring import eventually, key


@contextlib.asynccontextmanager
async def followed(ring):
    job = asyncio.create_task(ring.keep_fresh())
    try:
        yield
    finally:
        job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'keys.db'}")
    yield store
    await store.close()


async def test_a_revoked_key_stops_within_a_second_on_every_replica(store, tmp_path):
    key_id = new_key_id(os.urandom)
    secret = new_secret(key_id, os.urandom)
    await store.keys.add(ApiKey(key_id, "a", digest(secret), time.time()))
    replicas = [KeyRing(clock=time.time) for _ in range(3)]
    other = await open_store(f"sqlite:///{tmp_path / 'keys.db'}")
    try:
        async with contextlib.AsyncExitStack() as stack:
            for ring in replicas:
                await ring.attach(other.keys)
                await stack.enter_async_context(followed(ring))
                # Replicas do not look at the same moments.
                await asyncio.sleep(0.13)
            assert all(ring.find(secret).id == key_id for ring in replicas)
            await store.keys.change(key_id, lambda kept: replace(kept, revoked_at=time.time()))
            took = await eventually(lambda: not any(ring.find(secret) for ring in replicas))
            assert took < 1.0
            assert {ring.refusal(secret) for ring in replicas} == {"revoked"}
            assert {ring.by_id(key_id) for ring in replicas} == {None}
    finally:
        await other.close()


async def test_a_new_key_opens_within_a_second(store):
    ring = KeyRing(clock=time.time, required=True)
    await ring.attach(store.keys)
    async with followed(ring):
        await store.keys.add(key("a", created_at=1.0))
        assert await eventually(lambda: ring.find("a")) < 1.0


async def test_a_changed_file_is_felt_within_a_second(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(declaration(key("a")), "utf-8")
    ring = KeyRing(file=KeyFile(path), clock=time.time)
    async with followed(ring):
        path.write_text(declaration(key("b")), "utf-8")
        assert await eventually(lambda: ring.find("b")) < 1.0
        assert ring.find("a") is None

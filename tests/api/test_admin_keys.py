import hashlib
import logging
import os
import re
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from msgspec.structs import fields

from app.api import errors
from app.api.admin import keys
from app.api.admin.keys import KeyKeeping
from app.core.key import ApiKey
from app.core.limits import LimitSpec
from app.keys.ring import KeyRing
from app.keys.secret import PATTERN
from app.store.contract import StoreUnavailable
from app.store.opening import open_store
from tests.api.conftest import NOW, create
from tests.serving import serving
from tests.store import databases

NO_LIMITS = {field.name: None for field in fields(LimitSpec)}
HOUR = 3_600


async def ids(http, **query):
    answer = await http.get("/admin/keys", params=query)
    assert answer.status_code == 200, answer.text
    return [key["id"] for key in answer.json()["data"]]


async def test_a_key_is_made_shown_once_and_accepted_at_once(http, world):
    answer = await http.post(
        "/admin/keys",
        json={
            "name": " search team ",
            "models": ["gpt-oss-*"],
            "expires_at": "2027-01-01T00:00:00Z",
            "requests_per_minute": 60,
            "usd_per_month": 2.5,
            "neurons_per_day": 1_000,
            "metadata": {"team": "search"},
        },
    )
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    secret, key_id = made.pop("key"), made["id"]
    assert re.fullmatch(PATTERN, secret)
    assert made == {
        "object": "api_key",
        "id": key_id,
        "name": "search team",
        "source": "store",
        "status": "active",
        "created_at": int(NOW),
        "expires_at": 1_798_761_600,
        "revoked_at": None,
        "previous_until": None,
        "models": ["gpt-oss-*"],
        "limits": {**NO_LIMITS, "requests_per_minute": 60, "usd_per_month": 2.5, "neurons_per_day": 1_000},
        "metadata": {"team": "search"},
    }
    assert world.records.kept[key_id].digest == hashlib.sha256(secret.encode()).digest()
    assert world.seen.accepts(secret)
    assert (await http.get(f"/admin/keys/{key_id}")).json() == made


async def test_two_keys_are_never_alike(http):
    made = [await create(http) for _ in range(20)]
    assert len({key["id"] for key in made}) == len({key["key"] for key in made}) == 20


async def test_a_change_sets_what_it_names_and_null_clears(http, world):
    made = await create(
        http, models=["a"], expires_at=NOW + HOUR, requests_per_day=5, usd_per_day=1, metadata={"a": "b"}
    )
    path = f"/admin/keys/{made['id']}"
    changed = (await http.patch(path, json={"name": "new", "tokens_per_day": 7, "usd_per_day": None})).json()
    assert changed["limits"] == {**NO_LIMITS, "requests_per_day": 5, "tokens_per_day": 7}
    assert (changed["name"], changed["models"], changed["metadata"]) == ("new", ["a"], {"a": "b"})
    assert changed["expires_at"] == int(NOW + HOUR)
    cleared = (
        await http.post(path, json={"models": None, "expires_at": None, "metadata": None, "requests_per_day": None})
    ).json()
    assert (cleared["models"], cleared["expires_at"], cleared["metadata"]) == ([], None, {})
    assert cleared["limits"] == {**NO_LIMITS, "tokens_per_day": 7}
    assert (await http.get(path)).json() == cleared
    assert "key" not in cleared
    assert world.seen.accepts(made["key"])


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_a_while_longer(http, world):
    made = await create(http)
    path = f"/admin/keys/{made['id']}"
    rotated = (await http.post(f"{path}/rotate", json={"keep_seconds": 60})).json()
    assert rotated.pop("key") != made["key"]
    assert rotated["previous_until"] == int(NOW + 60)
    kept = world.records.kept[made["id"]]
    assert kept.previous_digest == hashlib.sha256(made["key"].encode()).digest()
    assert (await http.get(path)).json() == rotated
    world.now += 60
    assert (await http.get(path)).json()["previous_until"] is None
    again = (await http.post(f"{path}/rotate")).json()
    kept = world.records.kept[made["id"]]
    assert (kept.previous_digest, kept.previous_until) == (None, None)
    assert world.seen.accepts(again["key"])
    assert not world.seen.accepts(made["key"])


async def test_a_revoked_key_is_refused_at_once_and_stays_revoked(http, world):
    made = await create(http)
    path = f"/admin/keys/{made['id']}"
    answer = await http.delete(path)
    assert answer.json() == {"id": made["id"], "object": "api_key.deleted", "deleted": True}
    assert not world.seen.accepts(made["key"])
    world.now += 60
    assert (await http.delete(path)).json()["deleted"] is True
    told = (await http.get(path)).json()
    assert (told["status"], told["revoked_at"]) == ("revoked", int(NOW))
    for answer in (await http.patch(path, json={"name": "b"}), await http.post(f"{path}/rotate")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "key_is_revoked")
    assert world.records.kept[made["id"]].name == "search"


async def test_how_a_key_stands(http, world):
    made = await create(http, expires_at=NOW + HOUR)
    path = f"/admin/keys/{made['id']}"
    assert (await http.get(path)).json()["status"] == "active"
    world.now += HOUR
    assert (await http.get(path)).json()["status"] == "expired"
    await http.delete(path)
    assert (await http.get(path)).json()["status"] == "revoked"


@pytest.mark.parametrize("key_id", ["key-unknown", "%00", "ü", "a" * 10_000])
@pytest.mark.parametrize(
    ("method", "tail"), [("GET", ""), ("POST", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")]
)
async def test_a_key_that_is_not_there(http, key_id, method, tail):
    answer = await http.request(method, f"/admin/keys/{key_id}{tail}")
    assert answer.status_code == 404
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(answer.text) < 1_000


async def test_keys_are_listed_page_by_page(http, world):
    world.fixed = []
    made = []
    for _ in range(5):
        made.append((await create(http))["id"])
        world.now += 1
    newest_first = made[::-1]
    assert await ids(http) == newest_first
    assert await ids(http, order="asc") == made
    page = (await http.get("/admin/keys", params={"limit": 2})).json()
    assert page | {"data": None} == {
        "object": "list",
        "data": None,
        "first_id": newest_first[0],
        "last_id": newest_first[1],
        "has_more": True,
    }
    last = (await http.get("/admin/keys", params={"limit": 2, "after": newest_first[3]})).json()
    assert ([key["id"] for key in last["data"]], last["has_more"]) == (newest_first[4:], False)
    assert (await http.get("/admin/keys", params={"after": newest_first[4]})).json()["data"] == []


async def test_revoked_keys_are_listed_on_request_and_still_say_where_a_page_begins(http, world):
    world.fixed = []
    made = []
    for _ in range(4):
        made.append((await create(http))["id"])
        world.now += 1
    await http.delete(f"/admin/keys/{made[1]}")
    assert await ids(http, order="asc") == [made[0], made[2], made[3]]
    assert await ids(http, order="asc", include_revoked="true") == made
    assert await ids(http, order="asc", after=made[1]) == made[2:]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "key-unknown"}, "after"),
        ({"include_revoked": "yes"}, "include_revoked"),
        ({"includerevoked": "true"}, "includerevoked"),
    ],
)
async def test_malformed_queries(http, query, param):
    answer = await http.get("/admin/keys", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_keys_that_are_not_stored_are_shown_and_cannot_be_changed(http, world):
    made = (await create(http))["id"]
    assert await ids(http) == [made, "search", "key-0a1b2c3d"]
    told = (await http.get("/admin/keys/search")).json()
    assert (told["source"], told["name"], told["created_at"]) == ("file", "search team", None)
    assert told["limits"]["requests_per_minute"] == 5
    assert (await http.get("/admin/keys/key-0a1b2c3d")).json()["source"] == "settings"
    for key_id, place in (("search", "FLARELAY_KEYS_FILE"), ("key-0a1b2c3d", "FLARELAY_API_KEYS")):
        path = f"/admin/keys/{key_id}"
        for answer in (
            await http.patch(path, json={"name": "b"}),
            await http.post(path, json={"name": "b"}),
            await http.post(f"{path}/rotate"),
            await http.delete(path),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_is_read_only")
            assert place in answer.json()["error"]["message"]


async def test_a_key_that_is_set_goes_before_a_stored_one_with_its_id(http, world):
    await world.records.add(ApiKey("search", "a namesake", b"", NOW))
    assert await ids(http) == ["search", "key-0a1b2c3d"]
    assert (await http.get("/admin/keys")).json()["data"][0]["source"] == "file"
    assert (await http.get("/admin/keys/search")).json()["source"] == "file"
    assert (await http.delete("/admin/keys/search")).status_code == 403


async def test_without_a_store_there_are_only_the_others(http, world):
    world.store = False
    assert await ids(http) == ["search", "key-0a1b2c3d"]
    assert (await http.get("/admin/keys/search")).status_code == 200
    for answer in (
        await http.post("/admin/keys", json={"name": "a"}),
        await http.patch("/admin/keys/key-1", json={"name": "a"}),
        await http.delete("/admin/keys/key-1"),
    ):
        assert answer.status_code == 404
        assert "FLARELAY_STORE" in answer.json()["error"]["message"]


async def test_while_the_store_is_away(http, world):
    made = await create(http)
    world.records.away = True
    path = f"/admin/keys/{made['id']}"
    for method, target in (("GET", "/admin/keys"), ("GET", path), ("DELETE", path), ("POST", f"{path}/rotate")):
        answer = await http.request(method, target)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
    assert (await http.get("/admin/keys/search")).status_code == 200


@pytest.mark.parametrize("error", [StoreUnavailable(), RuntimeError("a defect")])
async def test_a_new_key_is_shown_although_this_process_cannot_see_it_yet(http, world, error, caplog):
    world.seen.fails = error
    made = await create(http)
    assert (await http.get(f"/admin/keys/{made['id']}")).status_code == 200
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert made["key"] not in caplog.text


async def test_no_answer_and_no_log_holds_a_key_or_a_digest_but_the_one_that_shows_it(http, world, caplog):
    caplog.set_level(logging.DEBUG)
    made = await create(http)
    path = f"/admin/keys/{made['id']}"
    rotated = (await http.post(f"{path}/rotate", json={"keep_seconds": 60})).json()
    world.seen.fails = StoreUnavailable()
    answers = [
        await http.get("/admin/keys"),
        await http.get(path),
        await http.post(path, json={"name": "b"}),
        await http.patch(path, json={"nome": "b"}),
        await http.delete(path),
        await http.post(f"{path}/rotate"),
        await http.get("/admin/keys", params={"include_revoked": "true"}),
        await http.get("/admin/usage"),
        await http.get("/admin/limits"),
    ]
    seen = "\n".join(f"{answer.headers} {answer.text}" for answer in answers) + caplog.text
    secrets = [made["key"], rotated["key"], "set", "declared"]
    for secret in secrets:
        digest = hashlib.sha256(secret.encode())
        assert digest.hexdigest() not in seen.lower()
        assert repr(digest.digest())[2:-1] not in seen
    for secret in secrets[:2]:
        assert secret.rpartition("-")[2] not in seen


@pytest.fixture(params=databases.KINDS)
def kind(request):
    if request.param == "postgresql":
        databases.need_postgres()
    return request.param


async def test_everything_over_the_real_store_and_a_real_socket(kind, tmp_path):
    """The same contract in a database: among others, that a refused change changes nothing."""
    opened = []
    ring = KeyRing(clock=lambda: NOW)

    @asynccontextmanager
    async def lifespan(_):
        async with databases.empty(kind, tmp_path) as url:
            opened.append(await open_store(url))
            await ring.attach(opened[0].keys)
            yield
            await opened[0].close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.router.routes.extend(
        keys.routes(KeyKeeping(lambda: opened[0].keys, ring.fixed, ring.refresh, os.urandom, lambda: NOW))
    )
    errors.install(app)
    with serving(app) as address:
        async with httpx.AsyncClient(base_url=address, trust_env=False) as http:
            made = await create(http, models=["a"], requests_per_minute=5, usd_per_day=0.5, metadata={"a": "b"})
            secret = made.pop("key")
            path = f"/admin/keys/{made['id']}"
            assert (await http.get(path)).json() == made
            assert ring.find(secret).limits == LimitSpec(requests_per_minute=5, usd_per_day=0.5)
            changed_limits = (await http.patch(path, json={"requests_per_minute": None})).json()["limits"]
            assert changed_limits == {**NO_LIMITS, "usd_per_day": 0.5}
            assert ring.find(secret).limits == LimitSpec(usd_per_day=0.5)
            rotated = (await http.post(f"{path}/rotate", json={"keep_seconds": 60})).json()["key"]
            assert ring.find(secret).id == ring.find(rotated).id == made["id"]
            assert (await http.delete(path)).json()["deleted"] is True
            assert ring.find(secret) is ring.find(rotated) is None
            assert (await http.post(f"{path}/rotate")).status_code == 400
            assert (await http.get(path)).json()["status"] == "revoked"
            assert await ids(http, include_revoked="true") == [made["id"]]
            for key_id in ("key-unknown", "%00", "ü", "a" * 10_000):
                assert (await http.delete(f"/admin/keys/{key_id}")).status_code == 404

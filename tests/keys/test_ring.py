import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.caller import ANONYMOUS
from app.core.errors import Overloaded
from app.core.key import ApiKey
from app.core.limits import LimitSpec
from app.keys.declared import declaration
from app.keys.file import KeyFile
from app.keys.ring import KeyRing
from app.keys.secret import digest
from app.keys.static import static_keys
from tests.keys.keyring import Clock, MemorySource, eventually, key


def ring_of(*static, clock=None, **more):
    return KeyRing(static, clock=clock or Clock(), **more)


def file_of(path, *keys):
    path.write_text("".join(map(declaration, keys)) or "keys = []", "utf-8")
    return KeyFile(path)


async def stored(*keys, **more):
    source = MemorySource()
    for one in keys:
        source.put(one)
    ring = ring_of(**more)
    await ring.attach(source)
    return ring, source


def test_a_key_finds_its_caller_with_the_limits_that_hold_for_it():
    own = LimitSpec(requests_per_minute=5)
    default = LimitSpec(requests_per_minute=100, concurrency=3)
    ring = ring_of(key("a", limits=own, models=("gpt-oss-*",)), key("b"), default=default)
    found = ring.find("a")
    assert (found.id, found.name, found.models) == ("key-a", "a", ("gpt-oss-*",))
    assert found.limits == LimitSpec(requests_per_minute=5, concurrency=3)
    assert ring.find("b").limits == default


def test_finding_makes_nothing():
    ring = ring_of(key("a"))
    assert ring.find("a") is ring.find("a") is ring.by_id("key-a")


@pytest.mark.parametrize("secret", ["", "alph", "alphaa", "ALPHA", " alpha", "älpha", "\udcff"])
def test_anything_else_finds_nobody(secret):
    ring = ring_of(key("alpha"))
    assert ring.find(secret) is None
    assert ring.refusal(secret) == "unknown"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True), st.text())
def test_exactly_the_keys_are_found(known, secret):
    ring = ring_of(*static_keys(known))
    assert (ring.find(secret) is not None) == (secret in known)
    assert all(ring.find(one) is not None for one in known)


def test_set_keys_have_ids_of_their_digests():
    (one,) = static_keys(["alpha", "alpha"])
    assert one.id == one.name == "key-" + digest("alpha").hex()[:8]
    assert ring_of(one).find("alpha").id == one.id
    with pytest.raises(ValueError, match="empty"):
        static_keys(["alpha", ""])


def test_digests_that_begin_alike_are_told_apart():
    right = digest("alpha")
    alike = ApiKey("key-other", "other", right[:8] + bytes(24))
    for keys in ([alike], [alike, key("alpha")], [key("alpha"), alike]):
        found = ring_of(*keys).find("alpha")
        assert (found.id if found else None) == ("key-alpha" if len(keys) == 2 else None)


def test_a_key_expires_to_the_second():
    clock = Clock(100.0)
    ring = ring_of(key("a", expires_at=200.0), clock=clock)
    clock.now = 199.9
    assert ring.find("a") is not None
    clock.now = 200.0
    assert ring.find("a") is None
    assert ring.by_id("key-a") is None
    assert ring.refusal("a") == "expired"


def test_a_rotated_key_works_a_while_longer():
    clock = Clock(100.0)
    rotated = key("a", secret="new", previous_digest=digest("old"), previous_until=200.0)
    ring = ring_of(rotated, clock=clock)
    assert ring.find("old") is ring.find("new") is not None
    clock.now = 200.0
    assert ring.find("old") is None
    assert ring.refusal("old") == "revoked"
    assert ring.find("new") is not None


def test_a_rotated_key_does_not_outlive_its_expiry():
    clock = Clock(100.0)
    fields = {"previous_digest": digest("old"), "previous_until": 300.0, "expires_at": 200.0}
    ring = ring_of(key("a", secret="new", **fields), clock=clock)
    clock.now = 200.0
    assert (ring.find("old"), ring.find("new")) == (None, None)
    assert (ring.refusal("old"), ring.refusal("new")) == ("expired", "expired")


@pytest.mark.parametrize("revoked_at", [50.0, 10_000.0])
async def test_a_revoked_key_is_refused_even_if_it_was_revoked_by_a_clock_that_is_ahead(revoked_at):
    fields = {"previous_digest": digest("old"), "previous_until": 300.0}
    ring, _ = await stored(key("a", revoked_at=revoked_at, **fields), clock=Clock(100.0))
    assert (ring.find("a"), ring.find("old"), ring.by_id("key-a")) == (None, None, None)
    assert (ring.refusal("a"), ring.refusal("old")) == ("revoked", "revoked")


async def test_the_door_is_open_until_there_is_a_key(caplog):
    caplog.set_level(logging.INFO, "app.keys")
    ring, source = await stored()
    assert ring.accepts_anyone
    assert ring.find("") == ring.find("whatever") == ring.by_id("anonymous") == ANONYMOUS
    source.put(key("a"))
    await ring.refresh()
    assert not ring.accepts_anyone
    assert ring.find("whatever") is None
    assert ring.by_id("anonymous") is None
    assert "everybody needs one" in caplog.text


async def test_a_key_that_was_revoked_keeps_the_door_closed():
    ring, _ = await stored(key("a", revoked_at=1.0))
    assert not ring.accepts_anyone
    assert ring.find("") is None


async def test_and_so_does_one_that_is_gone_with_its_database():
    ring, source = await stored(key("a"))
    source.revision, source.kept = 0, {}
    await ring.refresh()
    assert ring.find("a") is None
    assert not ring.accepts_anyone


async def test_the_door_is_never_open_where_keys_are_wanted(tmp_path):
    assert not ring_of(required=True).accepts_anyone
    assert not ring_of(file=file_of(tmp_path / "keys.toml")).accepts_anyone
    assert not ring_of(key("a")).accepts_anyone
    ring, _ = await stored(required=True)
    assert not ring.accepts_anyone


async def test_the_door_is_closed_while_it_is_not_known_who_has_keys():
    ring = ring_of()
    with pytest.raises(Overloaded):
        await ring.attach(MemorySource(error=Overloaded()))
    assert not ring.accepts_anyone
    assert ring.find("") is None


async def test_stored_keys_come_change_and_go():
    ring, source = await stored(key("a"), key("b"))
    source.put(key("a", secret="other", limits=LimitSpec(concurrency=1)))
    source.put(key("c"))
    assert ring.find("c") is None
    await ring.refresh()
    assert ring.find("a") is None
    assert ring.find("other").limits.concurrency == 1
    assert ring.find("b") is not None
    assert ring.find("c") is not None
    await ring.refresh()
    assert source.asked == [0, 2, 4]


async def test_a_database_from_a_backup_takes_the_place_of_what_was_known():
    ring, source = await stored(key("a"), key("b"), key("c"))
    source.revision, source.kept = 0, {}
    source.put(key("b", secret="older"))
    await ring.refresh()
    assert ring.find("older") is not None
    assert [ring.find(secret) for secret in ("a", "b", "c")] == [None, None, None]


async def test_two_looks_at_once_do_not_undo_each_other():
    class Slow(MemorySource):
        async def changes(self, since):
            answer = await super().changes(since)
            # Later questions are answered sooner.
            await asyncio.sleep(0.03 / len(self.asked))
            return answer

    source = Slow()
    source.put(key("a"))
    ring = ring_of()
    await ring.attach(source)
    first = asyncio.create_task(ring.refresh())
    await asyncio.sleep(0.001)
    source.put(key("a", revoked_at=1.0))
    await asyncio.gather(first, ring.refresh())
    assert ring.find("a") is None


async def test_what_is_set_goes_before_the_file_and_the_file_before_the_store(tmp_path, caplog):
    file = file_of(
        tmp_path / "keys.toml", key("s", secret="file-s"), key("f", secret="file-f"), key("x", secret="both")
    )
    ring = ring_of(key("s"), key("y", secret="both"), file=file)
    source = MemorySource()
    for name, secret in {"s": "store-s", "f": "store-f", "z": "file-f", "own": "own"}.items():
        source.put(key(name, secret=secret))
    await ring.attach(source)
    assert [(secret, found.id) for secret in ("s", "both", "file-f", "own") if (found := ring.find(secret))] == [
        ("s", "key-s"),
        ("both", "key-y"),
        ("file-f", "key-f"),
        ("own", "key-own"),
    ]
    assert [ring.find(secret) for secret in ("file-s", "store-s", "store-f")] == [None, None, None]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 5
    for part in (
        "key key-s of the key file has the id of a key that is set",
        "key key-x of the key file has the hash of a key that is set",
        "key key-s of the store has the id",
        "key key-f of the store has the id",
        "key key-z of the store has the hash",
    ):
        assert any(part in sentence for sentence in told), part
    await ring.refresh()
    assert len(caplog.records) == 5


async def test_a_stored_key_comes_back_when_the_file_lets_go_of_it(tmp_path):
    path = tmp_path / "keys.toml"
    ring, _ = await stored(key("a", secret="stored"), file=file_of(path, key("a", secret="declared")))
    assert ring.find("stored") is None
    job = asyncio.create_task(ring.keep_fresh(0.01))
    try:
        path.write_text("keys = []", "utf-8")
        await eventually(lambda: ring.find("stored"))
        assert ring.find("declared") is None
        assert list(ring.fixed()) == []
    finally:
        job.cancel()


def test_fixed_keys_say_where_they_are_set(tmp_path):
    ring = ring_of(key("a"), file=file_of(tmp_path / "keys.toml", key("b")))
    assert [(place, one.id) for place, one in ring.fixed()] == [("settings", "key-a"), ("file", "key-b")]


@pytest.mark.parametrize("error", [Overloaded("The database is away."), OSError("/secret/path")])
async def test_while_the_store_is_away_the_last_known_keys_stay_and_that_is_said_once(caplog, error):
    ring, source = await stored(key("a"))
    job = asyncio.create_task(ring.keep_fresh(0.01))
    try:
        source.error = error
        asked = len(source.asked)
        await eventually(lambda: len(source.asked) > asked + 3)
        assert ring.find("a") is not None
        source.error = None
        source.put(key("a", revoked_at=1.0))
        await eventually(lambda: ring.find("a") is None)
        asked = len(source.asked)
        await eventually(lambda: len(source.asked) > asked + 3)
        assert not job.done()
    finally:
        job.cancel()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert said[0].startswith("the stored keys cannot be read, the last known ones stay in use: ")
    assert "/secret/path" not in said[0]
    assert said[1] == "the stored keys can be read again"


async def test_without_anything_to_follow_the_job_ends():
    await asyncio.wait_for(ring_of().keep_fresh(), 1)


def test_the_keys_themselves_are_not_kept():
    ring = ring_of(*static_keys(["alpha-secret"]))
    assert "alpha-secret" not in repr(vars(ring))
    assert "alpha-secret" not in repr(list(ring.fixed()))

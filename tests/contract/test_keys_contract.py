"""Keys, on every database, with several stores and several processes on the same one."""

import asyncio
import contextlib
import itertools
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import event, select, update

from app.core.key import ApiKey
from app.core.limits import BUDGETS, MAX_COUNT, LimitSpec, bounds
from app.store.accounts import KeyChanges, KeyExistsError
from app.store.contract import StoreError
from app.store.opening import open_store
from app.store.schema import api_keys, revisions
from app.wire import codec
from tests.store.changing import change, count, counted

DIGEST = b"d" * 32


def new(key_id="key-a", **fields):
    return ApiKey(key_id, fields.pop("name", "a name"), **{"digest": DIGEST, "created_at": 1.0, **fields})


def revoked(at):
    return lambda key: structs.replace(key, revoked_at=at)


def patched(data):
    """A statement that writes over what is only read as a whole."""
    return update(api_keys).values(data=codec.encode(data) if isinstance(data, dict) else data)


async def data_of(store):
    data = select(api_keys.c.data)
    return codec.decode(await store._connections.read(lambda connection: connection.execute(data).scalar_one()))


async def run(store, statement):
    await store._connections.transaction(lambda connection: connection.execute(statement).close())


async def test_there_is_nothing_at_first(store):
    assert await store.keys.all() == ()
    assert await store.keys.find("key-a") is None
    assert await store.keys.change("key-a", revoked(1.0)) is None
    assert await store.keys.changes(0) == KeyChanges(0, ())


async def test_keys_are_listed_oldest_first_and_revoked_ones_too(store):
    young, old = new("key-a", created_at=9.0), new("key-b", created_at=2.0)
    await store.keys.add(young)
    await store.keys.add(old)
    gone = await store.keys.change("key-b", revoked(10.5))
    assert gone == structs.replace(old, revoked_at=10.5)
    assert await store.keys.all() == (gone, young)
    assert await store.keys.find("key-b") == gone
    assert await store.keys.changes(2) == KeyChanges(3, (gone,))


async def test_an_id_is_never_used_again(store, other):
    key = new()
    await store.keys.add(key)
    await store.keys.change(key.id, revoked(2.0))
    with pytest.raises(KeyExistsError, match="there is a key with the id key-a already"):
        await store.keys.add(new(name="another"))
    assert (await store.keys.find(key.id)).revoked_at == 2.0
    assert (await store.keys.changes(0)).revision == 2
    # Of several who try at once, one wins.
    adding = [replica.keys.add(new("key-b", name=str(at))) for at, replica in enumerate((store, other) * 5)]
    results = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [KeyExistsError] * 9
    assert (await store.keys.changes(2)).keys == (await store.keys.find("key-b"),)


async def test_what_changed_is_told_since_any_revision(store):
    a, b = new("key-a"), new("key-b")
    await store.keys.add(a)
    await store.keys.add(b)
    assert await store.keys.changes(1) == KeyChanges(2, (b,))
    a = await store.keys.change("key-a", counted)
    a = await store.keys.change("key-a", counted)
    # A key is told once, as it is now.
    assert await store.keys.changes(2) == KeyChanges(4, (a,))
    assert await store.keys.changes(4) == KeyChanges(4, ())
    changes = await store.keys.changes(0)
    assert (changes.revision, sorted(changes.keys, key=lambda key: key.id)) == (4, [a, b])


async def test_a_change_that_changes_nothing_is_none(store):
    await store.keys.add(new())
    await store.keys.change("key-a", revoked(2.0))
    assert await store.keys.change("key-a", revoked(2.0)) == new(revoked_at=2.0)
    assert await store.keys.changes(2) == KeyChanges(2, ())


@pytest.mark.parametrize("field", [{"id": "key-b"}, {"created_at": 2.0}])
async def test_what_cannot_be_changed_stays_and_is_told(store, field):
    await store.keys.add(new())
    with pytest.raises(ValueError, match="cannot be changed"):
        await store.keys.change("key-a", lambda key: structs.replace(key, **field, name="new"))
    assert await store.keys.all() == (new(),)
    assert (await store.keys.changes(0)).revision == 1


async def test_a_change_that_fails_leaves_the_key(store):
    await store.keys.add(new())
    with pytest.raises(ZeroDivisionError):
        await store.keys.change("key-a", lambda key: 1 / 0)
    assert await store.keys.changes(0) == KeyChanges(1, (new(),))
    assert await store.keys.change("key-a", revoked(3.0)) == new(revoked_at=3.0)


async def test_after_a_backup_was_put_back_all_keys_are_told(store):
    await store.keys.add(new("key-a"))
    await store.keys.add(new("key-b"))
    changes = await store.keys.changes(99)
    assert changes.revision == 2
    assert len(changes.keys) == 2
    await run(store, api_keys.delete())
    await run(store, revisions.delete())
    assert await store.keys.changes(99) == KeyChanges(0, ())


async def test_asking_when_nothing_has_changed_is_one_small_statement(store):
    await store.keys.add(new())
    statements = []
    engine = store._connections._reading

    def hear(connection, cursor, statement, *_):
        statements.append(statement)

    event.listen(getattr(engine, "sync_engine", engine), "before_cursor_execute", hear)
    assert await store.keys.changes(1) == KeyChanges(1, ())
    assert len(statements) == 1
    assert "api_keys" not in statements[0]
    await store.keys.changes(0)
    assert len(statements) > 1


async def follow(store, until):
    """Hear of all changes as a replica does; returns the keys as it knows them then."""
    known, revision, steps = {}, 0, 0
    while revision < until:
        changes = await store.keys.changes(revision)
        known |= {key.id: key for key in changes.keys}
        steps += changes.revision > revision
        revision = changes.revision
        # Each key counts its changes. Had one been missed, or seen before one of a lower number, the sum would differ.
        assert sum(1 + count(key) for key in known.values()) == revision
    return known, steps


@contextlib.asynccontextmanager
async def process(url, times, names):
    """Another process that will change keys; gives what makes it begin and waits for its end."""
    program = [sys.executable, "-m", "tests.store.changing", url, str(times), *names]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)

    async def go():
        await child.communicate(b"go\n")
        assert child.returncode == 0

    try:
        assert await child.stdout.readline() == b"ready\n"
        yield go
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()


async def test_changes_at_the_same_time_lose_nothing_and_followers_miss_none(store, other, database):
    names, times = [f"key-{number}" for number in range(4)], 8
    total = len(names) * (1 + times * 6)
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as processes, asyncio.TaskGroup() as tasks:
        followers = [tasks.create_task(follow(replica, total)) for replica in (store, other)]
        for name in names:
            await store.keys.add(new(name))
        begin = [await processes.enter_async_context(process(database, times, names)) for _ in range(2)]
        for replica in (store, other):
            for order in (names, names[::-1]):
                tasks.create_task(change(replica, times, order))
        await asyncio.gather(*(go() for go in begin))
    keys = {key.id: key for key in await store.keys.all()}
    assert {count(key) for key in keys.values()} == {6 * times}
    assert await other.keys.changes(total) == KeyChanges(total, ())
    for follower in followers:
        known, steps = follower.result()
        assert known == keys
        assert steps > len(names)


_numbers = itertools.count()
_texts = st.text(max_size=20) | st.just("x" * 3_000) | st.just("a\0b")
_times = st.floats(allow_nan=False, allow_infinity=False)
_digests = st.binary(min_size=32, max_size=32)
_counts = st.integers(1, MAX_COUNT)
_limits = st.fixed_dictionaries(
    {},
    optional={
        field.name: st.floats(*bounds(field.name)) if field.name in BUDGETS else _counts
        for field in structs.fields(LimitSpec)
    },
).map(lambda limits: LimitSpec(**limits))
_keys = st.builds(
    ApiKey,
    id=_texts,
    name=_texts,
    digest=_digests,
    created_at=_times,
    models=st.lists(_texts, max_size=4).map(tuple),
    expires_at=st.none() | _times,
    revoked_at=st.none() | _times,
    limits=_limits,
    metadata=st.dictionaries(_texts, _texts, max_size=4),
    previous_digest=st.none() | _digests,
    previous_until=st.none() | _times,
)


@given(key=_keys, later=_keys)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_key_comes_back_whole(store, key, later):
    # Hypothesis runs all its examples on one database.
    key = structs.replace(key, id=f"{next(_numbers)} {key.id}")
    await store.keys.add(key)
    assert await store.keys.find(key.id) == key
    later = structs.replace(later, id=key.id, created_at=key.created_at)
    assert await store.keys.change(key.id, lambda _: later) == later
    assert await store.keys.find(key.id) == later
    revision = (await store.keys.changes(0)).revision
    assert later in (await store.keys.changes(revision - 1)).keys
    assert later in await store.keys.all()


async def test_half_a_character_does_not_break_a_key(store):
    await store.keys.add(new(name="half \ud83d", metadata={"\udc00": "\ud83d\ude00"}))
    assert await store.keys.find("key-a") == new(name="half \ufffd", metadata={"\ufffd": "\U0001f600"})


async def test_what_a_newer_release_notes_is_passed_over_and_kept(store):
    await store.keys.add(new(limits=LimitSpec(requests_per_day=5, concurrency=2)))
    data = await data_of(store)
    data |= {"team": ["new"], "limits": {**data["limits"], "images_per_day": 7}}
    await run(store, patched(data))
    key = await store.keys.find("key-a")
    assert key == new(limits=LimitSpec(requests_per_day=5, concurrency=2))
    await store.keys.change("key-a", lambda key: structs.replace(key, limits=LimitSpec(requests_per_day=6)))
    assert await data_of(store) == {**data, "limits": {"requests_per_day": 6, "images_per_day": 7}}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"secret", "unexpected"),
        (b"[]", "list in the place of dict"),
        ({"name": None}, "NoneType in the place of str"),
        ({"models": "gpt-*"}, "str in the place of list"),
        ({"models": [1]}, "int in the place of str"),
        ({"limits": None}, "NoneType in the place of dict"),
        ({"limits": {"requests_per_day": True}}, "bool in the place of int"),
        ({"limits": {"requests_per_day": 1.0}}, "float in the place of int"),
        ({"limits": {"usd_per_day": "1"}}, "str in the place of int"),
        ({"limits": {"requests_per_day": 0}}, "must be between 1 and"),
        ({"metadata": {"a": 1}}, "int in the place of str"),
    ],
)
async def test_a_key_that_cannot_be_read_is_told_and_never_guessed(store, damage, reason):
    await store.keys.add(new())
    await run(store, patched({**await data_of(store), **damage} if isinstance(damage, dict) else damage))
    asking = (
        lambda: store.keys.find("key-a"),
        store.keys.all,
        lambda: store.keys.changes(0),
        lambda: store.keys.change("key-a", revoked(1.0)),
    )
    for ask in asking:
        with pytest.raises(StoreError, match=f"the key key-a cannot be read from the database: .*{reason}") as failed:
            await ask()
        assert "secret" not in str(failed.value)


async def test_a_key_that_lacks_a_part_cannot_be_read(store):
    await store.keys.add(new())
    data = await data_of(store)
    for name in data:
        await run(store, patched({other: value for other, value in data.items() if other != name}))
        with pytest.raises(StoreError, match=name):
            await store.keys.find("key-a")


async def test_keys_outlive_the_process(database):
    store = await open_store(database)
    await store.keys.add(new())
    await store.close()
    again = await open_store(database)
    assert await again.keys.changes(0) == KeyChanges(1, (new(),))
    await again.close()

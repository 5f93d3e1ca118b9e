"""Migrations, on every database."""

import asyncio

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, insert, inspect, text

from app.core.key import ApiKey
from app.store import upgrade
from app.store.accounts import KeyChanges, UsageRow
from app.store.connections import connect, parse
from app.store.contract import BrokenContext, Conversation, StoreError
from app.store.failures import Health
from app.store.opening import open_store
from app.store.schema import HEAD, VERSION_TABLE, metadata
from tests.store import databases, left_by_0001
from tests.store.records import ME, ids, item, made


@pytest.fixture(scope="session", params=databases.KINDS)
def kind(request):
    if request.param == "postgresql":
        databases.need_postgres()
    return request.param


@pytest.fixture
async def url(kind, tmp_path):
    async with databases.empty(kind, tmp_path) as url:
        yield url


async def on(url, call):
    """Call with a connection, in a transaction."""
    connections = connect(parse(url), Health(None))
    try:
        return await connections.transaction(call)
    finally:
        await connections.close()


def run(*statements):
    return lambda connection: [connection.execute(text(statement)) for statement in statements]


def test_the_code_names_the_newest_revision():
    assert ScriptDirectory.from_config(upgrade.configuration()).get_heads() == [HEAD]


def repr_of_index(index):
    return repr({**index, "dialect_options": {name: str(value) for name, value in index["dialect_options"].items()}})


def all_of(connection):
    """Everything that a database is made of."""
    found = inspect(connection)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(table)
            ],
            "primary key": found.get_pk_constraint(table),
            "foreign keys": found.get_foreign_keys(table),
            # An index's condition is an object of its own each time.
            "indexes": sorted(map(repr_of_index, found.get_indexes(table))),
            "unique": found.get_unique_constraints(table),
            "checks": found.get_check_constraints(table),
            "options": found.get_table_options(table),
        }
        for table in found.get_table_names()
    }


async def test_what_is_made_at_once_is_what_the_steps_make(url):
    await (await open_store(url)).close()
    at_once = await on(url, all_of)
    await on(url, moved(command.downgrade, "base"))
    await on(url, moved(command.upgrade, "head"))
    assert await on(url, all_of) == at_once
    assert set(at_once) == {VERSION_TABLE, *metadata.tables}


async def test_an_empty_database_becomes_the_schema_and_stays_it(url):
    assert await on(url, upgrade.revision) is None
    for _ in range(2):
        store = await open_store(url)
        await store.responses.save(made("r"))
        assert await store.responses.get(ME, "r") == made("r")
        await store.close()
    assert await on(url, upgrade.revision) == HEAD

    def differences(connection):
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        return compare_metadata(context, metadata)

    assert await on(url, differences) == []


async def test_replicas_that_start_together_migrate_once(url):
    stores = await asyncio.gather(*(open_store(url) for _ in range(4)))
    assert await on(url, upgrade.revision) == HEAD
    for store in stores:
        await store.close()


async def test_a_database_from_the_future_is_refused_and_left_alone(url):
    await (await open_store(url)).close()
    await on(url, run(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    with pytest.raises(StoreError, match="revision 9999, which this release does not know: a newer release"):
        await open_store(url)
    assert await on(url, upgrade.revision) == "9999"


async def test_a_migration_that_fails_half_way_leaves_nothing(url):
    # The last table of the first step is in the way, so that it fails when most is done.
    await on(url, run("CREATE TABLE events (other INTEGER)"))
    with pytest.raises(StoreError, match=r"could not be migrated from empty to .*, and is as it was: .*events"):
        await open_store(url)
    assert await on(url, lambda connection: inspect(connection).get_table_names()) == ["events"]
    await on(url, run("DROP TABLE events"))
    await (await open_store(url)).close()


def moved(step, revision):
    """Take Alembic's own steps, up or down."""
    config = upgrade.configuration()

    def move(connection):
        config.attributes["connection"] = connection
        step(config, revision)

    return move


def fill(rows):
    def insert_all(connection):
        tables = MetaData()
        tables.reflect(connection)
        for name, values in rows.items():
            connection.execute(insert(tables.tables[name]).values(values))

    return insert_all


async def look(store):
    """All that was left is there, and goes on."""
    first = made("resp_a", completed_at=2.5, expires_at=90.0)
    assert await store.responses.get(ME, "resp_a") == first
    context = await store.responses.context(ME, "resp_b")
    assert context.items == (item("a_in", "first \u00e9\0"), item("a_out"), item("b_in"), item("b_out"))
    assert await store.responses.get(ME, "resp_gone") is None
    assert await store.responses.get(ME, "resp_x") is None
    assert (await store.responses.get("key-other", "resp_x")).status == "failed"
    assert await store.conversations.get(ME, "conv_a") == Conversation("conv_a", ME, 4.0, {"topic": "x"}, 99.5)
    assert ids((await store.responses.context(ME, "resp_c")).items) == ["c_1", "c_2", "c_in", "c_out"]
    assert await store.responses.context(ME, "resp_run") == BrokenContext("resp_run", "unfinished")
    frames = ((0, b"data: first\n\n"), (1, b"data: second\n\n"))
    assert (await store.work.events(ME, "resp_run")).frames == frames


async def test_a_database_of_the_first_revision_is_brought_along_whole(url):
    await on(url, moved(command.upgrade, "0001"))
    await on(url, fill(left_by_0001.ROWS))
    store = await open_store(url)
    await look(store)
    assert await store.keys.all() == ()
    key, usage = ApiKey("key-a", "a", b"d" * 32), UsageRow("2026-11-21", "key-a", "@cf/a", "reported", 1)
    await store.keys.add(key)
    await store.usage.add([usage])
    assert (await store.keys.changes(0)).keys == (key,)
    assert await store.usage.rows(usage.day, usage.day) == (usage,)
    await store.close()
    # Back, and on again.
    await on(url, moved(command.downgrade, "0001"))
    assert await on(url, upgrade.revision) == "0001"
    assert await on(url, lambda connection: set(inspect(connection).get_table_names())) == {
        VERSION_TABLE,
        *left_by_0001.ROWS,
    }
    store = await open_store(url)
    await look(store)
    assert await store.keys.changes(0) == KeyChanges(0, ())
    claims = [await store.work.claim("worker-2", 50.0, 30.0) for _ in range(2)]
    assert [(claim.response.id, claim.attempt, claim.last_sequence) for claim in claims] == [
        ("resp_run", 2, 1),
        ("resp_queued", 1, None),
    ]
    assert (await store.purge(95.0)).responses == 1
    await store.close()


async def test_a_later_step_that_fails_leaves_the_database_of_before(url):
    await on(url, moved(command.upgrade, "0001"))
    await on(url, run("CREATE TABLE usage (other INTEGER)"))
    with pytest.raises(StoreError, match=r"could not be migrated from 0001 to .*, and is as it was: .*usage"):
        await open_store(url)
    assert await on(url, upgrade.revision) == "0001"
    assert not await on(url, lambda connection: inspect(connection).has_table("api_keys"))
    await on(url, run("DROP TABLE usage"))
    await (await open_store(url)).close()


async def test_a_migrated_database_can_be_taken_back(url):
    await (await open_store(url)).close()
    await on(url, moved(command.downgrade, "base"))
    assert await on(url, lambda connection: inspect(connection).get_table_names()) == [VERSION_TABLE]

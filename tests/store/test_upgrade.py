"""Migrations, on every database."""

import asyncio

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from app.store import upgrade
from app.store.connections import connect, parse
from app.store.contract import StoreError
from app.store.failures import Health
from app.store.opening import open_store
from app.store.schema import HEAD, VERSION_TABLE, metadata
from tests.store import databases
from tests.store.records import ME, made


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
    """Call with a synchronous connection, in a transaction."""
    connections = connect(parse(url), Health(None))
    try:
        async with connections.transaction() as connection:
            return await connection.run_sync(call)
    finally:
        await connections.close()


def run(*statements):
    return lambda connection: [connection.execute(text(statement)) for statement in statements]


def test_the_code_names_the_newest_revision():
    assert ScriptDirectory.from_config(upgrade.configuration()).get_heads() == [HEAD]


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


async def test_a_migrated_database_can_be_taken_back(url):
    await (await open_store(url)).close()
    config = upgrade.configuration()

    def downgrade(connection):
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    await on(url, downgrade)
    assert await on(url, lambda connection: inspect(connection).get_table_names()) == [VERSION_TABLE]

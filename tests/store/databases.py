"""Fresh databases for tests: a file, or a database on the PostgreSQL server at ``FLARELAY_TEST_POSTGRES``."""

import asyncio
import contextlib
import itertools
import os
import shutil
import time

import asyncpg
import pytest

from app.store.opening import open_store
from app.store.schema import metadata

KINDS = ("sqlite", "postgresql")
SERVER = os.environ.get("FLARELAY_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432")
PREFIX = f"flarelay_test_{os.getpid()}"

_numbers = itertools.count()


def _new_name():
    """A name of its own for each database: several templates are open at once, and one may be left by a killed run."""
    return f"{PREFIX}_{next(_numbers)}_{time.time_ns()}"


async def administer(*statements, database="postgres"):
    connection = await asyncpg.connect(f"{SERVER}/{database}", timeout=3)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def need_postgres():
    """Skip without a server, but not where one is promised."""
    try:
        asyncio.run(administer("SELECT 1"))
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no PostgreSQL at {SERVER}: {error}")


async def _migrate(url):
    store = await open_store(url)
    await store.close()


@contextlib.contextmanager
def template(kind, folder):
    """A migrated database: migrating one for each test would take most of the time."""
    if kind == "sqlite":
        path = folder / "template.db"
        asyncio.run(_migrate(f"sqlite:///{path}"))
        yield path
        return
    need_postgres()
    name = _new_name()
    asyncio.run(administer(f"CREATE DATABASE {name}"))
    try:
        asyncio.run(_migrate(f"{SERVER}/{name}"))
        yield name
    finally:
        asyncio.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))


async def fresh(kind, source, folder):
    """The URL of a database at the newest schema with nothing in it: a copy of the file, or the emptied template."""
    if kind == "sqlite":
        path = folder / "fresh.db"
        shutil.copy(source, path)
        return f"sqlite:///{path}"
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    await administer(f"TRUNCATE {tables}", database=source)
    return f"{SERVER}/{source}"


@contextlib.asynccontextmanager
async def empty(kind, folder):
    """The URL of a database without tables."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'empty.db'}"
        return
    name = _new_name()
    await administer(f"CREATE DATABASE {name}")
    try:
        yield f"{SERVER}/{name}"
    finally:
        await administer(f"DROP DATABASE {name} WITH (FORCE)")

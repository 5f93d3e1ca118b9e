"""Opening, failing and closing."""

import asyncio
import logging
import sqlite3
import stat
import subprocess
import sys

import pytest

from app.core.errors import Overloaded
from app.store.connections import connect, parse
from app.store.contract import StoreError, StoreUnavailable
from app.store.failures import Health
from app.store.opening import open_store
from app.store.schema import key
from tests.store import databases
from tests.store.records import ME, item, made

LOGGER = "app.store.database"


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def execute(store, statement):
    await store._connections.transaction(lambda connection: connection.exec_driver_sql(statement).close())


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path}/store.db")
    yield store
    await store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://host/name", "mysql is not a database"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:////proc/none/store.db", "cannot be made"),
        ("sqlite:////etc/hostname", "cannot be opened: file is not a database"),
        ("postgresql://root@127.0.0.1:1/name", "cannot be opened: .*refused|Connect call failed"),
    ],
)
async def test_a_bad_url_is_told_plainly(url, message):
    with pytest.raises(StoreError, match=message):
        await open_store(url)


def test_the_driver_and_its_words_are_chosen():
    assert parse("postgres://u:p@h/n?sslmode=require").render_as_string(hide_password=False) == (
        "postgresql+asyncpg://u:p@h/n?ssl=require"
    )
    assert parse("sqlite:///a b.db").drivername == "sqlite+pysqlite"


async def test_the_file_is_private_and_safe(tmp_path):
    path = tmp_path / "new" / "folder" / "store.db"
    store = await open_store(f"sqlite:///{path}")
    await store.responses.save(made("r"), [item("i")])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert {file.name for file in path.parent.iterdir()} == {"store.db", "store.db-wal", "store.db-shm"}
    await store.close()


async def test_the_settings_of_connections(tmp_path):
    connections = connect(parse(f"sqlite:///{tmp_path}/store.db"), Health(None))

    def ask(*names):
        return lambda connection: [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    writing = await connections.transaction(ask("journal_mode", "synchronous", "foreign_keys", "busy_timeout"))
    assert writing == ["wal", 2, 1, 5000]
    assert await connections.read(ask("query_only", "busy_timeout")) == [1, 5000]
    await connections.close()


def test_importing_the_contract_loads_no_database_library():
    code = (
        "import sys, app.store.opening, app.store.contract;"
        "print([name for name in ('sqlalchemy', 'alembic', 'sqlite3', 'asyncpg') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_without_anything_to_migrate_alembic_is_not_loaded(tmp_path):
    code = (
        "import asyncio, sys; from app.store.opening import open_store\n"
        "async def main(): await (await open_store(sys.argv[1])).close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/store.db"]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert outputs == ["False\n", "False\n"]


def test_with_sqlite_neither_the_orm_nor_greenlet_is_loaded(tmp_path):
    code = (
        "import asyncio, sys; from app.store.opening import open_store\n"
        "async def main():\n"
        "    store = await open_store(sys.argv[1])\n"
        "    await store.usage.neurons('2026-11-21')\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
        "heavy = ('sqlalchemy.orm', 'sqlalchemy.ext.asyncio', 'greenlet', 'asyncpg', 'alembic')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/store.db"]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert outputs == ["[]\n", "[]\n"]


async def test_a_full_disk_is_503_and_logged_once_without_content(store, caplog):
    def fill(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").close()

    await store._connections.transaction(fill)
    secret = [item("i", "secret " * 20_000)]
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as failed:
            await store.responses.save(made("r"), secret)
    assert (failed.value.status, failed.value.code) == (503, "store_unavailable")
    assert isinstance(failed.value, Overloaded)
    assert warnings(caplog) == ["the store is not available: database or disk is full"]
    await execute(store, "PRAGMA max_page_count=1000000")
    await store.responses.save(made("r"), secret)
    assert warnings(caplog)[1:] == ["the store is available again"]
    assert await store.responses.get(ME, "r") == made("r")


async def test_our_own_mistakes_are_not_an_outage(store, caplog):
    await store.work.enqueue(made("r", "queued"), [], b"{}")
    with pytest.raises(Exception, match="UNIQUE") as failed:
        await store.work.enqueue(made("r", "queued", caller="secret"), [], b"{}")
    assert not isinstance(failed.value, StoreUnavailable)
    assert "secret" not in str(failed.value)
    assert warnings(caplog) == []


async def test_a_locked_database_is_waited_for(store, tmp_path):
    blocker = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    saving = asyncio.create_task(store.responses.save(made("r")))
    # Readers do not care.
    assert await store.responses.get(ME, "r") is None
    await store.ping()
    blocker.execute("COMMIT")
    blocker.close()
    await saving
    assert await store.responses.get(ME, "r") is not None


async def test_nobody_waits_in_line_for_a_database_that_is_gone(store):
    await store.responses.save(made("r"))
    await execute(store, "DROP TABLE response_items")
    saves = [store.responses.save(made(f"r{number}"), [item("i")]) for number in range(300)]
    results = await asyncio.gather(*saves, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}


async def test_closing_finishes_what_was_begun(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    store = await open_store(url)
    saves = [asyncio.create_task(store.responses.save(made(f"r{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*saves)
    again = await open_store(url)
    assert all([await again.responses.get(ME, f"r{number}") is not None for number in range(100)])
    await again.close()


async def test_a_lost_server_is_503_and_found_again(tmp_path, caplog):
    await asyncio.to_thread(databases.need_postgres)
    async with databases.empty("postgresql", tmp_path) as url:
        store = await open_store(url)
        await store.responses.save(made("r"))
        name = url.rpartition("/")[2]
        kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
        # Connections that died while they were idle are not noticed by anybody.
        await databases.administer(kill)
        assert await store.responses.get(ME, "r") == made("r")
        await databases.administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", kill)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.responses.save(made("s"))
        assert len(warnings(caplog)) == 1
        await databases.administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await store.responses.save(made("s"))
        assert await store.responses.get(ME, "s") == made("s")
        assert len(warnings(caplog)) == 2
        await store.close()


def test_odd_names_have_a_key_of_their_own():
    assert key("msg_1") == "msg_1"
    odd = ["a\0b", "é", "x" * 201, "", "\ud800"]
    assert len({key(name) for name in odd}) == len(odd)
    assert all(key(name).isascii() and len(key(name)) < 201 for name in odd)

"""Connections: how each database is reached and what is set on it.

SQLite has one writer, so there is one connection that writes; waiting for it is waiting in line. Readers have their
own and never wait for the writer (WAL). PostgreSQL has one pool for both.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from app.store.contract import StoreError
from app.store.failures import Health

_WAIT_SECONDS = 10
_BUSY_MILLISECONDS = 5_000
_SWITCH_PAUSE_SECONDS = 0.02
_READERS = 3
_POSTGRES_CONNECTIONS = 10

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Connections:
    """The ways into one database.

    Args:
        writing: Where transactions run.
        reading: Where single statements run, each its own transaction.
        health: Hears of failures.
    """

    __slots__ = ("_health", "_reading", "_writing")

    def __init__(self, writing: AsyncEngine, reading: AsyncEngine, health: Health) -> None:
        self._writing = writing
        self._reading = reading
        self._health = health

    @property
    def postgres(self) -> bool:
        """This is PostgreSQL, not SQLite."""
        return self._writing.dialect.name == "postgresql"

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Run statements that are committed together, or not at all.

        Raises:
            StoreUnavailable: The database failed.
        """
        with self._health.watch():
            async with self._writing.begin() as connection:
                yield connection

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncConnection]:
        """Run statements that only read.

        Raises:
            StoreUnavailable: The database failed.
        """
        with self._health.watch():
            async with self._reading.connect() as connection:
                yield connection

    async def close(self) -> None:
        """Close all connections."""
        await self._reading.dispose()
        await self._writing.dispose()


def parse(url: str) -> URL:
    """Read a database URL and choose its driver.

    Raises:
        StoreError: It is not the URL of a SQLite file or a PostgreSQL database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("the database URL cannot be read: sqlite:///path or postgresql://user@host/name") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise StoreError(f"{parsed.drivername} is not a database that can be used: sqlite or postgresql")
    parsed = parsed.set(drivername=driver)
    if driver == "sqlite+aiosqlite" and parsed.database in {None, "", ":memory:"}:
        raise StoreError("a SQLite database must be a file: sqlite:///path")
    if "sslmode" in parsed.query:
        # The name that every other client of PostgreSQL gives it.
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed


def connect(url: URL, health: Health) -> Connections:
    """Prepare connections; none is opened yet, but the file of a SQLite database is made.

    Raises:
        StoreError: The driver is not installed, or the file cannot be made.
    """
    if url.get_backend_name() == "sqlite":
        _make_file(Path(url.database or ""))
        # Each transaction is ended by who has begun it; to undo nothing once more would be another way to the thread.
        writing = _engine(url, pool_size=1, max_overflow=0, pool_reset_on_return=None)
        reading = _engine(url, pool_size=_READERS, max_overflow=0, isolation_level="AUTOCOMMIT")
        event.listen(writing.sync_engine, "connect", _open_writer)
        event.listen(writing.sync_engine, "begin", _begin)
        event.listen(reading.sync_engine, "connect", _open_reader)
        return Connections(writing, reading, health)
    arguments = {"timeout": _WAIT_SECONDS, "command_timeout": 30, "server_settings": {"application_name": "flarelay"}}
    writing = _engine(url, pool_size=_POSTGRES_CONNECTIONS, max_overflow=0, pool_pre_ping=True, connect_args=arguments)
    return Connections(writing, writing.execution_options(isolation_level="AUTOCOMMIT"), health)


def _engine(url: URL, **options: Any) -> AsyncEngine:  # noqa: ANN401 - SQLAlchemy's own options
    try:
        # Values are what clients wrote; they must not come into an error's text, which is logged.
        return create_async_engine(url, hide_parameters=True, pool_timeout=_WAIT_SECONDS, **options)
    except ModuleNotFoundError as error:
        raise StoreError(f"the driver {error.name} is not installed: pip install 'flarelay[postgres]'") from error


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite would make it readable for everybody; its side files take the mode of this one.
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"the database file {path} cannot be made: {error.strerror or error}") from error


def _open_writer(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own type
    # Transactions are begun by hand, so that a writer waits at its beginning and never fails in its middle.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _use_wal(cursor: Any) -> None:  # noqa: ANN401 - the driver's own type
    """Switch the file to WAL, once in its life.

    SQLite does not wait for this as it does for everything else: of several processes that start on a new file, all but
    one are told at once that it is locked.
    """
    deadline = time.monotonic() + _BUSY_MILLISECONDS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            # The library runs this beside its event loop; others on the loop may be what is waited for.
            await_only(asyncio.sleep(_SWITCH_PAUSE_SECONDS))
        else:
            return


def _open_reader(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own type
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

"""SQLite, in threads of its own: each use of the database is one way there and back.

SQLite has one writer, so there is one thread that writes; waiting for it is waiting in line. Readers have their own and
never wait for the writer (WAL).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.store.connections import WAIT_SECONDS
from app.store.contract import StoreError
from app.store.failures import Health

R = TypeVar("R")

_BUSY_MILLISECONDS = 5_000
_SWITCH_PAUSE_SECONDS = 0.02
_READERS = 3


class SqliteConnections:
    """A SQLite file; see ``app.store.connections.Connections``.

    Args:
        url: Where it is.
        health: Hears of failures.

    Raises:
        StoreError: The file cannot be made.
    """

    __slots__ = ("_health", "_readers", "_reading", "_writer", "_writing")

    def __init__(self, url: URL, health: Health) -> None:
        _make_file(Path(url.database or ""))
        self._health = health
        self._writing = _engine(url, 1)
        self._reading = _engine(url, _READERS, isolation_level="AUTOCOMMIT")
        event.listen(self._writing, "connect", _open_writer)
        event.listen(self._writing, "begin", _begin)
        event.listen(self._reading, "connect", _open_reader)
        # As many threads as connections: whoever has a thread has a connection.
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(_READERS, "store-reader")

    async def transaction(self, body: Callable[[Connection], R]) -> R:
        """Run statements that are committed together, or not at all."""

        def run() -> R:
            with self._writing.begin() as connection:
                return body(connection)

        with self._health.watch():
            return await _in_thread(self._writer, run)

    async def read(self, body: Callable[[Connection], R]) -> R:
        """Run statements that only read, each its own transaction."""

        def run() -> R:
            with self._reading.connect() as connection:
                return body(connection)

        with self._health.watch():
            return await _in_thread(self._readers, run)

    async def close(self) -> None:
        """Wait for what runs, end the threads and close all connections."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown()
        self._writer.shutdown()
        self._reading.dispose()
        # The last connection to a file brings its log into it.
        self._writing.dispose()


async def _in_thread(threads: ThreadPoolExecutor, run: Callable[[], R]) -> R:
    """Run in one of some threads; to its end, once it has begun, whoever is cancelled meanwhile.

    Raises:
        sqlalchemy.exc.TimeoutError: None of them was free for too long; it was not begun.
    """
    job = threads.submit(run)
    late = False

    def give_up() -> None:
        nonlocal late
        # False for one that has begun: that is bounded by the database's own waiting.
        late = job.cancel()

    timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, give_up)
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        if late:
            raise PoolTimeoutError(f"no connection was free for {WAIT_SECONDS} s") from None
        raise
    finally:
        timer.cancel()


def _engine(url: URL, connections: int, **options: Any) -> Engine:  # noqa: ANN401 - SQLAlchemy's own options
    # Values are what clients wrote; they must not come into an error's text, which is logged.
    engine = create_engine(url, hide_parameters=True, pool_size=connections, max_overflow=0, **options)
    # Several rows in one statement: the driver lets other threads run at each, and has to wait for its turn again.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    return engine


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite would make it readable for everybody; its side files take the mode of this one.
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"the database file {path} cannot be made: {error.strerror or error}") from error


def _open_writer(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun by hand, so that a writer waits at its beginning and never fails in its middle.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL, once in its life.

    SQLite does not wait for this as it does for everything else: of several processes that start on a new file, all but
    one are told at once that it is locked.
    """
    deadline = time.monotonic() + _BUSY_MILLISECONDS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_SWITCH_PAUSE_SECONDS)
        else:
            return


def _open_reader(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    connection.execute("PRAGMA query_only=ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

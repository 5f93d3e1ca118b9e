"""Connections: what every database can be asked to run, and which one a URL means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from app.store.contract import StoreError
from app.store.failures import Health

R = TypeVar("R")

WAIT_SECONDS: Final = 10
"""The longest that anybody waits for a connection."""

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


class Connections(Protocol):
    """The ways into one database.

    What runs on a connection is a plain function, and may run in another thread than its caller: it changes nothing
    that others see, and returns values, never a cursor.
    """

    async def transaction(self, body: Callable[[Connection], R]) -> R:
        """Run statements that are committed together, or not at all.

        Args:
            body: Runs them; when it raises, nothing is changed.

        Raises:
            StoreUnavailable: The database failed.
        """

    async def read(self, body: Callable[[Connection], R]) -> R:
        """Run statements that only read, each its own transaction.

        Raises:
            StoreUnavailable: The database failed.
        """

    async def close(self) -> None:
        """Wait for what runs, and close all connections."""


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
    if driver == "sqlite+pysqlite" and parsed.database in {None, "", ":memory:"}:
        raise StoreError("a SQLite database must be a file: sqlite:///path")
    if "sslmode" in parsed.query:
        # The name that every other client of PostgreSQL gives it.
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed


def connect(url: URL, health: Health) -> Connections:
    """Prepare connections; none is opened yet, but the file of a SQLite database is made.

    Args:
        url: What ``parse`` has read.
        health: Hears of failures.

    Raises:
        StoreError: The driver is not installed, or the file cannot be made.
    """
    # Each is loaded only where it is used: PostgreSQL's brings SQLAlchemy's ORM along.
    if url.get_backend_name() == "sqlite":
        from app.store.sqlite import SqliteConnections  # noqa: PLC0415

        return SqliteConnections(url, health)
    try:
        from app.store.postgres import PostgresConnections  # noqa: PLC0415

        return PostgresConnections(url, health)
    except ImportError as error:
        raise StoreError("the drivers of PostgreSQL are not installed: pip install 'flarelay[postgres]'") from error

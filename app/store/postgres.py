"""PostgreSQL: one pool of connections, on the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import create_async_engine

from app.store.connections import WAIT_SECONDS
from app.store.failures import Health
from app.store.schema import speak_postgresql

R = TypeVar("R")

_CONNECTIONS = 10
_STATEMENT_SECONDS = 30


class PostgresConnections:
    """A PostgreSQL database; see ``app.store.connections.Connections``.

    Args:
        url: Where it is.
        health: Hears of failures.

    Raises:
        ImportError: The driver is not installed.
    """

    __slots__ = ("_health", "_reading", "_writing")

    def __init__(self, url: URL, health: Health) -> None:
        speak_postgresql()
        self._health = health
        self._writing = create_async_engine(
            url,
            # Values are what clients wrote; they must not come into an error's text, which is logged.
            hide_parameters=True,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            pool_pre_ping=True,
            connect_args={
                "timeout": WAIT_SECONDS,
                "command_timeout": _STATEMENT_SECONDS,
                "server_settings": {"application_name": "flarelay"},
            },
        )
        self._reading = self._writing.execution_options(isolation_level="AUTOCOMMIT")

    async def transaction(self, body: Callable[[Connection], R]) -> R:
        """Run statements that are committed together, or not at all."""
        with self._health.watch():
            async with self._writing.begin() as connection:
                return await connection.run_sync(body)

    async def read(self, body: Callable[[Connection], R]) -> R:
        """Run statements that only read, each its own transaction."""
        with self._health.watch():
            async with self._reading.connect() as connection:
                return await connection.run_sync(body)

    async def close(self) -> None:
        """Close all connections."""
        await self._writing.dispose()

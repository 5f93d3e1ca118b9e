"""Writing: no write is cut by a client that leaves, and writes that wait at the same time share one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy.engine import Connection

from app.store.connections import Connections
from app.store.contract import StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

_MOST_AT_ONCE = 64

_GATHER_SECONDS = 0.004
"""What waits while others are being committed may wait so long for more: a commit for ten costs what one does."""


class Writes:
    """Runs transactions to their end, whatever becomes of those who wait for them.

    Args:
        connections: The database.
    """

    __slots__ = ("_connections", "_running")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, write: Callable[[Connection], R]) -> R:
        """Run one transaction.

        Args:
            write: Its statements; see ``app.store.connections.Connections``.

        Raises:
            StoreUnavailable: The database failed; nothing was changed.
        """
        return await asyncio.shield(self.start(self._connections.transaction(write)))

    def start(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Begin work that ``close`` waits for."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Whoever waited has the error; when nobody does any more, it must not be told as "never retrieved".
            task.exception()

    async def close(self) -> None:
        """Wait for what was begun."""
        while self._running:
            await asyncio.wait(self._running)


class GroupCommit(Generic[T, R]):
    """Collects what is to be written while an earlier group is being committed, and writes it as the next group.

    Args:
        writes: Runs the transactions.
        write: Writes a group in one transaction: one result for each.
    """

    __slots__ = ("_busy", "_waiting", "_write", "_writes")

    def __init__(self, writes: Writes, write: Callable[[Connection, Sequence[T]], Sequence[R]]) -> None:
        self._writes = writes
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._busy = False

    async def submit(self, value: T) -> R:
        """Write one value; returns when it is committed.

        Raises:
            StoreUnavailable: The database failed; nothing was changed.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((value, future))
        if not self._busy:
            self._busy = True
            self._writes.start(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                group = self._waiting[:_MOST_AT_ONCE]
                del self._waiting[:_MOST_AT_ONCE]
                await self._commit(group)
                if self._waiting and len(self._waiting) < _MOST_AT_ONCE:
                    await asyncio.sleep(_GATHER_SECONDS)
        finally:
            self._busy = False

    async def _commit(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        values = [value for value, _ in group]
        try:
            results = await self._writes.run(lambda connection: self._write(connection, values))
        except Exception as error:  # noqa: BLE001 - handed on to all who wait
            if len(group) > 1 and not isinstance(error, StoreUnavailable):
                # One of them is at fault; the others shall not suffer for it.
                for one in group:
                    await self._commit([one])
                return
            failed = list(group)
            if isinstance(error, StoreUnavailable):
                # Who waits behind them would wait for nothing, group after group.
                failed += self._waiting
                self._waiting.clear()
            for _, future in failed:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            if not future.done():
                future.set_result(result)

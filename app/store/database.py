"""The store as one object, opened and closed as one."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.store import purging, upgrade
from app.store.accounts import KeyRecords, UsageLedger
from app.store.batches import SqlBatches
from app.store.batching import Batches, BatchLines, BatchPacks
from app.store.connections import Connections, connect, parse
from app.store.contract import Conversations, Purged, Responses, StoreError, StoreUnavailable, Work
from app.store.conversations import SqlConversations
from app.store.failures import Health, reason
from app.store.files import SqlFiles
from app.store.filing import Files
from app.store.keys import SqlKeyRecords
from app.store.lines import SqlBatchLines
from app.store.packs import SqlBatchPacks
from app.store.responses import SqlResponses
from app.store.usage import SqlUsageLedger
from app.store.work import SqlWork
from app.store.writes import Writes

_log = logging.getLogger(__name__)


class SqlStore:
    """An open database; see ``app.store.contract.Store``.

    Args:
        connections: The database, at the newest schema.
    """

    __slots__ = (
        "_connections",
        "_writes",
        "batch_lines",
        "batch_packs",
        "batches",
        "conversations",
        "files",
        "keys",
        "responses",
        "usage",
        "work",
    )

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._writes = Writes(connections)
        self.responses: Responses = SqlResponses(connections, self._writes)
        self.conversations: Conversations = SqlConversations(connections, self._writes)
        self.work: Work = SqlWork(connections, self._writes)
        self.keys: KeyRecords = SqlKeyRecords(connections, self._writes)
        self.usage: UsageLedger = SqlUsageLedger(connections, self._writes)
        self.files: Files = SqlFiles(connections, self._writes)
        self.batches: Batches = SqlBatches(connections, self._writes)
        self.batch_lines: BatchLines = SqlBatchLines(connections, self._writes)
        self.batch_packs: BatchPacks = SqlBatchPacks(connections, self._writes)

    async def purge(self, now: float, *, limit: int = 500, events_before: float | None = None) -> Purged:
        """Delete what has expired."""
        return await purging.purge(self._writes, now=now, limit=limit, events_before=events_before)

    async def ping(self) -> None:
        """Ask the database for nothing."""
        await self._connections.read(lambda connection: connection.execute(select(1)).scalar())

    async def close(self) -> None:
        """Finish what was begun, and let go of the database."""
        await self._writes.close()
        await self._connections.close()


async def open_database(url: str) -> SqlStore:
    """Open a database; see ``app.store.opening.open_store``.

    Raises:
        StoreError: It cannot be opened.
    """
    connections = connect(parse(url), Health(_log))
    try:
        await upgrade.upgrade(connections)
    except BaseException as error:
        await connections.close()
        if isinstance(error, StoreUnavailable | SQLAlchemyError):
            raise StoreError(f"the database cannot be opened: {reason(error.__cause__ or error)}") from error
        raise
    return SqlStore(connections)
